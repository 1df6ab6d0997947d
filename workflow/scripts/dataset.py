"""Rule dataset: one row a run, one row an epoch."""

from wattproof import dataset, rule, tables

with rule.logged(snakemake) as log:
    inputs = {
        name: tables.read_frame(snakemake.input[name], name)
        for name in ("plan", "runs", "marks", "estimates", "shares")
    }
    for name, columns in (("windows", None), ("energy", dataset.ENERGY_COLUMNS)):
        inputs[name] = tables.read_frame(snakemake.input[name], name, columns, tables.SCORED)
    runs, curves = dataset.build(**inputs, settings={})
    meta = tables.merge_meta(snakemake.input.energy)
    tables.write(runs, "dataset", snakemake.output.dataset, meta)
    tables.write(curves, "curves", snakemake.output.curves, meta)
    log.info("%d runs, %d epochs", len(runs), len(curves))
