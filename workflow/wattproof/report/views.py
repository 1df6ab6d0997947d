"""Tables of the page, as texts: what is unknown or refused stands there in words."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from wattproof import quality
from wattproof.report import paper
from wattproof.report.inputs import ReportInputs
from wattproof.report.scorecard import delivered
from wattproof.report.select import source_name
from wattproof.report.text import UNKNOWN, count, fixed, known, number, p_value, percent


@dataclass(frozen=True)
class View:
    """A table as the template draws it.

    Attributes:
        key: Id of the table on the page.
        caption: What a row is and how to read it.
        columns: Headings.
        rows: Texts; the first `headers` cells of a row are its heading.
        missing: Why there are no rows; empty if there are.
        notes: Numbered notes below the table.
        groups: Headings over several columns: (text, columns).
        source: Table that it is made from; empty for none.
        headers: How many leading cells name the row.
    """

    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    missing: str = ""
    notes: tuple[str, ...] = ()
    groups: tuple[tuple[str, int], ...] = ()
    source: str = ""
    headers: int = 1


class _Notes:
    """Numbers reasons, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self.texts.index(text) + 1}]"


def _or_refused(text: str, value: Any, refused: str, notes: _Notes) -> str:
    if known(value):
        return text
    return f"refused {notes.mark(refused)}" if refused else UNKNOWN


# -------------------------------------------------------------------------------- agreement

_EPOCH = ("n", "Spearman", "Pearson", "KS", "median error", "sample ratio")
_RUN = ("n", "Spearman", "Pearson", "KS", "median error")
NOT_ASSESSED = "not assessed"


def ks_text(row: Any, refused: str, notes: _Notes) -> str:
    """KS verdict, never without n, D and p (design, rule 7)."""
    if not known(row["ks_d"]) or not known(row["ks_reject"]):
        return _or_refused("", None, refused, notes)
    mark = "✗" if row["ks_reject"] else "✓"
    return f"{mark} n {row['n']}, D {fixed(row['ks_d'])}, p {p_value(row['ks_p'])}"


