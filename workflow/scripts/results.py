"""Rule results: rows of others' figures as a data set."""

from wattproof import rule, tables
from wattproof.audit import results

with rule.logged(snakemake) as log:
    reported = tables.read_frame(snakemake.input[0], "reported")
    runs, curves = results.build(reported, snakemake.params.asked, snakemake.params.settings)
    meta = tables.read_meta(snakemake.input[0])
    tables.write(runs, "dataset", snakemake.output.dataset, meta)
    tables.write(curves, "curves", snakemake.output.curves, meta)
    log.info("%d trainings of %d networks", len(runs), runs["network_key"].nunique())
