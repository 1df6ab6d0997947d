"""Verdicts on the paper's three principles (paper.md, section 2), by rules over the tables.

Each rule is written beside its thresholds (`grades`), and every verdict shows the evidence that it
rests on. Rule (i) stands in `reliable`, rules (ii) and (iii) here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from wattproof.report import select
from wattproof.report.grades import (
    ESTIMATE_MET,
    ESTIMATE_PARTLY,
    MIN_N,
    SPAN_MET,
    SPAN_PARTLY,
    THRESHOLDS,
    Evidence,
    Grade,
    Verdict,
    sentence_of,
    severity,
    value_of,
)
from wattproof.report.inputs import ReportInputs
from wattproof.report.reliable import reliable
from wattproof.report.text import count, known, number, percent

SCHEMA_VERSION = 1


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
        why = f" ({str(row['refused']).rstrip('.')})" * bool(row["refused"])
        sentence = f"{name}: {what}; {span}{why}."
        evidence.append(Evidence(sentence, value_of(row["span"]), "1", int(row["n"]), "usage"))
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
        return Verdict("ii", title, Grade.CANNOT_TELL, sentence_of(why), tuple(evidence))
    widest = float(np.max(select.floats(carrying["span"])))
    grade = (
        Grade.MET
        if widest >= SPAN_MET
        else Grade.PARTLY
        if widest >= SPAN_PARTLY
        else Grade.NOT_MET
    )
    summary = f"the trainings cover {percent(widest, 0)} of the range from idle to the power limit"
    return Verdict("ii", title, grade, sentence_of(summary), tuple(evidence))


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
    # Gains of single boards are in the table, too: they estimate no node.
    rows = inputs.calibration[inputs.calibration["device"] == "node"]
    for _, row in rows.iterrows():
        if known(row["error_max"]):
            sentence = (
                f"{row['label']}: median error {percent(row['error_median'])}, largest "
                f"{percent(row['error_max'])} (held out: {row['held_out']})."
            )
        else:
            why = str(row["refused"]).rstrip(".") or "no error against a meter is known"
            sentence = f"{row['label']}: {why}."
        evidence.append(
            Evidence(sentence, value_of(row["error_max"]), "1", int(row["n"]), "calibration")
        )
    parts = select.node_parts(inputs)
    evidence += _part_evidence(parts)
    scored = rows[rows["error_max"].notna() & (rows["n"] > 0)]
    if scored.empty:
        why = "no estimator of node energy was checked against a meter"
        return Verdict("iii", title, Grade.CANNOT_TELL, sentence_of(why), tuple(evidence))
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
        grade = max(grade, Grade.PARTLY, key=severity)
    else:
        words.append("the node's energy is split into GPU, CPU, memory and the rest")
    return Verdict("iii", title, grade, sentence_of("; ".join(words)), tuple(evidence))


RULES: tuple[Callable[[ReportInputs], Verdict], ...] = (reliable, wide_range, holistic)


def judge(inputs: ReportInputs) -> Scorecard:
    """Grade a campaign on the three principles."""
    return Scorecard(inputs.campaign, inputs.simulated, tuple(rule(inputs) for rule in RULES))
