"""Beside the paper: what agrees, what differs, and whether the reason fits the numbers."""

import dataclasses

import pandas as pd
import pytest
import synthetic_campaign as made

from wattproof.report import paper, twin

EXACT = {
    "SMI": (0.58, 0.64), "SMI (corrected)": (0.99, 0.95), "NVML": (0.98, 0.99),
    "Code Carbon 2.x": (0.99, 0.99),
}  # fmt: skip


def agreement(rows) -> pd.DataFrame:
    """Rows of table ``agreement`` as (label, level, quantity, changes), single GPU."""
    template = made.full().agreement.iloc[0].to_dict()
    found = []
    for label, level, quantity, changes in rows:
        spearman, pearson = EXACT[label] if level == "epoch" else (0.99, 0.99)
        row = {
            **template, "label": label, "level": level, "quantity": quantity, "refused": "",
            "setting": "single", "spearman": spearman, "pearson": pearson,
            "pearson_low": pearson - 0.02, "pearson_high": pearson + 0.005,
            "n": 6000 if level == "epoch" else 500, "ks_d": 0.02, "ks_p": 0.5,
            "ks_reject": False, "ks20_d": 0.15, "ks20_reject": 0.02, "few_samples": 0.39,
        }  # fmt: skip
        found.append({**row, **changes})
    return pd.DataFrame(found)


def cells_of(rows, **more):
    inputs = dataclasses.replace(made.full(), agreement=agreement(rows), **more)
    return {cell.what: cell for cell in twin.cells(inputs, inputs.usage)}


def find(cells, *words):
    (found,) = [cell for what, cell in cells.items() if all(word in what for word in words)]
    return found


def test_what_is_as_printed_needs_no_reason():
    rows = [("NVML", level, q, {}) for level in ("epoch", "run") for q in ("energy", "power")]
    cells = cells_of(rows)
    mine = [cell for what, cell in cells.items() if what.startswith("single, NVML")]
    assert len(mine) == 6
    assert all(cell.same and cell.why == "" for cell in mine)
    others = [cell for what, cell in cells.items() if what.startswith("ddp, SMI")]
    assert all(cell.same is None and cell.ours == "not recorded" for cell in others)


def test_correlations_are_on_energy_and_ks_is_on_power():
    rows = [
        ("SMI", "epoch", "power", {"pearson": 0.1, "ks_d": 0.4, "ks_p": 0.0, "ks_reject": True}),
        ("SMI", "epoch", "energy", {"ks_d": 0.01}),
    ]
    cells = cells_of(rows)
    assert find(cells, "single, SMI,", "epoch", "Pearson").same
    ks = find(cells, "single, SMI,", "epoch", "KS")
    assert ks.same  # rejected there and here
    assert "D 0.400" in ks.ours


def test_a_rejection_of_a_small_distance_is_told_by_its_n():
    worse = {"ks_d": 0.03, "ks_p": 0.002, "ks_reject": True}
    cell = find(cells_of([("NVML", "epoch", "power", worse)]), "NVML", "epoch", "KS")
    assert not cell.same
    # 1.358 · sqrt(2/6000) = 0.0248
    assert "n 6000 each, D is rejected from about 0.025 on" in cell.why
    assert "small" in cell.why
    assert "20 against 20, 2\u202f% are rejected" in cell.why


def test_a_large_distance_is_not_called_small():
    worse = {"ks_d": 0.4, "ks_p": 0.0, "ks_reject": True}
    cell = find(cells_of([("NVML", "epoch", "power", worse)]), "NVML", "epoch", "KS")
    assert "small" not in cell.why
    assert "0.43" in cell.why  # 1.358 · sqrt(2/20)


def test_smi_is_explained_by_its_injected_stalls():
    worse = {"pearson": 0.4, "few_samples": 0.61, "pearson_low": 0.35, "pearson_high": 0.45}
    cell = find(cells_of([("SMI", "epoch", "energy", worse)]), "single, SMI, per epoch: P")
    assert not cell.same
    assert "61\u202f%" in cell.why
    assert "39\u202f%" in cell.why
    assert "injected" in cell.why
    assert "interval" not in cell.why  # 0.64 is not within 0.35 to 0.45


def test_what_cannot_be_explained_is_said_to_be_unexplained():
    worse = {"pearson": 0.5, "pearson_low": 0.4, "pearson_high": 0.6}
    cell = find(cells_of([("NVML", "epoch", "energy", worse)]), "NVML", "epoch", "Pearson")
    assert (cell.same, cell.why) == (False, "unexplained")


@pytest.mark.parametrize(("error", "same"), [(0.103, True), (0.1079, True), (0.11, False)])
def test_errors_are_those_of_single_runs(error, same):
    inputs = made.full()
    calibration = inputs.calibration.iloc[:1].copy()
    calibration["estimator"], calibration["label"] = "code_carbon_2x", "Code Carbon 2.x"
    calibration["error_median"] = 0.05  # over all settings
    rows = [("Code Carbon 2.x", "run", "energy", {"error_median": error, "error_max": 0.12})]
    cells = cells_of(rows, calibration=calibration)
    cell = find(cells, "median error of node energy, Code Carbon")
    assert cell.same is same
    assert bool(cell.why) is not same
    if not same:
        assert "off by 0.7 points" in cell.why


def test_every_differing_cell_of_the_page_has_its_reason():
    inputs = made.full()
    view = twin.view(inputs, inputs.usage)
    assert view.rows
    assert all(row[-1] for row in view.rows)
    assert f"paper ({paper.CITATION})" in view.columns
    assert "simulated" in view.caption
