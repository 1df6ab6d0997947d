"""Rule survey: the findings of the whole set."""

from wattproof import clocks, quality, rule, tables

with rule.logged(snakemake) as log:
    energy, channels = (
        tables.read_frame(snakemake.input[name], name) for name in ("energy", "channels")
    )
    files = [*snakemake.input.findings, *snakemake.input.ingested]
    known = [tables.read_frame(path, "findings") for path in files]
    if snakemake.input.reported:
        reported = tables.read_frame(snakemake.input.reported, "reported")
    else:
        reported = tables.empty("reported")

    def levels(recording):
        """Channels of one recording, read when they are asked for."""
        for path, found in zip(snakemake.input.samples, snakemake.input.clocks, strict=True):
            samples = tables.read_frame(path, "samples")
            if (samples["recording"] == recording).any():
                listed = channels[channels["recording"] == recording]
                clock = tables.read_frame(found, "clocks")
                samples["t_ns"] = clocks.to_recording_time(samples, listed, clock)
                return quality.channels_of(samples, listed)[0]
        return []

    rows = quality.survey(energy, channels, reported, known, levels)
    meta = tables.merge_meta(snakemake.input.energy)
    tables.write(rows, "findings", snakemake.output[0], meta)
    log.info("%d findings", len(rows))
