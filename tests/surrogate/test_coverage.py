"""Coverage over splits: right where the law is known, and it fails what is wrong."""

from dataclasses import replace

import made_cells as made
import numpy as np
import pandas as pd
import pytest

from wattproof import tables
from wattproof.surrogate import conformal, coverage, noise, scoring
from wattproof.surrogate.cells import BINS, HeldOut
from wattproof.surrogate.noise import Noise, TargetNoise

LEVEL = 0.9


def known_noise(std: float, scale: str = "log", source: str = "replicates") -> Noise:
    target = "energy_j" if scale == "log" else "accuracy"
    about = {target: TargetNoise(std, std, std, 100, 100, source, "as made")}
    bins = np.full((BINS + 1, 1), std)
    return Noise((target,), (scale,), about, bins, np.array([[std]]), np.zeros((0, 1)))


def splits(std: float, seed: int = 0, networks: int = 400, each: int = 2) -> list[HeldOut]:
    """Ten splits of one campaign; the model is perfect, so residuals are noise."""
    rng = np.random.default_rng(seed)
    network = np.repeat(np.arange(networks), each)
    residuals = rng.normal(0, std, len(network))
    found = []
    for _ in range(10):
        fold = rng.permutation(np.arange(networks) % 5)[network]
        found.append(made.held(residuals, network, fold=fold))
    return found


def first(rows: list[dict]) -> pd.Series:
    return pd.DataFrame(rows).set_index("stratum").loc["all"]


def test_perfect_predictions_are_covered_at_the_width_of_noise() -> None:
    row = first(coverage.measure(splits(0.01), known_noise(0.01), LEVEL))
    assert row["coverage"] == pytest.approx(LEVEL, abs=0.02)
    assert row["width_ratio"] == pytest.approx(1.0, abs=0.06)
    assert row["width"] == pytest.approx(np.exp(3) * 2 * 1.645 * 0.01, rel=0.06)
    assert row["verdict"] == "covers what it says"
    assert (row["n"], row["networks"]) == (8000, 400)


def test_gaussian_intervals_of_a_wrong_noise_model_fail() -> None:
    """Noise said to be half of what it is: what people do without conformal quantiles."""
    held = splits(0.02)
    half = [np.full(one.guess.shape, 1.645 * 0.01) for one in held]
    row = first(coverage.of_widths(held, half, known_noise(0.01), LEVEL))
    assert row["coverage"] == pytest.approx(0.589, abs=0.03)
    assert row["verdict"].startswith("covers less than it says, by 3")


def test_conformal_intervals_mend_a_wrong_noise_model_and_the_ratio_tells() -> None:
    row = first(coverage.measure(splits(0.02), known_noise(0.01), LEVEL))
    assert row["coverage"] == pytest.approx(LEVEL, abs=0.02)
    assert row["width_ratio"] == pytest.approx(2.0, abs=0.12)
    assert "times as wide as noise alone would need" in row["verdict"]


def test_a_stratum_that_is_not_covered_is_seen() -> None:
    rng = np.random.default_rng(0)
    n = 1200
    long = np.arange(n) % 3 == 0
    residuals = np.where(long, 0.03, 0.01) * rng.standard_normal(n)
    held = made.held(residuals, fold=np.arange(n) // 3 % 5)
    length = np.where(long, 20, 10)
    cells = replace(held.cells, epoch=length, epochs=length)
    held = replace(held, cells=cells)
    one = pd.DataFrame(coverage.measure([held], known_noise(0.01), LEVEL)).set_index("stratum")
    assert "less than it says" in one.loc["20 epochs", "verdict"]
    assert one.loc["10 epochs", "coverage"] > 0.95
    rows = coverage.measure([held], known_noise(0.01), LEVEL, edges=(15,))
    each = pd.DataFrame(rows).set_index("stratum")
    for stratum in ("10 epochs", "20 epochs"):
        assert each.loc[stratum, "verdict"].startswith("covers what it says"), stratum


def test_standard_error_knows_that_runs_of_a_network_are_one() -> None:
    """The same 300 networks, each run ten times with the same outcome, tell no more."""
    hits = (np.random.default_rng(0).random(300) < 0.9).astype(float)
    share, error = coverage.share_by_network(hits, np.arange(300))
    many, clustered = coverage.share_by_network(np.repeat(hits, 10), np.repeat(np.arange(300), 10))
    assert share == pytest.approx(many)
    assert error == pytest.approx(clustered)
    assert error == pytest.approx(np.sqrt(share * (1 - share) / 300), rel=0.01)


def test_standard_error_of_clusters_by_simulation() -> None:
    rng = np.random.default_rng(1)
    network = np.repeat(np.arange(60), rng.integers(1, 9, 60))
    shares, errors = [], []
    for _ in range(2000):
        level = rng.beta(9, 1, 60)
        hits = (rng.random(len(network)) < level[network]).astype(float)
        share, error = coverage.share_by_network(hits, network)
        shares.append(share)
        errors.append(error**2)
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.std(shares), rel=0.08)


