"""Where a campaign differs from the paper, cell by cell, and why, as far as its tables tell.

An explanation is drawn from the campaign's own numbers (n, D, draws at the paper's n, shares of
epochs with few samples, spreads) and from what is known of the paper (paper.md, sections 6, 8 and
12). What they do not explain is said to be unexplained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from wattproof.report import paper
from wattproof.report.inputs import ReportInputs
from wattproof.report.text import fixed, known, number, p_value, percent
from wattproof.report.view import View

NEAR_R = 0.05
"""Correlations within this of the printed ones count as the same."""
NEAR_ERROR = 0.005
"""Errors of node energy within this, half a percent point, count as the same."""
NEAR_W = 10.0
"""Powers within this count as the same."""
SMALL_D = 0.10
"""A distance of distributions up to here is small, whatever a test says at large n."""
ALPHA = 0.05
CRITICAL = 1.358
"""Kolmogorov-Smirnov, two samples, 5 %: D · √(n·m/(n + m)) (asymptotic)."""

QUANTITY = {
    "spearman": ("energy", "power"),
    "pearson": ("energy", "power"),
    "ks": ("power", "energy"),
}
"""The paper's correlations are on energy; what its KS test is on is unknown, power is likely."""


@dataclass(frozen=True)
class Cell:
    """A figure that the paper prints, and this campaign's.

    Attributes:
        what: Row and column in words.
        printed: By the paper.
        ours: This campaign's.
        same: Whether they agree; None if this campaign has no such figure.
        why: Explanation of the difference; empty if there is none.
    """

    what: str
    printed: str
    ours: str
    same: bool | None
    why: str = ""


def row_of(
    inputs: ReportInputs, printed: paper.TableOneRow, level: str, statistic: str
) -> pd.Series | None:
    """Return this campaign's row for a cell of Table I; None if it was not recorded."""
    rows = inputs.agreement
    rows = rows[(rows["setting"] == printed.setting) & (rows["level"] == level)]
    for label in paper.our_labels(printed.tool):
        for quantity in QUANTITY[statistic]:
            found = rows[(rows["label"] == label) & (rows["quantity"] == quantity)]
            if len(found):
                return found.iloc[0]
    return None


def cells(inputs: ReportInputs, usage: pd.DataFrame) -> list[Cell]:
    """Return all figures of the paper that are compared, in its order."""
    found = []
    for printed in paper.TABLE_ONE:
        for level in ("epoch", "run"):
            for statistic in ("spearman", "pearson", "ks"):
                found.append(_table_one(inputs, printed, level, statistic))
    return found + _powers(usage) + _few(inputs) + _errors(inputs)


def _table_one(
    inputs: ReportInputs, printed: paper.TableOneRow, level: str, statistic: str
) -> Cell:
    row = row_of(inputs, printed, level, statistic)
    where = f"{printed.setting}, {printed.tool}, per {'epoch' if level == 'epoch' else 'training'}"
    if statistic == "ks":
        return _verdict(f"{where}: KS", bool(getattr(printed, f"{level}_same")), printed.runs, row)
    value = float(getattr(printed, f"{level}_{statistic}"))
    name = statistic.capitalize()
    if row is None or not known(row[statistic]):
        return Cell(f"{where}: {name}", fixed(value), "not recorded", None)
    ours = float(row[statistic])
    what = f"{where}: {name} (n {int(row['n'])}, {row['quantity']})"
    same = abs(ours - value) <= NEAR_R
    why = "" if same else _why_r(row, printed, level, value, ours)
    return Cell(what, fixed(value), fixed(ours), same, why)


def _why_r(
    row: pd.Series, printed: paper.TableOneRow, level: str, value: float, ours: float
) -> str:
    reasons = []
    unit = "epochs" if level == "epoch" else "runs"
    if known(row["pearson_low"]) and known(row["pearson_high"]):
        low, high = float(row["pearson_low"]), float(row["pearson_high"])
        if low <= value <= high:
            reasons.append(
                f"the printed value lies within the 95 % interval of ours ({fixed(low)} to "
                f"{fixed(high)})"
            )
    if printed.tool.startswith("SMI") and known(row["few_samples"]):
        few = f"too few samples in {percent(row['few_samples'], 0)} of our {unit}"
        if level == "epoch":
            few += f" (paper: {percent(paper.SMI_FEW_SAMPLES, 0)} of epochs)"
        reasons.append(
            f"{few}; how often and how long its tool stalled is not known, ours is injected"
        )
    if printed.setting == "ddp":
        reasons.append(
            f"the correlation of a few {unit} hangs on how far their energies spread, and which "
            "networks the paper drew is not known"
        )
    if ours > value and not printed.tool.startswith("SMI"):
        reasons.append("every run has all instruments on one node and one clock here, unlike there")
    return "; ".join(reasons) or "unexplained"


