"""Normalised intervals with networks as units: exact coverage, and what fails without."""

import json
import math

import made_cells as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof.surrogate import conformal, coverage
from wattproof.surrogate.cells import BINS, Cells, HeldOut

LEVEL = 0.9


def intervals(held: HeldOut, noise: float = 1.0, level: float = LEVEL, edges=()):
    return conformal.learn(held, np.full(held.guess.shape, noise), level, edges)


def end(found: conformal.Intervals, n: int = 1, spread=0.0, noise: float = 1.0) -> np.ndarray:
    """Half-widths at the ends of n trainings."""
    wide = np.broadcast_to(np.asarray(spread, dtype=np.float64), (n,))[:, None]
    return found.half_width(np.full(n, BINS), np.full(n, 10), np.full((n, 1), noise), wide)[:, 0]


@given(st.lists(st.floats(0.01, 10), min_size=9, max_size=60))
def test_one_run_a_network_gives_the_ranked_score(scores: list[float]) -> None:
    # 0.9·10 is 9.000000000000002 in floating point for some levels; it must not become 10.
    rank = math.ceil(round((len(scores) + 1) * LEVEL, 9))
    found = conformal.quantile(np.array(scores), np.arange(len(scores)), LEVEL)
    assert found == sorted(scores)[rank - 1]


def test_too_few_networks_are_refused_however_many_runs_they_have() -> None:
    scores = np.random.default_rng(0).random(800)
    assert conformal.quantile(scores, np.arange(800) % 8, LEVEL) is None
    assert conformal.quantile(scores, np.arange(800) % 9, LEVEL) is not None
    assert np.isnan(end(intervals(made.held(scores, np.arange(800) % 8)))).all()


def test_a_network_weighs_the_same_however_many_runs_it_has() -> None:
    scores = np.array([*np.arange(1.0, 20.0), *np.full(500, 30.0)])
    networks = np.array([*range(19), *np.full(500, 19)])
    # 20 networks: rank 19 of 20 single scores; the 500 runs are one of them.
    assert conformal.quantile(scores, networks, LEVEL) == 19.0


def test_coverage_is_exact_with_replicates_of_networks() -> None:
    """Runs of a network share most of its error. Theory: level to level + 1/(K + 1).

    12 networks with 1 to 40 runs each; as if runs were the units, the interval covers too little.
    """
    rng = np.random.default_rng(1)
    trials, networks = 2500, 12
    counts = np.array([1, 1, 1, 2, 2, 3, 5, 8, 10, 20, 30, 40])
    network = np.repeat(np.arange(networks), counts)
    ours, naive = [], []
    for _ in range(trials):
        shared = rng.normal(0, 1, networks + 1)
        residuals = shared[network] + 0.2 * rng.normal(size=len(network))
        fresh = abs(shared[-1] + 0.2 * rng.normal())
        ours.append(fresh <= conformal.quantile(np.abs(residuals), network, LEVEL))
        runs = np.arange(len(network))
        naive.append(fresh <= conformal.quantile(np.abs(residuals), runs, LEVEL))
    error = np.sqrt(0.09 / trials)
    assert LEVEL - 3 * error <= np.mean(ours) <= LEVEL + 1 / 13 + 3 * error
    assert np.mean(naive) < LEVEL - 0.05


def test_coverage_is_exact_through_all_of_it() -> None:
    """Heavy tails, noise and spread that differ by run: still rank/(K + 1)."""
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(1500):
        spread = rng.uniform(0, 3, 40)
        residuals = np.sqrt(1 + spread**2) * rng.standard_t(2, 40)
        found = intervals(made.held(residuals[:39], spread=spread[:39]))
        hits.append(abs(residuals[39]) <= end(found, 1, spread[39:])[0])
    assert np.mean(hits) == pytest.approx(36 / 40, abs=4 * np.sqrt(0.09 / 1500))


def test_intervals_widen_where_members_disagree() -> None:
    """Scaled by the spread, easy and hard halves are both covered; with one width neither is."""
    rng = np.random.default_rng(3)
    spread = np.where(np.arange(4000) % 2, 3.0, 0.0)
    residuals = np.sqrt(1 + spread**2) * rng.standard_normal(4000)
    hard = spread > 0
    for known, allowed in ((spread, 0.02), (np.zeros(4000), None)):
        found = intervals(made.held(residuals[:2000], spread=known[:2000]))
        hits = np.abs(residuals[2000:]) <= end(found, 2000, known[2000:])
        share = [hits[~hard[2000:]].mean(), hits[hard[2000:]].mean()]
        if allowed is None:
            assert share[0] > 0.97
            assert share[1] < 0.85
        else:
            assert share == pytest.approx([LEVEL, LEVEL], abs=0.025)


def test_a_target_without_noise_and_spread_gets_one_width() -> None:
    rng = np.random.default_rng(4)
    residuals = rng.normal(0, 0.01, 999)
    found = intervals(made.held(residuals), noise=0.0)
    assert end(found, noise=0.0)[0] == pytest.approx(np.sort(np.abs(residuals))[899])


def along(runs: int, seed: int) -> tuple[HeldOut, np.ndarray]:
    """Runs of 10 epochs whose error halves every epoch."""
    rng = np.random.default_rng(seed)
    sizes = 2.0 ** -np.arange(10)
    truth = rng.standard_normal((runs, 10)) * sizes
    cells = made.curves(runs, 10, truth, np.arange(runs), np.zeros(runs, dtype=np.int64))
    zero = np.zeros(cells.truth.shape)
    return HeldOut(cells, zero, zero, np.arange(len(zero)) % 2), sizes


