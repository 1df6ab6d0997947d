"""Tables of the page on agreement with the reference, and beside the paper's."""

from __future__ import annotations

from typing import Any

import pandas as pd

from wattproof.report import paper, twin
from wattproof.report.inputs import ReportInputs
from wattproof.report.text import fixed, known, number, p_value, percent
from wattproof.report.view import Notes, View, or_refused

_EPOCH = ("n", "Spearman", "Pearson", "KS", "median error", "sample ratio")
_RUN = ("n", "Spearman", "Pearson", "KS", "median error")
NOT_ASSESSED = "not assessed"


def ks_text(row: Any, refused: str, notes: Notes) -> str:
    """KS verdict, never without n, D and p (design, rule 7)."""
    if not known(row["ks_d"]) or not known(row["ks_reject"]):
        return or_refused("", None, refused, notes)
    mark = "✗" if row["ks_reject"] else "✓"
    return f"{mark} n {row['n']}, D {fixed(row['ks_d'])}, p {p_value(row['ks_p'])}"


def _level_cells(rows: pd.DataFrame, level: str, notes: Notes) -> list[str]:
    names = _EPOCH if level == "epoch" else _RUN
    chosen = rows[rows["level"] == level]
    if chosen.empty:
        return [NOT_ASSESSED] * len(names)
    row = chosen.iloc[0]
    why = str(row["refused"] or "")
    pearson = fixed(row["pearson"])
    if known(row["pearson_low"]) and known(row["pearson_high"]):
        pearson += f" ({fixed(row['pearson_low'])} to {fixed(row['pearson_high'])})"
    cells = [
        str(row["n"]),
        or_refused(fixed(row["spearman"]), row["spearman"], why, notes),
        or_refused(pearson, row["pearson"], why, notes),
        ks_text(row, why, notes),
        or_refused(percent(row["error_median"]), row["error_median"], why, notes),
    ]
    if level == "epoch":
        ratio = fixed(row["sample_ratio"]) if known(row["sample_ratio"]) else "does not apply"
        if known(row["few_samples"]) and row["few_samples"] > 0:
            ratio += f"; few samples in {percent(row['few_samples'], 0)}"
        cells.append(ratio)
    return cells


def agreement(inputs: ReportInputs, quantity: str) -> View:
    """The paper's Table I layout: agreement with the meter per epoch and per training."""
    rows = inputs.agreement[inputs.agreement["quantity"] == quantity]
    notes = Notes()
    texts = []
    for key, group in rows.groupby(["setting", "label", "reference"], sort=False):
        runs = f"{int(group['runs'].max())}"
        texts.append(
            (
                *(str(part) for part in key),
                runs,
                *_level_cells(group, "epoch", notes),
                *_level_cells(group, "run", notes),
            )
        )
    return View(
        f"agreement-{quantity}",
        f"Agreement of mean {quantity} with the reference, in the layout of the paper's Table I. "
        "Error: (reference − value) / reference, positive = underestimate. KS: ✓ the test does "
        "not reject that both have the same distribution, ✗ it does; its outcome depends on n.",
        ("setting", "tool", "reference", "runs", *_EPOCH, *_RUN),
        tuple(texts),
        "" if texts else f"No source was compared with a reference in {quantity}.",
        tuple(notes.texts),
        (("", 4), ("per epoch", len(_EPOCH)), ("per training", len(_RUN))),
        "agreement",
        headers=2,
    )


# ---------------------------------------------------------------------- comparison with the paper


def paper_table(inputs: ReportInputs) -> View:
    """The paper's Table I beside this campaign's figures."""
    rows = []
    notes = Notes()
    for printed in paper.TABLE_ONE:
        for level, title in (("epoch", "epoch"), ("run", "training")):
            ours = twin.row_of(inputs, printed, level, "pearson")
            tested = twin.row_of(inputs, printed, level, "ks")
            same = "✓" if getattr(printed, f"{level}_same") else "✗"
            cells = [printed.setting, printed.tool, title, str(printed.runs)]
            for statistic, text in (
                ("spearman", fixed(getattr(printed, f"{level}_spearman"))),
                ("pearson", fixed(getattr(printed, f"{level}_pearson"))),
                ("same", same),
            ):
                sure = f"{level}_{statistic}" in printed.certain
                cells.append(text if sure else f"{text} {SECOND_HAND}")
            if ours is None:
                cells += ["not recorded"] * 5
            else:
                why = str(ours["refused"] or "")
                cells += [
                    str(ours["label"]),
                    str(int(ours["runs"])),
                    or_refused(fixed(ours["spearman"]), ours["spearman"], why, notes),
                    or_refused(fixed(ours["pearson"]), ours["pearson"], why, notes),
                    NOT_ASSESSED if tested is None else ks_text(tested, why, notes),
                ]
            rows.append(tuple(cells))
    return View(
        "paper-table",
        f"What {paper.CITATION} prints in its Table I, beside this campaign: correlations on "
        "energy (as there), KS on mean power (which it was on is unknown). Another "
        "node, space and number of runs: differences are expected. "
        f"{SECOND_HAND} read from one unchecked extraction of the paper; its runs are inferred.",
        (
            *("setting", "tool", "level"),
            *("runs", "Spearman", "Pearson", "KS"),
            *("row compared", "runs", "Spearman", "Pearson", "KS"),
        ),
        tuple(rows),
        notes=tuple(notes.texts),
        groups=(("", 3), (f"paper ({paper.CITATION})", 4), ("this campaign", 5)),
        headers=3,
    )


SECOND_HAND = "†"
"""Marks a cell of the paper that rests on one unchecked extraction."""


def paper_figures(inputs: ReportInputs, usage: pd.DataFrame) -> View:
    """Other figures that the paper prints, beside ours."""
    single = usage[usage["setting"] == "single"]
    low, high, span = (single[c].dropna() for c in ("min_w", "max_w", "span"))
    few = twin.row_of(inputs, paper.TABLE_ONE[0], "epoch", "pearson")
    rows = [
        (
            "GPU power per epoch, one GPU: smallest",
            number(paper.GPU_RANGE_W[0], unit="W"),
            number(low.min() if len(low) else None, unit="W"),
        ),
        (
            "GPU power per epoch, one GPU: largest",
            number(paper.GPU_RANGE_W[1], unit="W"),
            number(high.max() if len(high) else None, unit="W"),
        ),
        (
            "span (max − min) / (limit − idle), largest of a device",
            f"{percent(paper.SPAN, 0)} (computed from its figures)",
            percent(span.max() if len(span) else None, 0),
        ),
        (
            "epochs with too few samples by SMI",
            percent(paper.SMI_FEW_SAMPLES, 0),
            percent(None if few is None else few["few_samples"], 0),
        ),
    ]
    for name, error in paper.ESTIMATOR_ERRORS.items():
        found = twin.error_of(inputs, name)
        label = name.replace("_", " ") if found is None else found.label
        rows.append(
            (
                f"median error of node energy, {label}",
                percent(error),
                percent(None if found is None else found.median),
            )
        )
    return View(
        "paper-figures",
        f"Other figures printed in {paper.CITATION}, beside this campaign. The paper's abstract "
        "calls the errors maximum, its Figure 8 median.",
        ("figure", f"paper ({paper.CITATION})", "this campaign"),
        tuple(rows),
    )
