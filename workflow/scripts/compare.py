"""Rule compare: agreement of the channels of one foreign set."""

from wattproof import agreement, clocks, rule, tables

with rule.logged(snakemake) as log:
    samples, channels, found, energy, reported = (
        tables.read_frame(snakemake.input[name], name)
        for name in ("samples", "channels", "clocks", "energy", "reported")
    )
    samples["t_ns"] = clocks.to_recording_time(samples, channels, found)
    rows = agreement.pairs(
        snakemake.wildcards.recording,
        energy,
        reported,
        samples,
        channels,
        snakemake.params.reference,
        snakemake.params.alpha,
    )
    meta = tables.read_meta(snakemake.input.samples)
    tables.write(rows, "agreement", snakemake.output[0], meta)
    log.info("%d comparisons", len(rows))
