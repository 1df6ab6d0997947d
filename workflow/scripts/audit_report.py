"""Rule audit_report: page, figures and traces of an audit."""

from pathlib import Path

from wattproof import clocks, report, rule, tables

with rule.logged(snakemake):
    names = ("findings", "agreement", "channels", "clocks", "windows", "energy", "reported")
    frames = {name: tables.read_frame(snakemake.input[name], name) for name in names}
    parts = zip(
        snakemake.input.samples, snakemake.input.clocks, snakemake.input.channels, strict=True
    )
    samples = []
    for path, clock, channel in parts:
        part = tables.read_frame(path, "samples")
        listed = tables.read_frame(channel, "channels")
        found = tables.read_frame(clock, "clocks")
        part["t_ns"] = clocks.to_recording_time(part, listed, found)
        samples.append(
            part[["recording", "session", "source", "channel", "value", "status", "t_ns"]]
        )
    scored = {
        name: tables.read_frame(snakemake.input[name], name)
        for name in ("budgets", "coverage")
        if snakemake.input[name]
    }
    meta = tables.merge_meta(snakemake.input.energy)
    inputs = report.AuditInputs(
        name=snakemake.params.campaign["campaign"],
        simulated=meta.simulated,
        samples=samples,
        origin=snakemake.params.origin,
        licence=snakemake.params.licence,
        provenance=report.provenance(meta, snakemake.params.config_file),
        config=snakemake.params.campaign,
        **frames,
        **scored,
    )
    report.build_audit(
        inputs,
        Path(snakemake.output.page),
        Path(snakemake.output.traces),
        Path(snakemake.output.scorecard),
        Path(snakemake.output.figures),
    )
