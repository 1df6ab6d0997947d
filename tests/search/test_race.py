"""Budgets are kept to the joule; every method gets by; equal seeds give equal tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_bench import SMALL, Law, Opener

from wattproof import space
from wattproof.errors import WattproofError
from wattproof.search import Settings, demonstrate
from wattproof.search.arena import Arena
from wattproof.search.atlas import Atlas
from wattproof.search.methods import METHODS
from wattproof.search.race import Ask, Entry, Ledger, Task, run
from wattproof.search.worker import spread

ATLAS = Atlas(space.get("regnet_demo"))
positive = st.floats(1e-3, 1e6)


def arena(fault: str = "none", noise: float = 0.0, outside: bool = False) -> Arena:
    _, source, reporters = Opener(fault, noise, outside)()
    return Arena(ATLAS, source, "gpu", reporters)


def task(seed: int = 0, starts: int = 20) -> Task:
    rng = np.random.default_rng(seed)
    return Task(ATLAS, ATLAS.draw(starts, rng), 3, rng, seed)


@given(positive, st.lists(st.tuples(positive, positive), max_size=30))
def test_no_more_than_the_budget_is_spent(
    budget_j: float, bills: list[tuple[float, float]]
) -> None:
    ledger = Ledger(budget_j)
    paid = true = 0.0
    for cost_j, true_j in bills:
        done = ledger.charge(cost_j, true_j)
        assert done == (cost_j <= budget_j - paid)
        share = 1.0 if done else (budget_j - paid) / cost_j
        paid, true = (paid + cost_j if done else budget_j), true + true_j * share
        assert (ledger.spent_j, ledger.true_j) == (paid, pytest.approx(true))
        assert ledger.spent_j <= budget_j
        assert ledger.empty == (paid >= budget_j)


def test_a_training_that_goes_on_pays_for_its_new_epochs_only() -> None:
    def method(task: Task):
        genes = task.start[:1]
        for share in (0.25, 0.5, 0.5, 1.0, 1.0):
            yield Ask(genes, share)

    config = ATLAS.decode(task().start[:1])[0]
    epoch_j = 1000.0 * config["depth"] * config["w_0"] / 48
    trace = run(arena(), [Entry(method, task(), "gpu")], 0, 1e9)[0]
    assert trace.ledger.spent_j == pytest.approx(epoch_j * config["epochs"], rel=1e-12)
    assert trace.epochs == config["epochs"]
    assert trace.spent_j == [trace.ledger.spent_j], "it ended once"


def test_the_training_that_breaks_the_budget_gives_no_result() -> None:
    def method(task: Task):
        costs = yield Ask(task.start[:3])
        told.append(costs)

    told: list[np.ndarray] = []
    spec = task()
    worth = arena().worth(ATLAS.decode(spec.start[:3]))
    budget_j = worth.energy_j[0] + 0.25 * worth.energy_j[1]
    trace = run(arena(), [Entry(method, spec, "gpu")], 0, budget_j)[0]
    assert (trace.ledger.spent_j, trace.ledger.true_j) == pytest.approx((budget_j, budget_j))
    assert len(trace.seen) == 1
    assert told == [], "a search whose budget is spent is told nothing more"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("source", ["gpu", "smi"])
def test_every_method_spends_its_budget_and_not_a_joule_more(method: str, source: str) -> None:
    budget_j = 2.5e5
    bench = arena("half", 0.01)
    trace = run(bench, [Entry(METHODS[method], task(), source)], 3, budget_j)[0]
    assert trace.ledger.spent_j == budget_j
    if source == "gpu":
        assert trace.ledger.true_j == pytest.approx(budget_j, rel=1e-9)
    else:
        assert trace.ledger.true_j > 1.1 * budget_j, "half of the energy was not reported"
    assert np.all(np.diff(trace.spent_j) > 0)
    assert np.all(np.diff(trace.true_j) > 0)
    if method != "moasha":  # all others only train to the end
        last_j = budget_j - trace.spent_j[-1]
        assert sum(trace.seen_j) + last_j == pytest.approx(budget_j)
        assert last_j < max(trace.seen_j) * 2.5


def test_halving_trains_few_to_the_end_and_random_search_all() -> None:
    entries = [Entry(METHODS[m], task(), "gpu") for m in ("random", "moasha")]
    fully, halved = run(arena(noise=0.01), entries, 0, 4e5)
    ended_epochs = sum(config["epochs"] for config in halved.configs)
    assert ended_epochs < 0.8 * halved.epochs
    assert sum(config["epochs"] for config in fully.configs) >= fully.epochs - 6


@pytest.mark.parametrize("method", METHODS)
def test_configurations_out_of_domain_are_refused_and_cost_nothing(method: str) -> None:
    trace = run(arena(outside=True), [Entry(METHODS[method], task(), "gpu")], 0, 2.5e5)[0]
    assert trace.refused > 0
    assert trace.configs
    assert all(config["group_width"] != 8 for config in trace.configs)
    assert trace.ledger.spent_j == 2.5e5


def test_searches_do_not_depend_on_who_runs_beside_them() -> None:
    together = run(
        arena("half", 0.01), [Entry(METHODS[m], task(), "smi") for m in METHODS], 5, 2.2e5
    )
    for method, trace in zip(METHODS, together, strict=True):
        alone = run(arena("half", 0.01), [Entry(METHODS[method], task(), "smi")], 5, 2.2e5)[0]
        assert trace.configs == alone.configs
        assert trace.true_j == alone.true_j


def test_equal_seeds_give_equal_tables_in_one_process_and_in_two() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one = demonstrate(Opener(), SMALL)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    two = demonstrate(Opener(), SMALL, workers=2)
    for name in ("search", "front"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name), check_exact=True)
    other = demonstrate(Opener(), replace(SMALL, methods=("random",), seed=1))
    assert not one.front["energy_j"].equals(other.front["energy_j"])


def test_methods_and_sources_begin_with_the_same_trainings() -> None:
    settings = replace(SMALL, methods=("random", "evolution", "nsga2", "moasha"))
    found = demonstrate(Opener("none", 0.01), settings).search
    first = found[(found["seed"] == 0) & (found["method"] != "moasha")]
    some = first[first["trained"] > 0].groupby(["method", "source"])["hypervolume"].first()
    assert some.nunique() == 1
    by_source = found.pivot(index=["method", "seed", "checkpoint"], columns="source")
    pd.testing.assert_series_equal(
        by_source["hypervolume", "gpu"], by_source["hypervolume", "smi"], check_names=False
    )


def test_mistakes_are_told_in_a_sentence() -> None:
    with pytest.raises(WattproofError, match=r"search\.methods.*'rondom'.*random"):
        Settings(methods=("rondom",))
    with pytest.raises(WattproofError, match="energy_j"):
        Settings(objectives=("accuracy",))
    with pytest.raises(WattproofError, match="add accuracy"):
        Settings(objectives=("energy_j", "inference_j_per_image"))
    lacking = Arena(ATLAS, _Untested(), "gpu", {})
    with pytest.raises(WattproofError, match="test accuracy"):
        lacking.worth(ATLAS.decode(task().start[:1]))


class _Untested(Law):
    def query_many(self, frame, epoch=None, seed=None):
        return super().query_many(frame, epoch, seed).drop(columns="test_accuracy")


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="invalid literal"):
        spread(int_of, [1, 2], 2)


def int_of(number: int) -> int:
    return int("one")
