"""Verdicts on the paper's three principles (paper.md, section 2), by rules over the tables.

Each rule is written beside its thresholds. The paper gives the principles and no thresholds: the
numbers are ours, and every verdict shows the evidence that it rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from wattproof.report import select
from wattproof.report.inputs import ReportInputs
from wattproof.report.text import count, fixed, known, listed, number, percent

SCHEMA_VERSION = 1

PEARSON_MET = 0.95
"""(i) An epoch-level Pearson from here on is reliable: the paper's "SMI (corrected)" has 0.95 and
is accepted by its KS test, plain SMI has 0.64 and is not."""

ERROR_MET = 0.05
"""(i) Largest |median relative error| of a reliable source; NVML states ±5 %."""

COVERED_MET = 0.9
"""(i) Share of a setting's epochs that a source must have a value for: a source that agrees only
on the epochs which it happened to sample well ("SMI (corrected)") is reliable on those alone."""

HEALTH_MET = 0.99
"""(i) Share of the expected readings that a source with deadlines must deliver."""

MIN_N = 10
"""Fewer epochs carry no verdict (paper.md, section 12: KS and correlation depend on n)."""

SPAN_MET = 0.6
"""(ii) Share of the range from idle to power limit that epochs must cover."""

SPAN_PARTLY = 0.3
"""(ii) Below it the range is narrow: the paper calls 146 to 305 W of 75 to 800 W (22 %) narrow."""

ESTIMATE_MET = 0.05
"""(iii) Largest held-out error of a run's node energy: below the paper's calibrated 6.6 %."""

ESTIMATE_PARTLY = 0.10
"""(iii) Up to here the calibration at least beats the paper's uncalibrated 10.3 %."""


class Grade(StrEnum):
    """Verdict on a principle."""

    MET = "met"
    PARTLY = "partly"
    NOT_MET = "not met"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Evidence:
    """One fact behind a verdict.

    Attributes:
        sentence: For people.
        value: The figure; None if it is not known.
        unit: Its unit; "1" for a pure number.
        n: How many windows, readings or runs it rests on; None if that has no meaning.
        table: Table that it was read from.
    """

    sentence: str
    value: float | None
    unit: str
    n: int | None
    table: str


