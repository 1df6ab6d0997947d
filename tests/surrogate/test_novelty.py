"""Out-of-domain score: exact cases, its price, and the proof with regions left out."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof import space
from wattproof.surrogate import encoding, novelty, outside

NAMES = ["depth", "log_lr", "optimizer=adam", "optimizer=sgd", "log_macs", "log_params"]
LRS = np.log([0.01, 0.03, 0.1, 0.3])


def campaign(n: int = 1500, seed: int = 0) -> np.ndarray:
    """Depths 4 to 12, four learning rates, two optimisers, operations and parameters that rise
    with the depth and hang together."""
    rng = np.random.default_rng(seed)
    depth = rng.integers(4, 13, n).astype(float)
    adam = (rng.random(n) < 0.5).astype(float)
    macs = np.log(depth) + rng.normal(0, 0.5, n)
    params = macs + rng.normal(0, 0.05, n)
    return np.column_stack([depth, rng.choice(LRS, n), adam, 1 - adam, macs, params])


@pytest.fixture(scope="module")
def learned() -> novelty.Novelty:
    return novelty.learn(campaign(), np.arange(1500) % 5)


def one(**changes: float) -> np.ndarray:
    row = dict(zip(NAMES, [8.0, LRS[1], 1.0, 0.0, 2.1, 2.1], strict=True))
    return np.array([list((row | changes).values())])


def test_what_was_trained_is_inside(learned: novelty.Novelty) -> None:
    assert learned.score(one())[0] < 1
    fresh = learned.score(campaign(4000, seed=1))
    assert (fresh > 1).mean() == pytest.approx(1 - novelty.INSIDE, abs=0.015)


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 14},
        {"depth": 2},
        {"depth": 8.5},
        {"log_lr": float(np.log(0.05))},
        {"log_lr": float(np.log(1.0))},
        {"optimizer=adam": 0.0, "optimizer=sgd": 0.0},
        {"log_macs": 6.0, "log_params": 6.0},
        {"log_params": 3.0},
        {"depth": 1e9},
        {"depth": -1e9},
    ],
    ids=str,
)
def test_what_was_not_trained_is_outside(
    learned: novelty.Novelty, changes: dict[str, float]
) -> None:
    assert learned.score(one(**changes))[0] > 1


def test_a_pair_of_levels_never_trained_together_is_outside() -> None:
    every = campaign()
    missing = (every[:, 1] == LRS[3]) & (every[:, 2] == 1)
    learned = novelty.learn(every[~missing], np.arange((~missing).sum()) % 5)
    assert (learned.apart(every[missing]) == novelty.PAIR).all()
    assert (learned.score(every[~missing]) > 1).mean() < 0.02
    # Each of the two levels is known well with others.
    for others in ((every[:, 1] == LRS[3]) & ~missing, (every[:, 2] == 1) & ~missing):
        assert (learned.apart(every[others]) <= 1).mean() > 0.97


def test_few_runs_of_a_pair_are_no_proof_that_it_is_impossible() -> None:
    """60 runs: a pair would be met in 4 of them at most; that it was not says nothing."""
    assert novelty.learn(campaign(60), np.arange(60) % 5).pairs == []


def test_an_input_that_never_moved() -> None:
    static = campaign(200)
    static[:, 0] = 5.0
    learned = novelty.learn(static, np.arange(200) % 5)
    assert learned.score(static[:50]).max() < 2
    moved = static[:50].copy()
    moved[:, 0] = 6.0
    assert learned.score(moved).min() > 2


def test_one_row_scores_as_in_a_batch(learned: novelty.Novelty) -> None:
    rows = campaign(64, seed=3)
    single = [learned.score(rows[i : i + 1])[0] for i in range(64)]
    assert learned.score(rows) == pytest.approx(single, rel=1e-12)
    assert learned.score(rows[:0]).shape == (0,)


def test_json_round_trip(learned: novelty.Novelty) -> None:
    again = novelty.Novelty.from_dict(json.loads(json.dumps(learned.as_dict(), allow_nan=False)))
    rows = campaign(500, seed=4) * 1.1
    assert np.array_equal(again.score(rows), learned.score(rows))


def test_same_runs_in_another_order_give_the_same_score(learned: novelty.Novelty) -> None:
    order = np.random.default_rng(0).permutation(1500)
    other = novelty.learn(campaign()[order], (np.arange(1500) % 5)[order])
    rows = campaign(300, seed=5)
    assert other.score(rows) == pytest.approx(learned.score(rows), rel=1e-9)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
)
def test_auroc_is_the_probability_of_the_right_order(inside: list[int], out: list[int]) -> None:
    pairs = list(itertools.product(inside, out))
    wanted = sum((b > a) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    found = novelty.auroc(np.array(inside, dtype=float), np.array(out, dtype=float))
    assert found == pytest.approx(wanted)


def test_the_proof_finds_regions_that_were_left_out() -> None:
    found = outside.prove(campaign(), NAMES, np.arange(1500) % 5)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["auroc"] >= 0.9
    names = {one["region"] for one in found["regions"]}
    assert {"highest depth", "middle log_lr", "optimizer=sgd", "highest tenth of log_macs"} <= names
    assert any(name.startswith("upper thirds of") for name in names)
    for region in found["regions"]:
        if region["region"].startswith(("highest", "lowest", "middle", "optimizer")):
            assert region["auroc"] > 0.85, region
    assert found["false_alarms"] < 0.06


def test_levels_that_are_columns_too_are_left_out_once() -> None:
    every = campaign()
    twice = np.column_stack([every, every[:, 0] == 8])
    names = [name for name, _ in outside.regions(twice, [*NAMES, "depth=8"])]
    assert "middle depth" in names
    assert "depth=8" not in names
    assert "optimizer=sgd" in names


def test_a_region_that_is_none_is_not_told() -> None:
    """Runs taken away at random are inside: no better than a coin."""
    every = campaign(3000)
    taken = np.random.default_rng(1).random(3000) < 0.2
    test = ~taken & (np.arange(3000) % 5 == 0)
    learned = novelty.learn(every[~taken & ~test], np.arange((~taken & ~test).sum()) % 4)
    found = novelty.auroc(learned.score(every[test]), learned.score(every[taken]))
    assert found == pytest.approx(0.5, abs=0.05)


def test_a_small_campaign_proves_nothing_and_says_so() -> None:
    found = outside.prove(campaign(15), NAMES, np.arange(15) % 5)
    assert found["auroc"] is None
    assert found["regions"] == []


def columns(name: str, n: int) -> dict[str, np.ndarray]:
    """What a surrogate reads of n configurations drawn from a space."""
    drawn = space.get(name).sample(n, 0)
    costs = [space.get(name).realise(one).complexity() for one in drawn]
    kinds = {key: str if isinstance(value, str) else float for key, value in drawn[0].items()}
    found = {key: np.array([one[key] for one in drawn], dtype=kinds[key]) for key in kinds}
    for key in encoding.COMPLEXITY:
        found[key] = np.array([getattr(one, key) for one in costs], dtype=float)
    return found


@pytest.mark.parametrize(
    ("trained", "asked", "low", "high"),
    [
        ("ea_has_cifar10", "ea_has_tinyimagenet", 0.95, 1.0),
        ("ea_has_tinyimagenet", "regnet_demo", 0.99, 1.0),
        # All of CIFAR-10's ranges lie within those of Tiny ImageNet: inside, and said so.
        ("ea_has_tinyimagenet", "ea_has_cifar10", 0.3, 0.7),
    ],
)
def test_another_space(trained: str, asked: str, low: float, high: float) -> None:
    ours, theirs = columns(trained, 700), columns(asked, 200)
    made = encoding.learn(ours, [name for name in ours if name not in encoding.COMPLEXITY])
    static = made.static(ours)
    train = np.arange(700) < 500
    learned = novelty.learn(static[train], np.arange(500) % 5)
    found = novelty.auroc(learned.score(static[~train]), learned.score(made.static(theirs)))
    assert low <= found <= high
