"""Rule benchmark: publish the queryable artefact."""

from pathlib import Path

from wattproof import rule, tables
from wattproof.benchmark import publish

with rule.logged(snakemake):
    publish.publish(
        dataset_path=Path(snakemake.input.dataset),
        curves_path=Path(snakemake.input.curves),
        scores_path=Path(snakemake.input.scores),
        surrogate_dir=Path(snakemake.input.models),
        space_name=snakemake.params.space,
        campaign=snakemake.params.campaign,
        simulated=tables.read_meta(snakemake.input.dataset).simulated,
        licence=snakemake.params.licence,
        out_dir=Path(snakemake.output[0]),
    )
