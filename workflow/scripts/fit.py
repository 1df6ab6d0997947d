"""Rule fit: surrogates and their scores on held-out networks."""

from pathlib import Path

from wattproof import rule, surrogate, tables

with rule.logged(snakemake):
    found = surrogate.fit(
        tables.read_frame(snakemake.input.dataset, "dataset"),
        tables.read_frame(snakemake.input.curves, "curves"),
        snakemake.params.settings,
        Path(snakemake.output.models),
    )
    meta = tables.read_meta(snakemake.input.dataset)
    for name in ("scores", "coverage", "growth", "held_out"):
        tables.write(getattr(found, name), name, snakemake.output[name], meta)
