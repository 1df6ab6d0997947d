"""Rule report: figures, scorecard and the page, from tables only."""

from pathlib import Path

from wattproof import agreement, clocks, offsocket, report, rule, tables
from wattproof.errors import WattproofError
from wattproof.report.published import ask

with rule.logged(snakemake) as log:
    names = ("plan", "usage", "calibration", "estimates", "dataset", "curves", "findings")
    names += ("scores", "coverage", "growth", "held_out")
    many = ("windows", "clocks", "channels", "health", "utilisation")
    frames = {n: tables.read_frame(snakemake.input[n], n) for n in (*names, *many)}
    # Phases of epochs are most of the rows, and nothing here is judged by them.
    frames["energy"] = tables.read_frame(snakemake.input.energy, "energy", where=tables.SCORED)
    both = (snakemake.input.agreement, snakemake.input.estimator_agreement)
    frames["agreement"] = tables.read_frame(both, "agreement")
    name, analysis = snakemake.params.example, snakemake.params.campaign["analysis"]
    energy = frames["energy"]
    samples = tables.read_frame(snakemake.input.example, "samples")
    own = [frames[n][frames[n]["recording"] == name] for n in ("channels", "clocks")]
    samples["t_ns"] = clocks.to_recording_time(samples, *own)
    try:
        frames["balance"] = agreement.reference_gpu(
            energy,
            offsocket.fit_sites(energy, snakemake.params.sites),
            analysis["off_socket"],
        )
    except WattproofError as error:
        log.warning("no GPU reference: %s", error)  # the page says it in words
    meta = tables.merge_meta(snakemake.input.energy)
    inputs = report.ReportInputs(
        simulated=meta.simulated,
        example={"recording": name, "samples": samples},
        published=ask(Path(snakemake.input.benchmark)),
        search=report.read_search(snakemake.input.search),
        config=snakemake.params.campaign,
        provenance=report.provenance(meta, snakemake.params.config_file),
        **frames,
    )
    figures = report.draw_all(inputs, Path(snakemake.output.figures))
    report.build(inputs, figures, Path(snakemake.output.page), Path(snakemake.output.scorecard))
    report.build_traces(inputs, Path(snakemake.output.traces))
