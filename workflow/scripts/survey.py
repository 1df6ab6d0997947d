"""Rule survey: the findings of the whole set."""

from functools import cache

from wattproof import clocks, quality, rule, tables

with rule.logged(snakemake) as log:
    energy = tables.read_frame(snakemake.input.energy, "energy", where=tables.SCORED)
    channels = tables.read_frame(snakemake.input.channels, "channels")
    files = [*snakemake.input.findings, *snakemake.input.ingested]
    known = [tables.read_frame(path, "findings") for path in files]
    if snakemake.input.reported:
        reported = tables.read_frame(snakemake.input.reported, "reported")
    else:
        reported = tables.empty("reported")

    @cache
    def files_of():
        """Samples and clocks by recording; found once, since a set can have hundreds of files."""
        found = {}
        for path, clock in zip(snakemake.input.samples, snakemake.input.clocks, strict=True):
            for name in tables.read(path, "samples", ["recording"])["recording"].unique():
                found[name.as_py()] = path, clock
        return found

    def levels(recording):
        """Channels of one recording, read when they are asked for."""
        if recording not in files_of():
            return []
        path, clock = files_of()[recording]
        samples = tables.read_frame(path, "samples")
        listed = channels[channels["recording"] == recording]
        found = tables.read_frame(clock, "clocks")
        samples["t_ns"] = clocks.to_recording_time(samples, listed, found)
        return quality.channels_of(samples, listed)[0]

    rows = quality.survey(energy, channels, reported, known, levels)
    meta = tables.merge_meta(snakemake.input.energy)
    tables.write(rows, "findings", snakemake.output[0], meta)
    log.info("%d findings", len(rows))