def _level_cells(rows: pd.DataFrame, level: str, notes: _Notes) -> list[str]:
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
        _or_refused(fixed(row["spearman"]), row["spearman"], why, notes),
        _or_refused(pearson, row["pearson"], why, notes),
        ks_text(row, why, notes),
        _or_refused(percent(row["error_median"]), row["error_median"], why, notes),
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
    notes = _Notes()
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
    notes = _Notes()
    for printed in paper.TABLE_ONE:
        for level, title in (("epoch", "epoch"), ("run", "training")):
            ours = _ours(inputs, printed, level)
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
                    _or_refused(fixed(ours["spearman"]), ours["spearman"], why, notes),
                    _or_refused(fixed(ours["pearson"]), ours["pearson"], why, notes),
                    ks_text(ours, why, notes),
                ]
            rows.append(tuple(cells))
    return View(
        "paper-table",
        f"What {paper.CITATION} prints in its Table I, beside this campaign (mean power where "
        "compared, else energy). Another node, space and number of runs: differences are expected. "
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


def _ours(inputs: ReportInputs, printed: paper.TableOneRow, level: str) -> pd.Series | None:
    rows = inputs.agreement
    rows = rows[(rows["setting"] == printed.setting) & (rows["level"] == level)]
    for label in paper.our_labels(printed.tool):
        for quantity in ("power", "energy"):
            found = rows[(rows["label"] == label) & (rows["quantity"] == quantity)]
            if len(found):
                return found.iloc[0]
    return None


def paper_figures(inputs: ReportInputs, usage: pd.DataFrame) -> View:
    """Other figures that the paper prints, beside ours."""
    single = usage[usage["setting"] == "single"]
    low, high, span = (single[c].dropna() for c in ("min_w", "max_w", "span"))
    few = _ours(inputs, paper.TABLE_ONE[0], "epoch")
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
    ours = inputs.calibration.drop_duplicates("estimator").set_index("estimator")
    for name, error in paper.ESTIMATOR_ERRORS.items():
        found = ours.loc[name] if name in ours.index else None
        label = name.replace("_", " ") if found is None else found["label"]
        rows.append(
            (
                f"median error of node energy, {label}",
                percent(error),
                percent(None if found is None else found["error_median"]),
            )
        )
    return View(
        "paper-figures",
        f"Other figures printed in {paper.CITATION}, beside this campaign. The paper's abstract "
        "calls the errors maximum, its Figure 8 median.",
        ("figure", f"paper ({paper.CITATION})", "this campaign"),
        tuple(rows),
    )


# --------------------------------------------------------------------------- the other tables


def usage(inputs: ReportInputs) -> View:
    """Range of power and utilisation by device."""
    notes = _Notes()
    rows = []
    for _, row in inputs.usage.iterrows():
        why = str(row["refused"] or "")

        def cell(name: str, text: str, row: Any = row, why: str = why) -> str:
            return _or_refused(text, row[name], why, notes)

        watts = [
            cell(c, number(row[c]))
            for c in ("idle_w", "min_w", "q05_w", "median_w", "q95_w", "max_w", "limit_w")
        ]
        use = [cell(c, number(row[c])) for c in ("utilisation_min", "utilisation_max")]
        rows.append(
            (
                str(row["device"]),
                str(row["setting"]),
                source_name(str(row["source"])),
                str(row["n"]),
                *watts,
                cell("span", percent(row["span"], 0)),
                cell("peak_share", percent(row["peak_share"], 0)),
                *use,
                cell("pearson_utilisation", fixed(row["pearson_utilisation"])),
            )
        )
    return View(
        "usage",
        "Mean power of the epochs by GPU. Span: (max − min) / (limit − idle); r: Pearson "
        "correlation of power with utilisation.",
        (
            *("GPU", "setting", "source", "epochs"),
            *("idle (W)", "min (W)", "5 % (W)", "median (W)", "95 % (W)", "max (W)", "limit (W)"),
            *("span", "max / limit", "utilisation min (%)", "utilisation max (%)", "r"),
        ),
        tuple(rows),
        "" if rows else "No GPU power was recorded, so its range is not known.",
        tuple(notes.texts),
        source="usage",
    )


def _parameters(text: str) -> str:
    parts = []
    for name, item in json.loads(text or "{}").items():
        unit = str(item.get("unit") or "")
        doubt = f" ± {number(item['u'], 2)}" if known(item.get("u")) else ""
        parts.append(f"{name} = {number(item.get('value'), 4)}{doubt} {unit}".rstrip())
    return "; ".join(parts) or "no parameters"


def _ranges(text: str) -> str:
    parts = []
    for name, (low, high, *unit) in json.loads(text or "{}").items():
        parts.append(f"{name}: {number(low)} to {number(high)} {''.join(map(str, unit))}".rstrip())
    return "; ".join(parts) or "not limited"


def calibration(inputs: ReportInputs) -> View:
    """Estimators of node energy with held-out errors."""
    notes = _Notes()
    rows = []
    for _, row in inputs.calibration.iterrows():
        why = str(row["refused"] or "")
        errors = [
            _or_refused(percent(row[c]), row[c], why, notes)
            for c in ("error_median", "error_q1", "error_q3", "error_max")
        ]
        covered = percent(row["coverage"], 0) if known(row["coverage"]) else "no interval stated"
        rows.append(
            (
                str(row["label"] or row["estimator"]),
                str(row["device"]),
                str(row["n"]),
                *errors,
                covered,
                str(row["held_out"] or "not stated"),
                _parameters(str(row["parameters"])),
                _ranges(str(row["valid_range"])),
            )
        )
    return View(
        "calibration",
        "Estimators of node energy against the meter, over run windows. Error: (meter − estimate) "
        "/ meter, positive = underestimate; largest is of the absolute error. Coverage: share of "
        "runs inside the stated 90 % interval.",
        (
            *("estimator", "device", "runs", "median error", "lower quartile", "upper quartile"),
            *("largest error", "coverage", "held out", "parameters", "valid for"),
        ),
        tuple(rows),
        "" if rows else "No estimator of node energy was calibrated.",
        tuple(notes.texts),
        source="calibration",
    )


_UNITS = {"accuracy": "1", "energy_j": "J", "time_s": "s", "power_w": "W"}


def scores(inputs: ReportInputs) -> View:
    """Surrogate scores on held-out networks."""
    notes = _Notes()
    rows = []
    for _, row in inputs.scores.iterrows():
        why = str(row["refused"] or "")
        unit = _UNITS.get(str(row["target"]), "")
        texts = {
            "r2": fixed(row["r2"]),
            "kendall_tau": fixed(row["kendall_tau"]),
            "mae": number(row["mae"], unit=unit),
            "mape": percent(row["mape"]),
            "coverage": percent(row["coverage"], 0),
            "width": number(row["width"], unit=unit),
            "noise": percent(row["noise"]),
        }
        cells = [_or_refused(text, row[c], why, notes) for c, text in texts.items()]
        rows.append(
            (
                str(row["target"]),
                str(row["model"]),
                str(row["split"]),
                str(row["n"]),
                str(row["networks"]),
                *cells,
            )
        )
    return View(
        "scores",
        "Surrogate models on held-out networks. MAE and MAPE: mean absolute and mean absolute "
        "relative error; coverage and width of the 90 % interval; noise: coefficient of variation "
        "of replicates, below which no model can get.",
        (
            *("target", "model", "split", "runs", "networks", "R²", "Kendall τ", "MAE", "MAPE"),
            *("coverage", "width", "noise"),
        ),
        tuple(rows),
        "" if rows else "No surrogate was fitted.",
        tuple(notes.texts),
        source="scores",
        headers=2,
    )


def health(inputs: ReportInputs) -> View:
    """Readings expected and delivered, by source over all sessions."""
    shares = delivered(inputs.health)["share"]
    rows = []
    for source, group in inputs.health.groupby("source", sort=True):
        share = shares.get(source)
        cpu_s, time_s = (group[c].sum(min_count=1) for c in ("cpu_s", "duration_s"))
        busy = cpu_s / time_s if known(cpu_s) and known(time_s) and time_s > 0 else None
        outcomes = Counter(str(o) for o in group["outcome"])
        expected = group["expected"].sum() if group["expected"].notna().all() else None
        rows.append(
            (
                source_name(str(source)),
                str(len(group)),
                number(expected, 12) if known(expected) else "stream of unknown rate",
                number(group["taken"].sum(), 12),
                number(group["failed"].sum(), 12),
                number(group["missed"].sum(), 12),
                percent(share, 2) if known(share) else "does not apply",
                number(group["longest_gap_s"].max(), unit="s"),
                percent(busy, 2),
                str(int(group["restarts"].sum())),
                "; ".join(f"{name}: {n}" for name, n in sorted(outcomes.items())),
            )
        )
    return View(
        "health",
        "Instruments over all sessions. Delivered: good readings over expected. CPU: seconds of "
        "the source's process per second recorded.",
        (
            *("source", "sessions", "expected", "taken", "failed", "missed", "delivered"),
            *("longest gap", "CPU", "restarts", "outcome"),
        ),
        tuple(rows),
        "" if rows else "There is no record of the instruments' health.",
        source="health",
    )


def clocks(inputs: ReportInputs) -> View:
    """Alignment of every source's clock in every session."""
    rows = []
    for _, row in inputs.clocks.sort_values(["source", "recording", "session"]).iterrows():
        offset = f"{int(row['offset_ns']) / 1e9:.6f}" if known(row["offset_ns"]) else UNKNOWN
        residual = row["residual_ns"] / 1e6 if known(row["residual_ns"]) else None
        accepted = "accepted" if row["accepted"] else f"refused: {row['reason'] or 'no reason'}"
        rows.append(
            (
                source_name(str(row["source"])),
                str(row["recording"]),
                str(row["session"]),
                str(row["method"]),
                offset,
                number(row["drift_ppm"]),
                number(residual),
                fixed(row["confidence"]),
                accepted,
            )
        )
    return View(
        "clocks",
        "Clock of each source against the recording's. Energies are never compared on a clock "
        "that was refused.",
        (
            *("source", "recording", "session", "method", "offset (s)", "drift (ppm)"),
            *("residual (ms)", "confidence", "verdict"),
        ),
        tuple(rows),
        "" if rows else "No clock was checked.",
        source="clocks",
    )


def flags(inputs: ReportInputs) -> View:
    """Quality flags with their sentences and how often they occur."""
    found: Counter[tuple[str, str]] = Counter()
    for source, names in zip(inputs.energy["source"], inputs.energy["flags"], strict=True):
        found.update((str(name), str(source)) for name in names)
    total = len(inputs.energy)
    rows = []
    for name in sorted({flag for flag, _ in found}):
        sources = {s: n for (flag, s), n in found.items() if flag == name}
        by = ", ".join(f"{source_name(s)} {n}" for s, n in sorted(sources.items()))
        rows.append((name, quality.describe(name), str(sum(sources.values())), by))
    missing = "No window carries a flag." if total else "There are no energies to flag."
    return View(
        "flags",
        f"Quality flags over {count(total, 'energy', 'energies')} (window × channel).",
        ("flag", "meaning", "energies", "by source"),
        tuple(rows),
        "" if rows else missing,
        source="energy",
    )
