"""Verdict (i): reliable power measurements, per epoch as well as per training."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from wattproof.report import select
from wattproof.report.grades import (
    COVERED_MET,
    ERROR_MET,
    HEALTH_MET,
    MIN_N,
    PEARSON_MET,
    Evidence,
    Grade,
    Verdict,
    sentence_of,
    severity,
    value_of,
)
from wattproof.report.inputs import ReportInputs
from wattproof.report.text import fixed, known, listed, percent


def gpu_agreement(inputs: ReportInputs, level: str) -> pd.DataFrame:
    """Rows of GPU sources (not of node estimators) at a level; power where there is power.

    Power is judged rather than energy: energies of epochs of different length correlate well
    whatever the power is.
    """
    rows = inputs.agreement
    rows = rows[(rows["level"] == level) & ~rows["source"].isin(select.estimator_names(inputs))]
    power = rows[rows["quantity"] == "power"]
    return power if len(power) else rows


def _passes(row: pd.Series) -> tuple[bool, bool] | None:
    """Whether correlation and error pass; None if the data cannot carry a verdict."""
    if row["n"] < MIN_N or not known(row["pearson"]) or not known(row["error_median"]):
        return None
    return bool(row["pearson"] >= PEARSON_MET), bool(abs(row["error_median"]) <= ERROR_MET)


def _source_evidence(row: pd.Series) -> Evidence:
    name = f"{row['label']} ({row['setting']}, per {row['level']})"
    few = f"; {percent(row['few_samples'], 0)} of windows with few samples" * (
        known(row["few_samples"]) and row["few_samples"] > 0
    )
    ratio = f"; sample ratio {fixed(row['sample_ratio'])}" * known(row["sample_ratio"])
    ks = f"; KS D {fixed(row['ks_d'])}" * known(row["ks_d"])
    why = f" ({str(row['refused']).rstrip('.')})" * bool(row["refused"])
    if known(row["pearson"]):
        sentence = (
            f"{name}: Pearson {fixed(row['pearson'])}, median error "
            f"{percent(row['error_median'])}{ks}{ratio}{few}{why}."
        )
    elif row["n"] == 0:
        sentence = f"{name}: not compared{why}{ratio}{few}."
    else:
        sentence = (
            f"{name}: the correlation is refused{why}; median error "
            f"{percent(row['error_median'])}{ratio}{few}."
        )
    return Evidence(sentence, value_of(row["pearson"]), "1", int(row["n"]), "agreement")


@dataclass(frozen=True)
class _Setting:
    """How a setting's best GPU source did."""

    grade: Grade
    best: pd.Series
    text: str


def _judge_setting(rows: pd.DataFrame, epochs: int) -> _Setting | None:
    """Grade the best source of one setting; None if none can be judged.

    Args:
        rows: Its rows of table ``agreement``, per epoch.
        epochs: Epochs that the setting has.
    """
    judged = [
        (*verdict, bool(row["n"] >= COVERED_MET * epochs), row)
        for _, row in rows.iterrows()
        if (verdict := _passes(row)) is not None
    ]
    if not judged:
        return None
    # Best: correlation, then error, then coverage passed; among equals the smallest error.
    pearson, error, covered, best = max(
        judged, key=lambda j: (*j[:3], -abs(j[3]["error_median"]), j[3]["pearson"])
    )
    name = f"{best['label']} ({best['setting']})"
    if not pearson:
        text = f"no source of setting {best['setting']} follows the reference per epoch"
        return _Setting(Grade.NOT_MET, best, text)
    if not error:
        text = f"{name} follows the reference per epoch, but with a bias"
        return _Setting(Grade.PARTLY, best, text)
    if not covered:
        text = f"{name} is reliable per epoch, but only on {best['n']} of {epochs} epochs"
        return _Setting(Grade.PARTLY, best, text)
    return _Setting(Grade.MET, best, f"{name} is reliable per epoch")


def _clock_evidence(clocks: pd.DataFrame) -> tuple[Evidence, list[str]]:
    bad = clocks[~clocks["accepted"].astype(bool)]
    refused = sorted(bad["source"].astype(str).unique())
    if clocks.empty:
        return Evidence("No clock was checked.", None, "1", 0, "clocks"), []
    share = 1.0 - len(bad) / len(clocks)
    said = f"refused: {listed(refused)}" if refused else "all of them"
    sentence = f"Clocks accepted: {percent(share, 0)} of {len(clocks)} ({said})."
    return Evidence(sentence, share, "1", len(clocks), "clocks"), refused


