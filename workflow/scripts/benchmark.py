"""Rule benchmark: publish the queryable artefact, as a folder and as one file."""

from pathlib import Path

from wattproof import rule, tables
from wattproof.audit import results
from wattproof.benchmark import publish

with rule.logged(snakemake):
    settings = snakemake.params.settings
    publish.publish(
        dataset_path=Path(snakemake.input.dataset),
        curves_path=Path(snakemake.input.curves),
        scores_path=Path(snakemake.input.scores),
        coverage_path=Path(snakemake.input.coverage),
        growth_path=Path(snakemake.input.growth),
        surrogate_dir=Path(snakemake.input.models),
        space_name=snakemake.params.space,
        campaign=snakemake.params.campaign,
        simulated=tables.read_meta(snakemake.input.dataset).simulated,
        licence=settings["licence"],
        authors=settings["authors"],
        citation=settings["citation"],
        config=snakemake.params.config,
        notes=results.notes(snakemake.input.findings) if snakemake.input.findings else (),
        out_dir=Path(snakemake.output.folder),
        archive_path=Path(snakemake.output.archive),
    )