def test_width_follows_the_progress_of_the_training() -> None:
    held, sizes = along(2000, 0)
    found = intervals(held, noise=0.0)
    epoch = np.arange(1, 11)
    half = found.half_width(
        held.cells.take(epoch - 1).bins, np.full(10, 10), np.zeros((10, 1)), np.zeros((10, 1))
    )
    assert half[:, 0] == pytest.approx(1.645 * sizes, rel=0.15)


def test_a_bin_without_networks_takes_the_wider_neighbour() -> None:
    held, _ = along(200, 1)
    kept = held.take(~np.isin(held.cells.epoch, [3, 4, 5]))
    found, whole = intervals(kept), intervals(held)
    assert (found.quantiles[0, 2:5] == found.quantiles[0, 1]).all()
    assert np.array_equal(found.quantiles[0, [0, 1, 5, 6]], whole.quantiles[0, [0, 1, 5, 6]])


def test_strata_have_widths_of_their_own_or_those_of_all() -> None:
    rng = np.random.default_rng(5)
    n = 900
    length = np.where(np.arange(n) < 450, 10, 20)
    length[:5] = 40
    residuals = np.where(length == 20, 3.0, 1.0) * rng.standard_normal(n)
    held = made.held(residuals)
    cells = held.cells
    cells = Cells(**{**vars(cells), "epoch": length, "epochs": length})
    held = HeldOut(cells, held.guess, held.spread, held.fold)
    found = intervals(held, noise=0.0, edges=(15, 30))
    one = np.zeros((3, 1))
    half = found.half_width(np.full(3, BINS), np.array([10, 20, 40]), one, one)[:, 0]
    assert half[:2] == pytest.approx([1.645, 3 * 1.645], rel=0.15)
    # 5 networks are too few for a stratum of their own: that of all.
    assert half[2] == intervals(held, noise=0.0).half_width(
        np.array([BINS]), np.array([40]), one[:1], one[:1]
    )


def test_bounds_are_factors_of_energies_and_stay_within_shares() -> None:
    held = made.held(np.linspace(-1, 1, 101), scale="unit")
    low, high = intervals(held).bounds(
        np.array([[0.3]]), np.array([BINS]), np.array([10]), np.ones((1, 1)), np.zeros((1, 1))
    )
    assert (low[0, 0], high[0, 0]) == (0.0, 1.0)
    logs = intervals(made.held(np.full(99, 0.1)), noise=0.1)
    low, high = logs.bounds(
        np.log([[100.0]]), np.array([BINS]), np.array([10]), np.full((1, 1), 0.1), np.zeros((1, 1))
    )
    assert (low[0, 0], high[0, 0]) == pytest.approx((100 * np.exp(-0.1), 100 * np.exp(0.1)))


def test_own_fold_does_not_set_its_width() -> None:
    rng = np.random.default_rng(6)
    residuals, fold = rng.standard_normal(200), np.arange(200) % 5
    noise = np.ones((200, 1))
    before = conformal.held_out_half_widths(made.held(residuals, fold=fold), noise, LEVEL)
    residuals[fold == 0] *= 1e3
    after = conformal.held_out_half_widths(made.held(residuals, fold=fold), noise, LEVEL)
    assert np.array_equal(before[fold == 0], after[fold == 0])
    assert not np.array_equal(before[fold == 1], after[fold == 1])
    assert np.isnan(conformal.held_out_half_widths(made.held(residuals), noise, LEVEL)).all()


def test_ensemble_spread_is_no_predictive_interval() -> None:
    """The recipe of NAS-Bench-301, mean ± z · std of ten bagged models, where ours covers 90 %."""
    rng = np.random.default_rng(7)
    n = 3000
    x = rng.uniform(-1, 1, (n, 6))
    y = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] + rng.normal(0, 0.2, n)
    inputs = np.column_stack([np.ones(n), x, x**2])
    train = np.arange(n) < 1000
    members = []
    for _ in range(10):
        bag = rng.choice(np.flatnonzero(train), 1000)
        members.append(inputs @ np.linalg.lstsq(inputs[bag], y[bag], rcond=None)[0])
    mean, spread = np.mean(members, axis=0), np.std(members, axis=0, ddof=1)
    recipe = np.abs(y - mean) <= 1.645 * spread
    assert recipe[~train].mean() < 0.4
    rest = np.flatnonzero(~train)
    half, test = rest[:1000], rest[1000:]
    found = intervals(made.held((y - mean)[half], spread=spread[half]), noise=0.2)
    covered = np.abs(y - mean)[test] <= end(found, len(test), spread[test], noise=0.2)
    assert covered.mean() == pytest.approx(LEVEL, abs=0.03)


def test_json_round_trip() -> None:
    for found in (intervals(along(50, 2)[0], edges=(12,)), intervals(made.held(np.ones(3)))):
        text = json.dumps(found.as_dict(), allow_nan=False)
        again = conformal.Intervals.from_dict(json.loads(text))
        for name in ("floor", "quantiles", "networks", "edges"):
            assert np.array_equal(getattr(again, name), getattr(found, name), equal_nan=True), name
        assert (again.level, again.targets, again.scales) == (0.9, found.targets, found.scales)


def test_the_verdict_knows_the_bar() -> None:
    assert coverage.verdict(0.885, 0.006, 400, 0.9, 1.2) == "covers what it says"
    assert "less than it says, by 3.0 points" in coverage.verdict(0.87, 0.006, 400, 0.9, 1.2)
    assert coverage.verdict(0.87, 0.016, 60, 0.9, 1.2) == "covers what it says"
    assert "more than it says" in coverage.verdict(0.94, 0.006, 400, 0.9, 1.2)
    assert "1.8 times as wide" in coverage.verdict(0.9, 0.006, 400, 0.9, 1.8)
    assert "too few" in coverage.verdict(0.9, 0.006, 20, 0.9, 1.0)
