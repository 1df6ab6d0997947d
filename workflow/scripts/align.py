"""Rule align: offset and drift of each source's clock against the recording's."""

from wattproof import clocks, rule, tables

with rule.logged(snakemake) as log:
    found = clocks.align(
        tables.read_frame(snakemake.input.samples, "samples"),
        tables.read_frame(snakemake.input.channels, "channels"),
        tables.read_frame(snakemake.input.marks, "marks"),
        snakemake.params.settings,
        tables.read_frame(snakemake.input.exchanges, "exchanges")
        if snakemake.input.exchanges
        else None,
    )
    tables.write(found, "clocks", snakemake.output[0], tables.read_meta(snakemake.input.samples))
    for row in found[~found["accepted"].astype(bool)].itertuples():
        log.warning("clock of %s in session %d refused: %s", row.source, row.session, row.reason)
