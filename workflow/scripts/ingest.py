"""Rule ingest: the logs of one set of a manifest to tables."""

from wattproof import ingest, rule, tables

with rule.logged(snakemake) as log:
    name = snakemake.wildcards.recording
    data = ingest.load_set(ingest.read_manifest(snakemake.params.manifest), name)
    meta = rule.meta(snakemake.params.campaign, **data.about())
    for table_name, table in data.tables().items():
        tables.write(table, table_name, snakemake.output[table_name], meta)
    for row in data.findings.to_pylist():
        log.warning("%s: %s", row["flag"], row["evidence"])
    log.info("%d readings, %d rows of figures", data.samples.num_rows, data.reported.num_rows)
