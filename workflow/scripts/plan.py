"""Rule plan: write the runs that the campaign trains."""

from wattproof import plan, rule, tables

with rule.logged(snakemake) as log:
    rows = plan.make_plan(snakemake.params.config)
    # What the plan was made from travels with it: `wattproof merge` compares the sites' plans.
    made_from = {"config": snakemake.params.config, "version": plan.TRAINING_VERSION}
    meta = rule.meta(snakemake.params.campaign, snakemake.params.simulated, extra=made_from)
    tables.write([row.as_row() for row in rows], "plan", snakemake.output[0], meta)
    log.info("%d runs in %d recordings", len(rows), len(plan.by_recording(rows)))
