"""The report as one self-contained HTML page: no script, no external resource."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError
from wattproof.report import (
    paper,
    peers,
    twin,
    views,
    views_agreement,
    views_findings,
    views_surrogate,
)
from wattproof.report.figures import FIGURES
from wattproof.report.grades import THRESHOLDS
from wattproof.report.inputs import ReportInputs
from wattproof.report.scorecard import Scorecard, preferred_usage
from wattproof.report.select import source_name
from wattproof.report.style import FigureInfo
from wattproof.report.text import listed

TEMPLATES = Path(__file__).parent / "templates"

SECTIONS = (
    ("verdicts", "Verdicts"),
    ("reliable", "Reliable power"),
    ("wide", "Range of usage"),
    ("holistic", "Holistic cost"),
    ("paper", "Beside the paper"),
    ("benchmark", "Benchmark"),
    ("instruments", "Instruments and clocks"),
    ("flags-section", "Quality flags"),
    ("provenance", "Provenance"),
)

PER_RECORDING = ("health", "clocks", "energy")
"""Tables that exist once a recording, not once a campaign (docs/architecture.md)."""

_LOAD_REFERENCE = (
    "GPU sources are compared with the node balance: meter − CPU − DRAM − other GPUs − off-socket "
    "power, matched to the load. The off-socket model is fitted with NVML's own readings of the "
    "calibration loads, so a constant gain error of NVML does not show here; noise, missing "
    "samples, wrong windows and non-linearity do. Estimators are compared with the meter itself."
)
_IDLE_REFERENCE = (
    "GPU sources are compared with the node balance: meter − CPU − DRAM − other GPUs − off-socket "
    "power at idle. Off-socket power grows under load, so the balance is somewhat too high for "
    "the GPU. Estimators are compared with the meter itself."
)


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG in pixels, from its header."""
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def figure_of(info: FigureInfo) -> dict[str, Any]:
    """A drawn figure as the templates take it."""
    try:
        png = info.png.read_bytes()
    except FileNotFoundError as error:
        raise WattproofError(
            f"Figure {info.png} does not exist: draw the figures first."
        ) from error
    width, height = png_size(png)
    return {
        "name": info.name,
        "title": info.title,
        "caption": info.caption,
        "missing": info.missing,
        "alt": f"{info.title}. {info.caption}",
        "uri": "data:image/png;base64," + base64.b64encode(png).decode("ascii"),
        "width": width // 2,
        "height": height // 2,
    }


def _facts(inputs: ReportInputs) -> list[tuple[str, str]]:
    plan = inputs.plan[inputs.plan["setting"] != "calibration"]
    done = inputs.dataset
    good = int((done["status"] == "ok").sum())
    epochs = inputs.windows[
        (inputs.windows["level"] == "epoch") & (inputs.windows["setting"] != "calibration")
    ]
    sources = sorted(inputs.channels["source"].astype(str).unique())
    host = inputs.provenance.get("host")
    return [
        ("trainings planned", str(len(plan))),
        ("finished", str(good)),
        ("failed", str(len(done) - good)),
        ("networks", str(done["network_key"].nunique())),
        ("recordings", str(inputs.windows["recording"].nunique())),
        ("epochs", str(len(epochs))),
        ("instruments", listed([source_name(s) for s in sources]) or "none"),
        ("host", str(host) if host else "not known"),
    ]


def _snippet(inputs: ReportInputs) -> str:
    return (
        "import wattproof\n\n"
        f'bench = wattproof.load("{inputs.root}/benchmark")\n'
        "config = bench.sample(seed=0)\n"
        "result = bench.query(config)   # value and interval of accuracy, energy_j, time_s, power_w"
    )


def _yaml(config: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else ""


def render(inputs: ReportInputs, figures: Sequence[FigureInfo], scorecard: Scorecard) -> str:
    """Return the page as HTML.

    Args:
        inputs: The campaign's tables.
        figures: From `wattproof.report.figures.draw_all`; every figure has to be there.
        scorecard: From `wattproof.report.scorecard.judge`.

    Raises:
        WattproofError: If a figure is missing.
    """
    import jinja2

    drawn = {info.name: figure_of(info) for info in figures}
    missing = [name for name, _, _ in FIGURES if name not in drawn]
    if missing:
        raise WattproofError(f"The page lacks the figure(s) {', '.join(missing)}: draw them first.")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    variant = inputs.config.get("analysis", {}).get("off_socket", "load")
    return environment.get_template("report.html.j2").render(
        simulated=inputs.simulated,
        campaign=inputs.campaign,
        root=inputs.root,
        citation=paper.CITATION,
        # Our own file, without anything from the data: it must not be escaped inside <style>.
        css=jinja2.utils.markupsafe.Markup((TEMPLATES / "style.css").read_text("utf-8")),
        sections=SECTIONS,
        facts=_facts(inputs),
        verdicts=scorecard.verdicts,
        thresholds=THRESHOLDS,
        reference_note=_IDLE_REFERENCE if variant == "idle" else _LOAD_REFERENCE,
        per_recording=PER_RECORDING,
        tables={
            "agreement_power": views_agreement.agreement(inputs, "power"),
            "agreement_energy": views_agreement.agreement(inputs, "energy"),
            "usage": views.usage(inputs),
            "calibration": views.calibration(inputs),
            "paper_table": views_agreement.paper_table(inputs),
            "paper_figures": views_agreement.paper_figures(inputs, preferred_usage(inputs)),
            "paper_differences": twin.view(inputs, preferred_usage(inputs)),
            "scores": views_surrogate.scores(inputs),
            "families": views_surrogate.families(inputs),
            "coverage": views_surrogate.coverage(inputs),
            "growth": views_surrogate.growth(inputs),
            "peers": peers.view(inputs),
            "health": views.health(inputs),
            "clocks": views.clocks(inputs),
            "flags": views.flags(inputs),
            "findings": views_findings.findings(inputs.findings),
        },
        figures=drawn,
        search_sentences=inputs.search.sentences,
        search_figures=[figure_of(info) for info in inputs.search.figures],
        has_dataset=len(inputs.dataset) > 0,
        snippet=_snippet(inputs),
        provenance=inputs.provenance,
        config_yaml=_yaml(inputs.config),
    )