def _verdict(what: str, printed: bool, runs: int, row: pd.Series | None) -> Cell:
    text = "✓" if printed else "✗"
    if row is None or not known(row["ks_d"]) or not known(row["ks_reject"]):
        return Cell(what, text, "not recorded", None)
    n, d, ours = int(row["n"]), float(row["ks_d"]), not bool(row["ks_reject"])
    what += f" ({row['quantity']})"
    shown = f"{'✓' if ours else '✗'} n {n}, D {fixed(d, 3)}, p {p_value(row['ks_p'])}"
    if ours == printed:
        return Cell(what, text, shown, True)
    critical = CRITICAL * math.sqrt(2.0 / n)
    why = f"at n {n} each, D is rejected from about {fixed(critical, 3)} on"
    small = CRITICAL * math.sqrt(2.0 / runs)
    if printed and d <= SMALL_D:
        why += f"; the distance itself is small (up to {fixed(SMALL_D)})"
    elif printed:
        why += f"; with the paper's {runs} trainings it would be from {fixed(small)} on"
    else:
        why += f"; ours is smaller. The paper has {runs} trainings, and its D is not printed"
    if known(row.get("ks20_reject")):
        why += (
            f"; of draws of 20 against 20, {percent(row['ks20_reject'], 0)} are rejected "
            f"(median D {fixed(row['ks20_d'])})"
        )
    return Cell(what, text, shown, False, why)


def _powers(usage: pd.DataFrame) -> list[Cell]:
    single = usage[usage["setting"] == "single"]
    found = []
    for name, column, printed in (
        ("smallest", "min_w", paper.GPU_RANGE_W[0]),
        ("largest", "max_w", paper.GPU_RANGE_W[1]),
    ):
        values = single[column].dropna().to_numpy(float)
        what = f"GPU power per epoch, one GPU: {name}"
        text = number(printed, unit="W")
        if not len(values):
            found.append(Cell(what, text, "not recorded", None))
            continue
        ours = float(values.min() if column == "min_w" else values.max())
        same = abs(ours - printed) <= NEAR_W
        why = (
            f"mean power of whole epochs, evaluation and pauses included, of the networks drawn "
            f"here ({int(single['n'].max())} epochs); the ends of a range hang on single draws, "
            "and the paper's draw is not known"
        )
        found.append(Cell(what, text, number(ours, unit="W"), same, "" if same else why))
    return found


def _few(inputs: ReportInputs) -> list[Cell]:
    row = row_of(inputs, paper.TABLE_ONE[0], "epoch", "pearson")
    what, text = "epochs with too few samples by SMI", percent(paper.SMI_FEW_SAMPLES, 0)
    if row is None or not known(row["few_samples"]):
        return [Cell(what, text, "not recorded", None)]
    ours = float(row["few_samples"])
    same = abs(ours - paper.SMI_FEW_SAMPLES) <= NEAR_R
    why = (
        "how many epochs fall into a bad period of the tool hangs on how long both are, which is "
        "injected here; the threshold of few samples is a setting (analysis.min_samples)"
    )
    return [Cell(what, text, percent(ours, 0), same, "" if same else why)]


@dataclass(frozen=True)
class EstimatorError:
    """Errors of an estimator over the runs on one GPU (over all runs where there are none)."""

    label: str
    median: float
    largest: float
    runs: int


def error_of(inputs: ReportInputs, name: str) -> EstimatorError | None:
    """Return how far an estimator of the paper's Figure 8 is off here; None if it is unknown.

    Of Code Carbon, that which tracks the job's GPUs stands for the paper's, if it was computed.
    """
    known_names = inputs.calibration.drop_duplicates("estimator").set_index("estimator")
    for choice in (f"{name}_job", name):
        if choice not in known_names.index:
            continue
        row = known_names.loc[choice]
        label = str(row["label"])
        rows = inputs.agreement
        rows = rows[
            (rows["label"] == label)
            & (rows["setting"] == "single")
            & (rows["level"] == "run")
            & (rows["quantity"] == "energy")
        ]
        best = rows.iloc[0] if len(rows) else row
        numbers = [best[column] for column in ("error_median", "error_max", "n")]
        if all(known(value) for value in numbers):
            median, largest, runs = (float(str(value)) for value in numbers)
            return EstimatorError(label, median, largest, round(runs))
    return None


def _errors(inputs: ReportInputs) -> list[Cell]:
    found = []
    for name, printed in paper.ESTIMATOR_ERRORS.items():
        ours = error_of(inputs, name)
        if ours is None:
            what = f"median error of node energy, {name.replace('_', ' ')}"
            found.append(Cell(what, percent(printed), "not recorded", None))
            continue
        off = ours.median - printed
        why = (
            f"off by {fixed(100 * off, 1)} points: between the calibration load and the trainings, "
            "off-socket power differs by another share of the node's power than there (largest "
            f"error {percent(ours.largest)} over {ours.runs} runs)"
        )
        same = abs(off) <= NEAR_ERROR
        what = f"median error of node energy, {ours.label}"
        found.append(Cell(what, percent(printed), percent(ours.median), same, "" if same else why))
    return found


def view(inputs: ReportInputs, usage: pd.DataFrame) -> View:
    """Return the table of the cells that differ, each with its explanation."""
    every = cells(inputs, usage)
    compared = [cell for cell in every if cell.same is not None]
    differing = [cell for cell in compared if not cell.same]
    label = "simulated" if inputs.simulated else "measured"
    return View(
        "paper-differences",
        f"{len(compared) - len(differing)} of {len(compared)} figures that {paper.CITATION} prints "
        f"agree with this campaign ({label}): correlations within {NEAR_R:g}, verdicts of KS, "
        f"errors within {100 * NEAR_ERROR:g} points, powers within {NEAR_W:g} W; "
        f"{len(every) - len(compared)} were not recorded. The others, and why:",
        ("figure", f"paper ({paper.CITATION})", f"this campaign ({label})", "why they differ"),
        tuple((cell.what, cell.printed, cell.ours, cell.why) for cell in differing),
        "" if differing else "No figure that was compared differs.",
    )
