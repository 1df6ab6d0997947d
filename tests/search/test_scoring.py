"""Hypervolume by hand; what is scored is test accuracy and calibrated energy, nothing else."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_bench import SPACE, Fault, Law

from wattproof import space
from wattproof.search import attainment, scoring
from wattproof.search.arena import Arena
from wattproof.search.atlas import Atlas
from wattproof.search.priority import ranks
from wattproof.search.race import Ledger, Trace

ATLAS = Atlas(space.get(SPACE))


def reference(low, high, volume: float) -> scoring.Reference:
    low, high = np.array(low, dtype=float), np.array(high, dtype=float)
    empty = np.zeros((0, len(low)))
    return scoring.Reference(empty, [], [], np.zeros(0), low, high, 1.0, volume)


def trace(seen, worth, true_j=None) -> Trace:
    n = len(seen)
    true_j = list(np.arange(1.0, n + 1)) if true_j is None else true_j
    found = Trace(Ledger(10.0, 10.0, float(n)))
    found.seen, found.worth = list(np.array(seen, float)), list(np.array(worth, float))
    found.true_j, found.spent_j = true_j, [10.0 * t for t in true_j]
    found.networks, found.configs = ["n"] * n, [{"i": i} for i in range(n)]
    found.seen_j, found.worth_j = [1.0] * n, [2.0] * n
    return found


def test_hypervolume_by_hand() -> None:
    flat = reference((0, 0), (1, 1), 1.0)
    assert flat.hypervolume(np.array([[0.0, 0.0]])) == pytest.approx(1.1**2)
    two = np.array([[0.25, 0.75], [0.75, 0.25]])
    # Two rectangles to the corner (1.1, 1.1), less what they share.
    assert flat.hypervolume(two) == pytest.approx(2 * 0.85 * 0.35 - 0.35**2)
    assert flat.hypervolume(np.array([[0.5, 1.2]])) == 0.0
    assert flat.hypervolume(np.zeros((0, 2))) == 0.0
    scaled = reference((10, 100), (20, 300), 0.5)
    assert scaled.hypervolume(np.array([[15.0, 200.0]])) == pytest.approx(0.6**2 / 0.5)
    cube = reference((0, 0, 0), (1, 1, 1), 1.0)
    three = np.array([[0.1, 0.6, 0.6], [0.6, 0.1, 0.6], [0.6, 0.6, 0.1]])
    # Three boxes of 1.0 × 0.5 × 0.5; any two share 0.5³, and so do all three.
    assert cube.hypervolume(three) == pytest.approx(3 * 0.25 - 3 * 0.125 + 0.125)


def test_the_reference_front_is_scored_1_and_nobody_random_beats_it() -> None:
    arena = Arena(ATLAS, Law(), "gpu", {})
    found = scoring.reference(arena, 500, np.random.default_rng(0))
    assert found.hypervolume(found.costs) == pytest.approx(1.0)
    some = arena.worth(ATLAS.decode(ATLAS.draw(500, np.random.default_rng(0))))
    assert found.hypervolume(some.costs) <= 1.0 + 1e-9
    assert found.mean_j == pytest.approx(some.energy_j.mean())


def test_picks_are_made_by_what_was_seen_and_scored_by_what_is() -> None:
    seen = [[0.2, 0.2], [0.5, 0.5]]  # the second looks beaten
    worth = [[0.9, 0.9], [0.5, 0.5]]  # and is the better one
    against = reference((0, 0), (1, 1), 1.0)
    table = scoring.progress(trace(seen, worth), np.array([0.5, 1.0, 2.0]), against)
    assert table["trained"].tolist() == [0, 1, 2]
    assert table["hypervolume"].tolist() == pytest.approx([0.0, 0.2**2, 0.2**2])
    assert table["hypervolume_reported"].tolist() == pytest.approx([0.0, 0.9**2, 0.9**2])
    assert table["ended"].tolist() == [False, False, True]
    picked = scoring.picks(trace(seen, worth), ("accuracy", "energy_j"))
    assert picked["beaten"].tolist() == [True]
    assert picked["test_accuracy"].tolist() == pytest.approx([0.1])


class Spy(Law):
    """Remembers how it was asked."""

    asked: list = []  # noqa: RUF012

    def query_many(self, frame, epoch=None, seed=None):
        self.asked.append(seed)
        return super().query_many(frame, epoch, seed)


def test_worth_is_test_accuracy_and_calibrated_energy_without_noise() -> None:
    class Never:
        def report(self, frame, found, seed):
            raise AssertionError("the faulty source was asked")

    Spy.asked.clear()
    arena = Arena(ATLAS, Spy(noise=0.5), "gpu", {"smi": Never()})
    configs = ATLAS.decode(ATLAS.draw(20, np.random.default_rng(1)))
    frame = ATLAS.frame(configs)
    worth = arena.worth(configs)
    size = (frame["depth"] * frame["w_0"] / 48).to_numpy()
    miss = np.abs(np.log10(frame["lr"].to_numpy() / 0.01))
    np.testing.assert_allclose(worth.costs[:, 0], 1 - (0.49 + 0.05 * size - 0.1 * miss))
    np.testing.assert_allclose(10 ** worth.costs[:, 1], 1000 * size * frame["epochs"])
    assert Spy.asked == [None]


def test_a_training_that_has_not_ended_is_seen_with_its_whole_energy() -> None:
    arena = Arena(ATLAS, Law(), "gpu", {"smi": Fault("inverse")})
    configs = ATLAS.decode(ATLAS.draw(5, np.random.default_rng(2)))
    lengths = arena.worth(configs).epochs
    sources = ["gpu", "smi", "gpu", "smi", "gpu"]
    some = arena.see(configs, np.ones(5, dtype=np.int64), lengths, sources, 0)
    whole = arena.see(configs, lengths, lengths, sources, 0)
    np.testing.assert_allclose(some.costs[:, 1], whole.costs[:, 1])
    np.testing.assert_allclose(some.spent_j * lengths, whole.spent_j)
    sound = arena.see(configs, lengths, lengths, ["gpu"] * 5, 0)
    np.testing.assert_allclose(whole.true_j, sound.spent_j)
    wrong = ~np.isclose(whole.spent_j, sound.spent_j)
    assert wrong.any()
    assert not wrong[[0, 2, 4]].any()


def test_places_are_of_the_trials_themselves() -> None:
    assert ranks(np.array([[1.0], [2.0], [3.0], [0.0]])).tolist() == [1, 2, 3, 0]
    front = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0], [0.6, 0.6], [2.0, 2.0]])
    found = ranks(front)
    assert set(found[[0, 1, 2]].tolist()) == {0, 1, 2}
    assert found[[3, 4]].tolist() == [3, 4]


def test_median_attainment_by_hand() -> None:
    fronts = pd.DataFrame(
        {"seed": [0, 1, 2], "energy_j": [1.0, 2.0, 3.0], "test_accuracy": [0.5, 0.5, 0.5]}
    )
    energy_j, error = attainment.surface(fronts, 50.0)
    assert (energy_j.tolist(), error.tolist()) == ([2.0], [0.5])  # two of three get there
    assert len(attainment.surface(fronts[:0], 50.0)[0]) == 0


NAMES = ("regnet_demo", "ea_has_cifar10", "wide")
ATLASES = {name: Atlas(space.get(name)) for name in NAMES}


@given(st.sampled_from(NAMES), st.data())
def test_every_proposal_is_a_configuration_that_can_be_trained(name: str, data) -> None:
    atlas = ATLASES[name]
    unit = st.floats(-0.2, 1.2)
    genes = data.draw(st.lists(unit, min_size=len(atlas.names), max_size=len(atlas.names)))
    config = atlas.decode(np.array([genes]))[0]
    assert space.get(name).valid(config)


def test_draws_are_uniform_among_networks() -> None:
    atlas = ATLASES["ea_has_cifar10"]
    networks = space.get("ea_has_cifar10").networks
    configs = atlas.decode(atlas.draw(20_000, np.random.default_rng(0)))
    points = {tuple(sorted(point.items())): key for key, (point, *_) in networks.items()}
    names = ("depth", "w_0", "w_a", "w_m", "group_width")
    keys = [points[tuple(sorted((n, c[n]) for n in names))] for c in configs]
    counts = pd.Series(keys).value_counts()
    assert len(counts) == len(networks)
    assert counts.max() < 2 * 20_000 / len(networks)
