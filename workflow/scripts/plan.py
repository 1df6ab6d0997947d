"""Rule plan: write the runs that the campaign trains."""

from wattproof import plan, rule, tables

with rule.logged(snakemake) as log:
    rows = plan.make_plan(snakemake.params.config)
    meta = rule.meta(snakemake.params.campaign, snakemake.params.simulated)
    tables.write([row.as_row() for row in rows], "plan", snakemake.output[0], meta)
    log.info("%d runs in %d recordings", len(rows), len(plan.by_recording(rows)))
