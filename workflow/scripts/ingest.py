"""Rule ingest: foreign logs to tables, and published energies against recomputed ones."""

from pathlib import Path

from wattproof import ingest, rule, tables
from wattproof.ingest import published

with rule.logged(snakemake) as log:
    root = Path(snakemake.input.folder)
    data = ingest.read("mlperf_training", root)
    meta = rule.meta(snakemake.params.campaign, **data.about())
    for name, table in data.tables().items():
        tables.write(table, name, snakemake.output[name], meta)
    compared = published.compare(root)
    tables.write(compared, "published", snakemake.output.published, meta)
    for line in (*data.notes, *compared.attrs["refused"]):
        log.warning("%s", line)
    log.info("%d runs, %d readings", data.runs.num_rows, data.samples.num_rows)