def delivered(health: pd.DataFrame) -> pd.DataFrame:
    """Good readings over expected ones by source, for sources with a known expectation."""
    rows = health[health["expected"].notna()].copy()
    rows["good"] = rows["taken"] - rows["failed"]
    sums = rows.groupby("source")[["expected", "good"]].sum().astype("float64")
    sums["share"] = sums["good"] / sums["expected"].where(sums["expected"] > 0)
    return sums.dropna(subset=["share"])


def _health_evidence(health: pd.DataFrame) -> tuple[list[Evidence], list[str]]:
    shares = delivered(health)
    if shares.empty:
        sentence = "How many of the expected readings were delivered is not known."
        return [Evidence(sentence, None, "1", None, "health")], []
    found = [
        Evidence(
            f"{select.source_name(str(source))} delivered {percent(row['share'], 2)} of the "
            "readings expected.",
            float(row["share"]),
            "1",
            int(row["expected"]),
            "health",
        )
        for source, row in shares.iterrows()
    ]
    return found, [str(s) for s in shares.index[shares["share"] < HEALTH_MET]]


def reliable(inputs: ReportInputs) -> Verdict:
    """(i) Reliable power measurements, per epoch as well as per run.

    Met: in every setting that can be judged, the best GPU source passes `PEARSON_MET`,
    `ERROR_MET` and `COVERED_MET` per epoch, and the clocks and health of the sources that this
    rests on are in order. Partly: the best source correlates but is biased or leaves epochs out,
    or clocks or health are not in order.
    Not met: in some setting no source correlates. Other GPU sources that fail are named but do
    not lower the grade: recording a bad instrument beside a good one is no fault.
    """
    epoch = gpu_agreement(inputs, "epoch")
    both = pd.concat([epoch, gpu_agreement(inputs, "run")])
    evidence = [_source_evidence(row) for _, row in both.iterrows()]
    clock, refused = _clock_evidence(inputs.clocks)
    health, unhealthy = _health_evidence(inputs.health)
    evidence += [clock, *health]
    title = "Reliable power measurements"
    found = {
        str(setting): _judge_setting(rows, _epochs(inputs, str(setting), rows))
        for setting, rows in epoch.groupby("setting", sort=True)
    }
    settings = {setting: result for setting, result in found.items() if result is not None}
    if not settings:
        why = (
            "no GPU source has enough epochs beside the reference for a correlation and an error"
            if len(epoch)
            else "no GPU source was compared with a reference per epoch"
        )
        if refused:
            why += f"; clock refused: {listed([select.source_name(n) for n in refused])}"
        return Verdict("i", title, Grade.CANNOT_TELL, sentence_of(why), tuple(evidence))
    grade = max((s.grade for s in settings.values()), key=severity)
    words = [s.text for s in settings.values()]
    best = {str(s.best["source"]) for s in settings.values()}
    failing = sorted(
        {
            f"{row['label']} ({row['setting']})"
            for _, row in epoch.iterrows()
            if (verdict := _passes(row)) is not None and not all(verdict)
        }
    )
    if failing:
        words.append(f"not reliable per epoch: {listed(failing)}")
    spare = set(epoch["source"].astype(str)) - best
    for names, text in ((refused, "clock refused"), (unhealthy, "too few readings")):
        # Of lanes (``nvml@ring``), the source counts.
        mattering = [n for n in names if n.partition("@")[0] not in spare]
        if mattering:
            words.append(f"{text}: {listed([select.source_name(n) for n in mattering])}")
            grade = max(grade, Grade.PARTLY, key=severity)
    if inputs.clocks.empty or delivered(inputs.health).empty:
        words.append("clocks or readings were not checked")
        grade = max(grade, Grade.PARTLY, key=severity)
    unjudged = sorted(set(found) - set(settings))
    if unjudged:
        words.append(f"cannot be judged: setting {listed(unjudged)}")
    return Verdict("i", title, grade, sentence_of("; ".join(words)), tuple(evidence))


def _epochs(inputs: ReportInputs, setting: str, rows: pd.DataFrame) -> int:
    """Epochs of a setting, by the windows; without them the largest n of its sources."""
    windows = inputs.windows
    found = int(((windows["level"] == "epoch") & (windows["setting"] == setting)).sum())
    return max(found, int(rows["n"].max()))
