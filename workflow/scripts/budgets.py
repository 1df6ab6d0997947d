"""Rule budgets: scores of the published surrogates within each training length."""

from pathlib import Path

from wattproof import rule, tables
from wattproof.audit.budgets import score_budgets

with rule.logged(snakemake):
    rows = score_budgets(
        tables.read_frame(snakemake.input.dataset, "dataset"),
        tables.read_frame(snakemake.input.curves, "curves"),
        Path(snakemake.input.models),
        snakemake.params.settings,
    )
    meta = tables.read_meta(snakemake.input.dataset)
    tables.write(rows, "budgets", snakemake.output[0], meta)
