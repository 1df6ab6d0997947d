"""The page of an audit: verdicts by principle, findings with their remedies, what they rest on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import quality
from wattproof.clocks.frames import records
from wattproof.quality.flags import HOLISTIC, RELIABLE
from wattproof.report import (
    audit_evidence,
    audit_figures,
    interactive,
    paper,
    style,
    views_findings,
)
from wattproof.report.audit_inputs import AuditInputs
from wattproof.report.grades import SPAN_MET, SPAN_PARTLY, THRESHOLDS, Evidence, Grade, Verdict
from wattproof.report.page import TEMPLATES, figure_of
from wattproof.report.text import count, fixed, known, number, percent, whole
from wattproof.report.view import View

SHOWN_ENERGIES = 60

SECTIONS = (
    ("verdicts", "Verdicts"),
    ("findings", "Findings"),
    ("inferred", "What was inferred"),
    ("agreement-section", "Agreement"),
    ("energies", "Energies"),
    ("clocks-section", "Clocks"),
    ("provenance", "Provenance"),
)


def _evidence(row: dict[str, Any]) -> Evidence:
    return Evidence(row["evidence"], None, "1", None, "findings")


def _reliable(inputs: AuditInputs) -> Verdict:
    rows = inputs.findings[inputs.findings["principle"] == RELIABLE]
    errors, warnings = (rows[rows["severity"] == s] for s in ("error", "warning"))
    best = inputs.agreement[inputs.agreement["pearson"].notna()]
    evidence = [_evidence(r) for r in records(pd.concat([errors, warnings]).head(4))]
    for row in records(best.sort_values("n", ascending=False).head(2)):
        evidence.append(
            Evidence(
                f"{row['label']} against {row['reference']}, per {row['level']}: r = "
                f"{row['pearson']:.3f}, median difference {percent(row['error_median'])}.",
                float(row["pearson"]),
                "1",
                int(row["n"]),
                "agreement",
            )
        )
    if len(errors):
        grade, summary = Grade.NOT_MET, f"{count(len(errors), 'error')} must be mended first."
    elif len(warnings):
        grade, summary = Grade.PARTLY, f"{count(len(warnings), 'warning')} limit what it can carry."
    elif best.empty:
        grade = Grade.CANNOT_TELL
        summary = "Nothing is wrong by itself, but no second instrument confirms the figures."
    else:
        grade, summary = Grade.MET, "No error or warning, and a second instrument confirms it."
    return Verdict("i", "Reliable power measurements", grade, summary, tuple(evidence))


def _range(inputs: AuditInputs) -> Verdict:
    title = "Wide range of GPU usage"
    reported = inputs.reported[inputs.reported["channel"].str.startswith("gpu")]
    windows = inputs.energy[inputs.energy["channel"].str.match(r"gpu\d+\.power")]
    power = [frame["mean_w"].dropna() for frame in (reported, windows)]
    values = max(power, key=len)
    if len(values) < 3:
        return Verdict("ii", title, Grade.CANNOT_TELL, "No power of GPUs by run is there.", ())
    low, high = float(values.min()), float(values.max())
    limit = pd.to_numeric(reported.get("config_power_limit", pd.Series(dtype=float))).max()
    idle = reported.loc[reported["kind"] == "idle", "mean_w"].mean()
    evidence = [
        Evidence(
            f"Mean power of a run reaches from {number(low)} W to {number(high)} W.",
            high - low,
            "W",
            len(values),
            "reported" if len(reported) else "energy",
        )
    ]
    if not known(limit) or not known(idle):
        lacking = [w for w, v in (("idle power", idle), ("power limit", limit)) if not known(v)]
        return Verdict(
            "ii",
            title,
            Grade.CANNOT_TELL,
            f"The span cannot be told: {' and '.join(lacking)} not in the data.",
            tuple(evidence),
        )
    span = (high - low) / (float(limit) - float(idle))
    grade = (
        Grade.MET if span >= SPAN_MET else Grade.PARTLY if span >= SPAN_PARTLY else Grade.NOT_MET
    )
    return Verdict(
        "ii",
        title,
        grade,
        f"Runs span {percent(span, 0)} of the range from idle to limit.",
        tuple(evidence),
    )


def _holistic(inputs: AuditInputs) -> Verdict:
    title = "Holistic cost reporting"
    every = pd.concat([inputs.energy["channel"], inputs.reported["channel"]]).astype(str)
    parts = {
        "the whole node": every.str.match(r"node\.(ac|dc|total|energy|platform)").any(),
        "GPUs": every.str.startswith("gpu").any(),
        "CPUs": every.str.startswith("cpu").any(),
    }
    there = [name for name, found in parts.items() if found]
    rows = inputs.findings[
        (inputs.findings["principle"] == HOLISTIC) & (inputs.findings["severity"] != "note")
    ]
    evidence = [_evidence(r) for r in records(rows.head(4))]
    evidence.append(
        Evidence(f"Energies are of {', '.join(there) or 'nothing'}.", None, "1", None, "energy")
    )
    if not there:
        return Verdict("iii", title, Grade.CANNOT_TELL, "There are no energies.", ())
    if (rows["severity"] == "error").any():
        grade, summary = Grade.NOT_MET, "The totals hold more, or less, than what was measured."
    elif not parts["the whole node"]:
        grade, summary = Grade.NOT_MET, "Only parts of the node are reported."
    elif len(rows):
        grade, summary = Grade.PARTLY, "The whole node is reported, with reservations."
    elif parts["GPUs"] or parts["CPUs"]:
        grade, summary = Grade.MET, "The whole node and its parts are reported."
    else:
        grade, summary = Grade.PARTLY, "The whole node is reported, but none of its parts."
    return Verdict("iii", title, grade, summary, tuple(evidence))


def _agreement(inputs: AuditInputs) -> View:
    body = []
    for row in records(inputs.agreement):
        unit = "W" if row["quantity"] == "power" else "J"
        line = (
            f"{number(row['intercept'], 4, unit)} + {number(row['slope'], 4)}·x"
            if known(row["slope"])
            else "refused"
        )
        limits = (
            f"{number(row['loa_low'], 3)} … {number(row['loa_high'], 3, unit)}"
            if known(row["loa_low"])
            else "refused"
        )
        ks = (
            f"D = {fixed(row['ks_d'])}, p {'<' if row['ks_p'] < 0.001 else '='} "
            f"{max(row['ks_p'], 0.001):.3f}, {'✗' if row['ks_reject'] else '✓'}"
            if known(row["ks_d"])
            else "refused"
        )
        body.append(
            (
                row["setting"],
                row["label"],
                row["reference"],
                row["level"],
                row["quantity"],
                whole(row["n"]),
                fixed(row["pearson"], 3),
                fixed(row["spearman"], 3),
                line,
                number(row["rmse"], 3, unit),
                percent(row["error_median"]),
                percent(row["error_max"]),
                number(row["bias"], 3, unit),
                limits,
                number(row["wasserstein"], 3, unit),
                ks,
            )
        )
    return View(
        "agreement",
        "Differences are (reference − value); the line gives the reference from the value; "
        "limits of agreement hold 95 % of single differences.",
        (
            "set",
            "compared",
            "with",
            "per",
            "quantity",
            "n",
            "Pearson",
            "Spearman",
            "line",
            "RMSE",
            "median diff.",
            "largest",
            "bias",
            "limits of agreement",
            "Wasserstein",
            "KS",
        ),
        tuple(body),
        "" if body else "No two channels of these sets tell of the same thing.",
        source="agreement",
        headers=2,
    )


def _energies(inputs: AuditInputs) -> View:
    rows = inputs.energy[inputs.energy["level"] != "phase"]
    body = []
    for row in records(rows.head(SHOWN_ENERGIES)):
        parts = ", ".join(
            f"{name} {number(row[f'u_{name}_j'], 2)}"
            for name in ("meter", "sampling", "edge", "clock", "sensor")
            if known(row.get(f"u_{name}_j")) and row[f"u_{name}_j"] > 0
        )
        body.append(
            (
                row["recording"],
                str(row["run_id"] or row["kind"]),
                f"{row['channel']} ({row['source']})",
                number(row["duration_s"], 4, "s"),
                number(row["energy_j"], 6, "J"),
                number(row["energy_u_j"], 2, "J"),
                parts or "not known",
                number(row["mean_w"], 5, "W"),
                percent(row["coverage"], 0),
                row["method"],
                ", ".join(row["flags"]) or "none",
            )
        )
    more = len(rows) - len(body)
    return View(
        "energy",
        "Energies inside the windows, with the standard uncertainty and its parts."
        + (f" {more} more are in the table." if more > 0 else ""),
        (
            "recording",
            "run",
            "channel",
            "duration",
            "energy",
            "u",
            "parts of u (J)",
            "mean power",
            "covered",
            "method",
            "flags",
        ),
        tuple(body),
        "" if body else "There are no windows with readings.",
        source="energy",
        headers=3,
    )


def _clocks(inputs: AuditInputs) -> View:
    body = []
    for row in records(inputs.clocks):
        accepted = bool(row["accepted"])
        offset = float(row["offset_ns"]) / 1e9 if accepted and known(row["offset_ns"]) else np.nan
        residual = float(row["residual_ns"]) / 1e6 if known(row["residual_ns"]) else np.nan
        body.append(
            (
                row["recording"],
                row["source"],
                row["method"].replace("_", " "),
                "yes" if accepted else "refused",
                f"{offset:+.3f} s" if accepted else "not known",
                number(row["drift_ppm"], 2, "ppm"),
                number(residual, 2, "ms"),
                fixed(row["confidence"]),
                row["reason"],
            )
        )
    return View(
        "clocks",
        "Clock of each source against the recording's: recording = stamp + offset.",
        ("recording", "source", "by", "proven", "offset", "drift", "residual", "confidence", "why"),
        tuple(body[:SHOWN_ENERGIES]),
        "" if body else "There are no time series, so no clocks.",
        source="clocks",
        headers=2,
    )


def _facts(inputs: AuditInputs) -> list[tuple[str, str]]:
    counts = inputs.findings["severity"].value_counts()
    recordings = set(inputs.channels["recording"]) | set(inputs.reported["recording"])
    return [
        ("recordings", str(len(recordings))),
        ("readings", whole(sum(len(frame) for frame in inputs.samples))),
        ("rows of figures", whole(len(inputs.reported.drop_duplicates(["recording", "row"])))),
        ("windows", whole(len(inputs.windows))),
        *[(f"{name}s", str(counts.get(name, 0))) for name in quality.SEVERITIES],
        ("origin", inputs.origin or "not stated"),
        ("licence", inputs.licence or "not stated"),
    ]


def build_audit(
    inputs: AuditInputs, page: Path, traces: Path, scorecard: Path, figures: Path
) -> tuple[Verdict, ...]:
    """Draw the figures, write the page, the traces and the verdicts.

    Args:
        inputs: The audit's tables.
        page: report.html, one file that needs no other.
        traces: traces.html, with zoom.
        scorecard: Verdicts and counts as JSON.
        figures: Folder for PNG and SVG.

    Returns:
        The verdicts on the three principles.
    """
    import jinja2

    verdicts = (_reliable(inputs), _range(inputs), _holistic(inputs))
    with style.look():
        drawn = {
            name: figure_of(style.save(draw(inputs), name, title, figures, inputs.simulated))
            for name, title, draw in audit_figures.FIGURES
        }
        seen = [
            (
                figure_of(style.save(drawing, f"finding-{flag}", title, figures, inputs.simulated)),
                remedy,
            )
            for flag, title, remedy, drawing in audit_evidence.draw_findings(inputs)
        ]
    css = (TEMPLATES / "style.css").read_text("utf-8")
    interactive.write(
        traces,
        inputs.name,
        inputs.simulated,
        inputs.samples,
        inputs.channels,
        inputs.windows,
        css,
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    text = environment.get_template("audit.html.j2").render(
        simulated=inputs.simulated,
        campaign=inputs.name,
        root=inputs.root,
        citation=paper.CITATION,
        css=jinja2.utils.markupsafe.Markup(css),
        sections=SECTIONS,
        facts=_facts(inputs),
        verdicts=verdicts,
        thresholds=THRESHOLDS,
        per_recording=("agreement", "energy", "clocks"),
        tables={
            "findings": views_findings.findings(inputs.findings),
            "inferred": views_findings.inferred(inputs.findings),
            "agreement": _agreement(inputs),
            "energies": _energies(inputs),
            "clocks": _clocks(inputs),
        },
        figures=drawn,
        seen=seen,
        provenance=inputs.provenance,
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    counts = inputs.findings["severity"].value_counts()
    document = {
        "audit": inputs.name,
        "simulated": inputs.simulated,
        "findings": {name: int(counts.get(name, 0)) for name in quality.SEVERITIES},
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }
    scorecard.write_text(
        json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    return verdicts
