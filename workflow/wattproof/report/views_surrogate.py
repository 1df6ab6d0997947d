"""Tables of the page on surrogates: scores, families compared, coverage of intervals, growth."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from wattproof.report.inputs import ReportInputs
from wattproof.report.text import UNKNOWN, fixed, known, number, percent, whole
from wattproof.report.view import Notes, View, or_refused
from wattproof.surrogate.coverage import LEFT_OUT
from wattproof.surrogate.targets import ALL

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))

LABELS = {
    "accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "energy_j": "energy of the training",
    "gpu_energy_j": "energy of its GPUs",
    "smi_energy_j": "energy of its GPUs by nvidia-smi",
    "time_s": "time of the training",
    "power_w": "mean power of the training",
    "inference_j_per_image": "inference energy of an image",
    "latency_s": "latency of an image",
}


def label(target: str) -> str:
    """Name of a target for people."""
    return LABELS.get(target, target)


def stratum_name(stratum: str) -> str:
    """Name of a stratum for people: the same words with the target's name in words."""
    for target in sorted(LABELS, key=len, reverse=True):
        if stratum.endswith(f" {target}"):
            return f"{stratum.removesuffix(target)}{LABELS[target].partition(' of ')[0]}"
    return stratum


def unit_of(target: str) -> str:
    """Unit of a target; empty for shares, and for what is none."""
    return ALL[target].unit.removeprefix("1") if target in ALL else ""


def amount(value: Any, unit: str) -> str:
    """A quantity with a fitting prefix: 2.65 mJ, 6.70 kJ; shares as they are."""
    if not known(value) or not unit or not math.isfinite(float(value)):
        return number(value, unit=unit)
    size = float(value)
    smallest = PREFIXES[-1] if size else (1.0, "")
    factor, prefix = next(((f, p) for f, p in PREFIXES if abs(size) >= f), smallest)
    return number(size / factor, unit=prefix + unit)


