"""Rule budgets: scores of the published surrogates within each training length."""

from wattproof import rule, tables
from wattproof.audit.budgets import score_budgets

with rule.logged(snakemake):
    names = ("dataset", "held_out")
    rows = score_budgets(*(tables.read_frame(snakemake.input[name], name) for name in names))
    meta = tables.read_meta(snakemake.input.dataset)
    tables.write(rows, "budgets", snakemake.output[0], meta)