@dataclass(frozen=True)
class Verdict:
    """Grade of one principle with its evidence."""

    principle: str
    title: str
    grade: Grade
    summary: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Scorecard:
    """Verdicts on all principles of a campaign."""

    campaign: str
    simulated: bool
    verdicts: tuple[Verdict, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what is written to scorecard.json: null is unknown, no NaN."""
        return {
            "schema_version": SCHEMA_VERSION,
            "campaign": self.campaign,
            "simulated": self.simulated,
            "thresholds": THRESHOLDS,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }


THRESHOLDS = {
    "pearson_met": PEARSON_MET,
    "error_met": ERROR_MET,
    "covered_met": COVERED_MET,
    "health_met": HEALTH_MET,
    "min_n": MIN_N,
    "span_met": SPAN_MET,
    "span_partly": SPAN_PARTLY,
    "estimate_met": ESTIMATE_MET,
    "estimate_partly": ESTIMATE_PARTLY,
}


def _value(x: Any) -> float | None:
    return float(x) if known(x) else None


# ------------------------------------------------------------ (i) reliable power measurements


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
    why = f" ({row['refused']})" * bool(row["refused"])
    if known(row["pearson"]):
        sentence = (
            f"{name}: Pearson {fixed(row['pearson'])}, median error "
            f"{percent(row['error_median'])}{ks}{ratio}{few}{why}."
        )
    else:
        sentence = (
            f"{name}: the correlation is refused{why}; median error "
            f"{percent(row['error_median'])}{ratio}{few}."
        )
    return Evidence(sentence, _value(row["pearson"]), "1", int(row["n"]), "agreement")


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
        return Verdict("i", title, Grade.CANNOT_TELL, _sentence(why), tuple(evidence))
    grade = max((s.grade for s in settings.values()), key=_severity)
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
        mattering = [n for n in names if n not in spare]
        if mattering:
            words.append(f"{text}: {listed([select.source_name(n) for n in mattering])}")
            grade = max(grade, Grade.PARTLY, key=_severity)
    if inputs.clocks.empty or delivered(inputs.health).empty:
        words.append("clocks or readings were not checked")
        grade = max(grade, Grade.PARTLY, key=_severity)
    unjudged = sorted(set(found) - set(settings))
    if unjudged:
        words.append(f"cannot be judged: setting {listed(unjudged)}")
    return Verdict("i", title, grade, _sentence("; ".join(words)), tuple(evidence))


def _epochs(inputs: ReportInputs, setting: str, rows: pd.DataFrame) -> int:
    """Epochs of a setting, by the windows; without them the largest n of its sources."""
    windows = inputs.windows
    found = int(((windows["level"] == "epoch") & (windows["setting"] == setting)).sum())
    return max(found, int(rows["n"].max()))


def _severity(grade: Grade) -> int:
    return (Grade.MET, Grade.PARTLY, Grade.NOT_MET).index(grade)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


# ----------------------------------------------------------------- (ii) wide range of GPU usage


def preferred_usage(inputs: ReportInputs) -> pd.DataFrame:
    """Usage rows of one source only: NVML if it is there, else whatever is, SMI last.

    SMI misses states of power (the paper's finding), so a span by SMI says little.
    """
    rows = inputs.usage
    order = {"nvml": 0, "smi": 2}
    sources = sorted(rows["source"].astype(str).unique(), key=lambda s: (order.get(s, 1), s))
    return rows[rows["source"] == sources[0]] if sources else rows


def wide_range(inputs: ReportInputs) -> Verdict:
    """(ii) The search space holds models that make high and models that make low use of a GPU.

    Graded by the largest span (max − min)/(limit − idle) of a device: met from `SPAN_MET` on,
    partly from `SPAN_PARTLY` on.
    """
    title = "Wide range of GPU usage"
    rows = preferred_usage(inputs)
    evidence = []
    for _, row in rows.iterrows():
        name = f"{row['device']} ({row['setting']}, {select.source_name(str(row['source']))})"
        what = (
            f"epochs from {number(row['min_w'], unit='W')} to {number(row['max_w'], unit='W')}; "
            f"idle {number(row['idle_w'], unit='W')}, limit {number(row['limit_w'], unit='W')}"
        )
        span = f"span {percent(row['span'], 0)}" if known(row["span"]) else "the span is refused"
        why = f" ({row['refused']})" * bool(row["refused"])
        sentence = f"{name}: {what}; {span}{why}."
        evidence.append(Evidence(sentence, _value(row["span"]), "1", int(row["n"]), "usage"))
        if known(row["utilisation_min"]) and known(row["utilisation_max"]):
            sentence = (
                f"{name}: utilisation from {number(row['utilisation_min'], unit='%')} to "
                f"{number(row['utilisation_max'], unit='%')}."
            )
            value = float(row["utilisation_max"] - row["utilisation_min"])
            evidence.append(Evidence(sentence, value, "%", int(row["n"]), "usage"))
    carrying = rows[(rows["n"] >= MIN_N) & rows["span"].notna()]
    if carrying.empty:
        why = (
            f"no device has a span over at least {MIN_N} epochs between a known idle power and "
            "power limit"
            if len(rows)
            else "the GPU's use was not assessed"
        )
        return Verdict("ii", title, Grade.CANNOT_TELL, _sentence(why), tuple(evidence))
    widest = float(np.max(select.floats(carrying["span"])))
    grade = (
        Grade.MET
        if widest >= SPAN_MET
        else Grade.PARTLY
        if widest >= SPAN_PARTLY
        else Grade.NOT_MET
    )
    summary = f"the trainings cover {percent(widest, 0)} of the range from idle to the power limit"
    return Verdict("ii", title, grade, _sentence(summary), tuple(evidence))


# -------------------------------------------------------------- (iii) holistic cost reporting


def _part_evidence(parts: pd.DataFrame) -> list[Evidence]:
    found = []
    node = float(parts["node_j"].sum()) if len(parts) else 0.0
    for part in select.PARTS:
        if node > 0 and parts[part].notna().all():
            share = float(parts[part].sum()) / node
            sentence = f"{part}: {percent(share, 0)} of the node's energy."
            found.append(Evidence(sentence, share, "1", len(parts), "energy"))
        else:
            sentence = f"{part}: its share of the node's energy is not known."
            if part == "DRAM" and node > 0:
                sentence = "DRAM: no counter; its energy is part of the off-socket share."
            found.append(Evidence(sentence, None, "1", None, "energy"))
    return found


def holistic(inputs: ReportInputs) -> Verdict:
    """(iii) Cost of the whole node, not of the GPU alone.

    Met: an estimator of node energy has a largest held-out error of at most `ESTIMATE_MET`, and
    the node's energy is taken apart. Partly: at most `ESTIMATE_PARTLY`, or the parts are missing.
    Not met: above. Cannot tell: no estimator was checked against a meter.
    """
    title = "Holistic cost reporting"
    evidence = []
    rows = inputs.calibration
    for _, row in rows.iterrows():
        if known(row["error_max"]):
            sentence = (
                f"{row['label']}: median error {percent(row['error_median'])}, largest "
                f"{percent(row['error_max'])} (held out: {row['held_out']})."
            )
        else:
            sentence = f"{row['label']}: {row['refused'] or 'no error against a meter is known'}."
        evidence.append(
            Evidence(sentence, _value(row["error_max"]), "1", int(row["n"]), "calibration")
        )
    parts = select.node_parts(inputs)
    evidence += _part_evidence(parts)
    scored = rows[rows["error_max"].notna() & (rows["n"] > 0)]
    if scored.empty:
        why = "no estimator of node energy was checked against a meter"
        return Verdict("iii", title, Grade.CANNOT_TELL, _sentence(why), tuple(evidence))
    best = scored.iloc[int(np.argmin(select.floats(scored["error_max"])))]
    error = float(best["error_max"])
    words = [
        f"the best estimator ({best['label']}) is within {percent(error)} of the meter on "
        f"{count(int(best['n']), 'held-out run')}"
    ]
    if error > ESTIMATE_PARTLY:
        grade = Grade.NOT_MET
    elif error > ESTIMATE_MET:
        grade = Grade.PARTLY
    else:
        grade = Grade.MET
    if parts.empty:
        words.append("the parts of the node's energy are not known")
        grade = max(grade, Grade.PARTLY, key=_severity)
    else:
        words.append("the node's energy is split into GPU, CPU, memory and the rest")
    return Verdict("iii", title, grade, _sentence("; ".join(words)), tuple(evidence))


RULES: tuple[Callable[[ReportInputs], Verdict], ...] = (reliable, wide_range, holistic)


def judge(inputs: ReportInputs) -> Scorecard:
    """Grade a campaign on the three principles."""
    return Scorecard(inputs.campaign, inputs.simulated, tuple(rule(inputs) for rule in RULES))
