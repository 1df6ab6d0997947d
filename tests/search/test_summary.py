"""The sentences say what the tables hold: a changed ranking, an unchanged one, a broken promise."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_bench import Opener

from wattproof import tables
from wattproof.report import draw_search
from wattproof.search import Settings, demonstrate, statistics, summarise

METHODS = ("random", "nsga2", "tpe")


def made(by_gpu, by_smi, spread: float = 0.01, spent: float = 1.2):
    """Tables whose final hypervolumes have these means over 10 seeds."""
    rng = np.random.default_rng(0)
    rows, front = [], []
    for source, means in (("gpu", by_gpu), ("smi", by_smi)):
        for method, mean in zip(METHODS, means, strict=True):
            for seed in range(10):
                label = {"method": method, "source": source, "seed": seed}
                volume = mean + spread * rng.normal()
                rows += [
                    {
                        **label,
                        "calibrated": source == "gpu",
                        "checkpoint": at,
                        "true_j": 1e6 * (at + 1),
                        "hypervolume": volume,
                        "hypervolume_reported": volume,
                        "budget_j": 1e6,
                        "total_j": 1e6 if source == "gpu" else spent * 1e6,
                    }
                    for at in range(2)
                ]
                lie = 1.0 if source == "gpu" else 0.5
                front += [
                    {
                        **label,
                        "energy_j": 100.0 * a,
                        "energy_reported_j": lie * 100.0 * a,
                        "test_accuracy": a / 10,
                        "val_accuracy": a / 10,
                        "beaten": source == "smi" and a == 5,
                    }
                    for a in (3, 5)
                ]
    front += [
        {"method": "reference", "source": "gpu", "seed": 0, "energy_j": 1.0, "test_accuracy": a}
        for a in (0.1, 0.5)
    ]
    return pd.DataFrame(rows), pd.DataFrame(front)


def test_an_inverted_ranking_is_said() -> None:
    found = summarise(*made((0.3, 0.5, 0.7), (0.7, 0.5, 0.3)))
    text = " ".join(found.sentences)
    assert "Believing nvidia-smi changes the ranking of methods" in text
    assert "Random search overtakes MO-TPE" in text
    assert found.against[0].tau.value == -1.0
    assert found.methods == ["tpe", "nsga2", "random"]
    assert found.apart == (3, 3)
    assert "really spent 120 % (120 to 120 %)" in text
    assert "needs 2.00 (2.00 to 2.00) times the energy that was reported" in text
    assert "50 % (50 to 50 %) of their front is beaten" in text
    json.dumps(found.as_dict())


def test_an_unchanged_ranking_is_said_as_plainly() -> None:
    found = summarise(*made((0.3, 0.5, 0.7), (0.2, 0.4, 0.6), spread=0.001))
    text = " ".join(found.sentences)
    assert "The ranking of methods does not change" in text
    assert "changes the ranking" not in text
    assert found.against[0].tau.value == 1.0
    # The median method of (0.2 / 0.3, 0.4 / 0.5, 0.6 / 0.7) has four fifths left.
    assert found.against[0].volume.value == pytest.approx(0.8, abs=0.02)
    assert "their hypervolume is 0." in text


def test_a_swap_within_seed_noise_is_not_sold_as_one() -> None:
    found = summarise(*made((0.50, 0.51, 0.7), (0.51, 0.50, 0.7), spread=0.2))
    assert all(not swap.beyond for swap in found.against[0].swaps)
    text = " ".join(found.sentences)
    assert "changes the ranking" not in text


def test_without_another_source_that_is_said() -> None:
    search, front = made((0.3, 0.5, 0.7), (0.3, 0.5, 0.7))
    alone = summarise(
        search[search["source"] == "gpu"],
        front[front["source"] == "gpu"],
        ["The campaign has no energies by source 'smi', so no search believes in it."],
    )
    assert "no energies by source 'smi'" in " ".join(alone.sentences)
    assert alone.against == []


def test_the_choice_is_made_by_report_and_costs_what_it_costs() -> None:
    front = pd.DataFrame(
        {
            "val_accuracy": [0.5, 0.6, 0.9],
            "energy_reported_j": [10.0, 5.0, 20.0],
            "energy_j": [10.0, 50.0, 20.0],
        }
    )
    got = statistics.energy_at_accuracy(front, np.array([0.4, 0.55, 0.8, 0.95]))
    assert got.tolist() == [50.0, 50.0, 20.0, np.inf]


def test_bootstrap_and_tau_against_oracles() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=10)
    found = statistics.mean(values)
    half = 1.96 * values.std(ddof=0) / np.sqrt(10)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.25 * half
    )
    scores = np.array([[1.0], [2.0], [3.0], [4.0]])
    other = np.array([[1.0], [3.0], [2.0], [4.0]])
    assert statistics.order_agreement(scores, other).value == pytest.approx(4 / 6)


@pytest.fixture(scope="module")
def faulty():
    settings = Settings(methods=("random", "nsga2", "moasha"), budget=30.0, seeds=3, reference=300)
    return demonstrate(Opener("half", 0.01), settings), settings


def test_a_source_that_loses_half_of_every_second_training_is_found_out(faulty) -> None:
    found, _ = faulty
    summary = summarise(found.search, found.front)
    other = summary.against[0]
    assert other.spent.low > 1.2
    assert other.promise.low > 1.2
    assert other.promise_calibrated.value == pytest.approx(1.0, abs=0.03)
    assert other.beaten.value > other.beaten_calibrated.value
    assert other.claimed.low > 1.0


def test_an_inverting_source_makes_searches_choose_what_is_hungry() -> None:
    settings = Settings(
        methods=("random", "nsga2"), budget=30.0, seeds=3, reference=300,
        objectives=("accuracy", "energy_j"),
    )  # fmt: skip
    found = demonstrate(Opener("inverse", 0.01), settings)
    fronts = found.front[found.front["method"] != "reference"]
    mean = fronts.groupby("source")["energy_j"].median()
    assert mean["smi"] > 1.5 * mean["gpu"]
    summary = summarise(found.search, found.front)
    assert summary.against[0].volume.high < 1.0
    assert "hypervolume is 0." in " ".join(summary.sentences)


def test_tables_and_figures_are_written(faulty, tmp_path: Path) -> None:
    found, _ = faulty
    meta = tables.Meta("made", True)
    tables.write(found.search, "search", tmp_path / "search.parquet", meta)
    tables.write(found.front, "search_front", tmp_path / "search_front.parquet", meta)
    again = tables.read_frame(tmp_path / "search.parquet", "search")
    front = tables.read_frame(tmp_path / "search_front.parquet", "search_front")
    summary = summarise(again, front)
    dataset = pd.DataFrame({"gpu_energy_j": [1.0, 2.0], "time_s": [1.0, 1.0], "epochs": [1, 1]})
    dataset["smi_energy_j"] = [0.5, 1.0]
    infos = draw_search(again, front, summary, dataset, tmp_path / "figures", True)
    assert infos[0].name == "search"
    assert all(info.png.stat().st_size > 1000 and not info.missing for info in infos)
    assert "3 seeds" in infos[0].caption
    assert infos[0].png.stat().st_size < 200_000