def test_too_few_networks_are_refused_in_words() -> None:
    small = made.held(np.random.default_rng(0).normal(0, 1, 8), fold=np.arange(8) % 2)
    row = first(coverage.measure([small], known_noise(1.0), LEVEL))
    assert "too few networks" in row["verdict"]
    assert "coverage" not in row or pd.isna(row["coverage"])
    some = made.held(np.random.default_rng(0).normal(0, 1, 25), fold=np.arange(25) % 2)
    assert "too few to judge" in first(coverage.measure([some], known_noise(1.0), LEVEL))["verdict"]


def test_without_replicates_there_is_no_width_to_compare_with() -> None:
    rows = coverage.measure(splits(0.01), known_noise(0.01, source="held-out residuals"), LEVEL)
    assert "width_ratio" not in first(rows) or pd.isna(first(rows)["width_ratio"])


def test_left_out_stratum_says_what_lies_outside() -> None:
    rng = np.random.default_rng(0)
    inside, outside = made.held(rng.normal(0, 1, 500)), made.held(rng.normal(2, 1, 300))
    intervals = conformal.learn(inside, np.ones((500, 1)), LEVEL)
    (row,) = coverage.left_out(outside, intervals, known_noise(1.0), "20 epochs")
    assert row["split"] == "left out"
    assert row["coverage"] < 0.5
    assert "less than it says" in row["verdict"]


def test_rows_fit_their_tables() -> None:
    held = splits(0.01, networks=40)
    rows = coverage.measure(held, known_noise(0.01), LEVEL)
    assert tables.conform(rows, "coverage").num_rows == len(rows)
    stored = scoring.rows(
        *(held[0], known_noise(0.01), LEVEL, "5-fold", "trees", "line", 12, True),
    )
    frame = tables.conform(stored, "scores").to_pandas()
    row = frame.iloc[0]
    assert (row["model"], row["curve"], row["operations"], row["chosen"]) == (
        *("trees", "line", 12),
        True,
    )


def test_scores_stand_beside_their_ceilings() -> None:
    """A perfect model reaches the ceilings: no model can do better on noisy runs."""
    rng = np.random.default_rng(0)
    level = rng.normal(3, 0.5, 3000)
    cells = made.ends(level + rng.normal(0, 0.05, 3000))
    held = HeldOut(cells, level[:, None], np.zeros((3000, 1)), np.arange(3000) % 5)
    (row,) = scoring.rows(held, known_noise(0.05), LEVEL, "5-fold", "oracle", "", 0, False)
    assert row["kendall_tau"] == pytest.approx(row["kendall_tau_ceiling"], abs=0.01)
    assert row["mape"] == pytest.approx(row["error_floor"], rel=0.05)
    assert row["coverage"] == pytest.approx(LEVEL, abs=0.02)
    assert row["refused"] == ""


def test_scores_by_hand() -> None:
    held = made.held(np.log([0.8, 1.25, 1.0, 1.0, 1.0, 2.0]))
    held = replace(held, guess=held.guess + np.arange(6)[:, None] * 1e-6)
    row = scoring.at_the_end(held, np.full((6, 1), np.nan), 0, LEVEL)
    assert row["mape"] == pytest.approx((0.25 + 0.2 + 0.5) / 6, abs=1e-4)
    assert row["mae"] == pytest.approx(np.exp(3) * (0.2 + 0.25 + 1.0) / 6, rel=1e-4)
    assert (row["n"], row["networks"]) == (6, 6)
    assert "6 networks are too few to set a 90% interval" in row["refused"]


def test_noise_of_the_campaign_itself_serves() -> None:
    """From cells to coverage with nothing given: noise from replicates, intervals, verdict."""
    held = splits(0.01, seed=3)
    found = noise.estimate(held[0].cells)
    assert found.about["energy_j"].std == pytest.approx(0.01, rel=0.15)
    assert first(coverage.measure(held, found, LEVEL))["verdict"] == "covers what it says"
