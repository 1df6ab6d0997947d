"""The page of an audit: verdicts by principle, findings with their remedies, what they rest on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from wattproof import quality
from wattproof.clocks.frames import records
from wattproof.quality.flags import HOLISTIC, RELIABLE
from wattproof.report import (
    audit_evidence,
    audit_figures,
    audit_surrogate,
    audit_usage,
    audit_views,
    interactive,
    paper,
    style,
    views_findings,
)
from wattproof.report.audit_inputs import AuditInputs
from wattproof.report.grades import SPAN_MET, SPAN_PARTLY, THRESHOLDS, Evidence, Grade, Verdict
from wattproof.report.page import TEMPLATES, figure_of
from wattproof.report.text import count, known, number, percent, whole

SECTIONS = (
    ("verdicts", "Verdicts"),
    ("findings", "Findings"),
    ("inferred", "What was inferred"),
    ("agreement-section", "Agreement"),
    ("usage-section", "GPU usage"),
    ("energies", "Energies"),
    ("clocks-section", "Clocks"),
    ("benchmark-section", "Benchmark"),
    ("provenance", "Provenance"),
)


def _evidence(row: dict[str, Any]) -> Evidence:
    return Evidence(row["evidence"], None, "1", None, "findings")


def _distance(row: dict[str, Any]) -> str:
    """How far a value is from its reference; of a part and its whole the line says more."""
    same = str(row["channel"]).partition(".")[0] == str(row["reference"]).partition(".")[0]
    if same or not known(row["slope"]):
        return f"median difference {percent(row['error_median'])}"
    unit = "W" if row["quantity"] == "power" else "J"
    return (
        f"a part against its whole: {number(row['intercept'], 4, unit)} + "
        f"{number(row['slope'], 4)}·x, RMSE {number(row['rmse'], 3, unit)}"
    )


def _reliable(inputs: AuditInputs) -> Verdict:
    rows = inputs.findings[inputs.findings["principle"] == RELIABLE]
    errors, warnings = (rows[rows["severity"] == s] for s in ("error", "warning"))
    best = inputs.agreement[inputs.agreement["pearson"].notna()]
    evidence = [_evidence(r) for r in records(pd.concat([errors, warnings]).head(4))]
    for row in records(best.sort_values("n", ascending=False).head(2)):
        evidence.append(
            Evidence(
                f"{row['label']} against {row['reference']}, per {row['level']}: r = "
                f"{row['pearson']:.3f}, {_distance(row)}.",
                float(row["pearson"]),
                "1",
                int(row["n"]),
                "agreement",
            )
        )
    if len(errors):
        grade, summary = Grade.NOT_MET, f"{count(len(errors), 'error')} must be mended first."
    elif len(warnings):
        grade, summary = (
            Grade.PARTLY,
            (
                f"{count(len(warnings), 'warning')} limit{'s' if len(warnings) == 1 else ''} "
                "what it can carry."
            ),
        )
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
    power = [frame.loc[frame["kind"] != "idle", "mean_w"].dropna() for frame in (reported, windows)]
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
        per_recording=("agreement", "energy", "clocks", "reported"),
        tables={
            "findings": views_findings.findings(inputs.findings),
            "inferred": views_findings.inferred(inputs.findings),
            "agreement": audit_views.agreement(inputs),
            "usage": audit_usage.usage(inputs),
            "energies": audit_views.energies(inputs),
            "clocks": audit_views.clocks(inputs),
            "budgets": audit_surrogate.budgets(inputs),
            "coverage": audit_surrogate.coverage(inputs),
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
