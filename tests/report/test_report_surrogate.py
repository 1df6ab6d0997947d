"""The page's part on the benchmark: scores, intervals, growth, fronts, and others beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import synthetic_campaign as made
from PIL import Image

from wattproof.report import peers, published, views_surrogate
from wattproof.report.figures import draw_all
from wattproof.report.page import render
from wattproof.report.scorecard import judge
from wattproof.report.searched import read_search

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "surrogate"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmark"))

import surrogate_campaign as synthetic
from published_artefact import make_artefact


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artefact(synthetic.make(), tmp_path_factory.mktemp("asked"))


def test_scores_show_what_the_benchmark_holds_beside_what_noise_allows() -> None:
    view = views_surrogate.scores(made.full())
    rows = {row[0]: dict(zip(view.columns, row, strict=True)) for row in view.rows}
    energy = rows["energy of the training"]
    assert energy["model"] == "trees, line"
    assert (energy["Kendall τ"], energy["τ ceiling"]) == ("0.910", "0.960")
    assert (energy["MAPE"], energy["least error"]) == ("4.0\u202f%", "1.6\u202f%")
    assert energy["MAE"] == "1.23\u202fkJ"
    assert rows["validation accuracy"]["noise"] == "no replicates"
    assert rows["validation accuracy"]["R²"] == "refused [1]"
    assert "linear" not in str(view.rows)


def test_families_are_compared_with_their_counted_cost() -> None:
    view = views_surrogate.families(made.full())
    cells = {row[1]: (row[2], row[-1]) for row in view.rows if row[0] == "energy of the training"}
    assert cells == {
        "trees, line": ("in the benchmark", "381\u202f190"),
        "linear, line": ("compared", "90"),
    }
    older = made.full().scores.assign(chosen=None)
    assert views_surrogate.families(made.but(made.full(), scores=older)).missing
    assert len(views_surrogate.scores(made.but(made.full(), scores=older)).rows) == 3


def test_strata_that_are_not_covered_stand_in_the_table() -> None:
    view = views_surrogate.coverage(made.full())
    strata = [(row[0], row[1], row[4], row[-1]) for row in view.rows]
    assert strata == [
        ("energy of the training", "all", "91.0\u202f% ± 2.0\u202f%", "covers what it says"),
        (
            "energy of the training",
            "upper third of predicted energy",
            "70.0\u202f% ± 2.0\u202f%",
            "covers less than it says, by 20.0 points",
        ),
        ("validation accuracy", "all", "refused", "refused: too few networks"),
    ]


def test_growth_says_what_more_networks_bring() -> None:
    (row,) = views_surrogate.growth(made.full()).rows
    assert row[:4] == ("energy of the training", "80", "0.900", "3.0\u202f%")
    assert row[4] == "With 160 networks instead of 80 about 2 %."


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00265, "J", "2.65\u202fmJ"),
        (6695.0, "J", "6.70\u202fkJ"),
        (2.9e-5, "s", "29.0\u202fµs"),
        (1e-9, "s", "0.00100\u202fµs"),
        (0.0, "J", "0.00\u202fJ"),
        (0.16, "", "0.160"),
        (None, "J", "not known"),
        (float("nan"), "J", "not known"),
    ],
)
def test_amounts_carry_a_prefix(value: float | None, unit: str, text: str) -> None:
    assert views_surrogate.amount(value, unit) == text


def test_own_column_is_made_from_the_tables() -> None:
    full = made.full()
    facts = peers.own_facts(full)
    assert facts["meter"] == "the meter itself for 8 of 8 runs"
    assert facts["intervals"] == "90 % intervals, of the energy: 91.0\u202f%"
    assert facts["samples"].startswith("all readings of 7 channels (host, meter, NVML")
    dearer = full.dataset.assign(node_energy_by="regression")
    assert peers.own_facts(made.but(full, dataset=dearer))["meter"] == "3 calibrated estimators"
    assert peers.view(full).rows[1][:3] == (
        "distinct networks",
        "632; 4 trained",
        "334 (CIFAR-10) and 38,516 (Tiny ImageNet); 6.04e7 stated [M]",
    )
    assert "no published benchmark" in peers.view(made.empty()).missing


def test_every_fact_on_others_says_where_it_comes_from() -> None:
    for row in peers.ROWS:
        for fact in row[2:]:
            assert fact[-3:] in ("[M]", "[S]", "[D]", "[I]") or fact.endswith("us"), fact


def test_the_benchmark_is_asked(artefact: Path) -> None:
    found = published.ask(artefact)
    facts = found.facts
    assert facts["searched"] == "5 parameters of the network, 6 of the training"
    assert facts["networks"] == "632; 30 trained"
    assert facts["repeats"].startswith("3 configurations")
    assert facts["rising"].startswith("0 of ")
    assert facts["noise"] == "drawn by the query's seed; the same seed, the same number"
    assert facts["files"].endswith("no pickle")
    assert set(found.points["kind"]) == {"measured", "predicted"}
    again = published.ask(artefact)
    assert again.facts == facts
    np.testing.assert_array_equal(again.points["energy_j"], found.points["energy_j"])


def test_fronts_hold_exactly_what_nothing_beats(artefact: Path) -> None:
    points = published.ask(artefact).points
    measured = points[points["kind"] == "measured"].reset_index(drop=True)
    better = measured["accuracy"].to_numpy(), -measured["energy_j"].to_numpy()
    for index, on_front in enumerate(measured["front"]):
        as_good = (better[0] >= better[0][index]) & (better[1] >= better[1][index])
        truly = (better[0] > better[0][index]) | (better[1] > better[1][index])
        assert on_front == (not (as_good & truly).any())
    assert 0 < measured["front"].sum() < len(measured)


def test_search_is_part_of_the_page_where_it_ran(tmp_path: Path) -> None:
    folder = tmp_path / "search"
    folder.mkdir()
    Image.new("RGB", (20, 10)).save(folder / "search.png")
    about = {
        "sentences": ["By nvidia-smi other methods win."],
        "figures": {"search": {"title": "Search by a faulty source", "caption": "Ten seeds."}},
    }
    (folder / "summary.json").write_text(json.dumps(about), encoding="utf-8")
    found = made.but(made.empty(), search=read_search(folder))
    figures = draw_all(found, tmp_path / "figures")
    page = render(found, figures, judge(found))
    assert "By nvidia-smi other methods win." in page
    assert 'id="search"' in page
    without = made.but(found, search=read_search([]))
    assert "Search on it" not in render(without, figures, judge(without))