def chosen(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of the models that the artefact holds; all rows where nobody chose."""
    if scores["chosen"].isna().all():
        return scores
    return scores[scores["chosen"].fillna(False).astype(bool)]


def scores(inputs: ReportInputs) -> View:
    """Scores of the models in the artefact, on held-out networks, beside what noise allows."""
    notes = Notes()
    rows = []
    for _, row in chosen(inputs.scores).iterrows():
        target, why = str(row["target"]), str(row["refused"] or "")
        unit, share = unit_of(target), target.endswith("accuracy")
        spread = fixed(row["noise"], 3) if share else percent(row["noise"])
        floor = number(row["error_floor"]) if share else percent(row["error_floor"])
        texts = {
            "r2": fixed(row["r2"], 4),
            "kendall_tau": fixed(row["kendall_tau"], 3),
            "kendall_tau_ceiling": fixed(row["kendall_tau_ceiling"], 3),
            "mae": amount(row["mae"], unit),
            "mape": percent(row["mape"]),
            "error_floor": floor if known(row["error_floor"]) else "no replicates",
            "coverage": percent(row["coverage"], 1),
            "width": amount(row["width"], unit),
            "noise": spread if known(row["noise"]) else "no replicates",
        }
        optional = ("kendall_tau_ceiling", "error_floor", "noise")
        cells = [
            text if name in optional else or_refused(text, row[name], why, notes)
            for name, text in texts.items()
        ]
        rows.append(
            (
                label(target),
                _model(row),
                f"{whole(row['n'])} of {whole(row['networks'])}",
                *cells,
            )
        )
    splits = "; ".join(dict.fromkeys(inputs.scores["split"].astype(str)))
    return View(
        "scores",
        f"Models of the benchmark on networks that they had not seen ({splits}). τ ceiling and "
        "least error: what predictions without any error of their own would score, because "
        "one training is as noisy as its replicates are apart (least MAPE; of accuracies "
        "least MAE). MAE and MAPE: mean absolute and mean absolute relative error. Coverage "
        "and width: of the 90 % interval. Noise: standard deviation of replicates, relative; "
        "of accuracies absolute.",
        (
            *("target", "model", "runs of networks", "R²", "Kendall τ", "τ ceiling"),
            *("MAE", "MAPE", "least error", "coverage", "width", "noise"),
        ),
        tuple(rows),
        "" if rows else "No surrogate was fitted.",
        tuple(notes.texts),
        source="scores",
        headers=2,
    )


def families(inputs: ReportInputs) -> View:
    """All families that were compared: error, rank agreement and counted cost."""
    table = inputs.scores
    if table["chosen"].isna().all() or len(table) == len(chosen(table)):
        table = table.iloc[:0]
    # One number a run is learned beside curves: families of curves leave it as it is.
    first = table.sort_values("chosen", ascending=False, kind="stable")
    first = first[~first.duplicated(["target", "model", "curve"])]
    table = table.loc[table.index.isin(first.index)]
    rows = []
    for _, row in table.iterrows():
        target = str(row["target"])
        share = target.endswith("accuracy")
        error = number(row["mae"]) if share else percent(row["mape"], 2)
        rows.append(
            (
                label(target),
                _model(row),
                "in the benchmark" if row["chosen"] else "compared",
                fixed(row["kendall_tau"], 3),
                fixed(row["r2"], 4),
                error,
                percent(row["coverage"], 1),
                whole(row["operations"]),
            )
        )
    return View(
        "families",
        "Families of models and of curves that were compared on held-out networks. Error: MAPE, "
        "of accuracies MAE. Cost: multiply-adds and node visits of a query, counted and not "
        "timed, so that the same data choose the same family on every machine.",
        (
            *("target", "model", "chosen", "Kendall τ", "R²", "error", "coverage"),
            "cost of a query",
        ),
        tuple(rows),
        "" if rows else "No families of models were compared.",
        source="scores",
        headers=2,
    )


def coverage(inputs: ReportInputs) -> View:
    """Coverage of the intervals on networks that neither models nor intervals have seen."""
    table = inputs.coverage
    shown = table["stratum"] == "all"
    shown |= table["verdict"].astype(str).str.startswith("covers less")
    rows = []
    for _, row in table[shown].iterrows():
        error = percent(2 * row["standard_error"]) if known(row["standard_error"]) else UNKNOWN
        unit = unit_of(str(row["target"]))
        rows.append(
            (
                label(str(row["target"])),
                stratum_name(str(row["stratum"]))
                + (", left out of all fits" if row["split"] == LEFT_OUT else ""),
                whole(row["n"]),
                whole(row["networks"]),
                f"{percent(row['coverage'])} ± {error}" if known(row["coverage"]) else "refused",
                amount(row["width"], unit),
                fixed(row["width_ratio"], 2) if known(row["width_ratio"]) else "no replicates",
                str(row["verdict"]),
            )
        )
    levels = sorted({float(level) for level in inputs.coverage["level"].dropna()})
    said = " and ".join(percent(level, 0) for level in levels) or "nominal"
    splits = "; ".join(
        name for name in dict.fromkeys(table["split"].astype(str)) if name != LEFT_OUT
    )
    return View(
        "coverage",
        f"{said} intervals on networks that neither models nor intervals have seen ({splits}); "
        "at the end of the training unless the stratum says otherwise. Strata that "
        "are left out here cover what they say, or more, or are too small to tell: see the "
        "figure. ±: two standard errors, "
        "clustered by network. Width ratio: mean width, in widths that predictions without an "
        "error of their own would need for the noise of replicates alone.",
        (
            *("target", "stratum", "predictions", "networks", "coverage", "mean width"),
            *("width ratio", "verdict"),
        ),
        tuple(rows),
        "" if rows else "The coverage of the intervals was not measured.",
        source="coverage",
        headers=2,
    )


def growth(inputs: ReportInputs) -> View:
    """What more trained networks bring, in words; the figure has the points."""
    table = inputs.growth
    rows = []
    for target in dict.fromkeys(table["target"].astype(str)):
        own = table[table["target"] == target]
        measured = own[own["kind"] == "measured"]
        if measured.empty:
            continue
        most = measured[measured["networks"] == measured["networks"].max()]
        said = [str(words) for words in own["words"].dropna().unique() if str(words)]
        share = target.endswith("accuracy")
        error = number(most["mae"].mean()) if share else percent(most["mape"].mean())
        rows.append(
            (
                label(target),
                whole(most["networks"].iloc[0]),
                fixed(most["kendall_tau"].mean(), 3),
                error,
                " ".join(said) or UNKNOWN,
            )
        )
    return View(
        "growth",
        "How good the surrogate is with the networks trained so far, and what more would bring: "
        "when to stop training. Error: MAPE, of accuracies MAE, on networks kept apart from all "
        "fits.",
        ("target", "networks", "Kendall τ", "error", "what more networks bring"),
        tuple(rows),
        "" if rows else "The learning curve of the surrogate was not measured.",
        source="growth",
    )


def _model(row: pd.Series) -> str:
    curve = str(row["curve"] or "")
    return f"{row['model']}, {curve}" if curve and curve != "nan" else str(row["model"])
