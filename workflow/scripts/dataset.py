"""Rule dataset: one row a run, one row an epoch."""

from wattproof import dataset, rule, tables

with rule.logged(snakemake) as log:
    inputs = {
        name: tables.read_frame(snakemake.input[name], name)
        for name in ("plan", "runs", "marks", "estimates", "shares")
    }
    for name, columns, rows in (
        ("windows", None, tables.SCORED),
        ("energy", dataset.ENERGY_COLUMNS, dataset.used()),
    ):
        inputs[name] = tables.read_frame(snakemake.input[name], name, columns, rows)
    runs, curves = dataset.build(**inputs, settings=snakemake.params.settings)
    meta = tables.merge_meta(snakemake.input.energy)
    tables.write(runs, "dataset", snakemake.output.dataset, meta)
    tables.write(curves, "curves", snakemake.output.curves, meta)
    out = int((runs["excluded"] != "").sum())
    log.info("%d runs (%d left out), %d epochs", len(runs), out, len(curves))
