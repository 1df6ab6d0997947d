"""Fit and publish a synthetic campaign."""

from pathlib import Path

import surrogate_campaign as synthetic

from wattproof import surrogate, tables
from wattproof.benchmark import publish


def make_artefact(campaign: synthetic.Campaign, folder: Path, **settings: object) -> Path:
    """Fit and publish a campaign; returns the benchmark's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = surrogate.fit(
        campaign.dataset, campaign.curves, synthetic.SETTINGS | settings, folder / "surrogate"
    )
    for name, frame in (
        ("dataset", campaign.dataset),
        ("curves", campaign.curves),
        ("scores", found.scores),
        ("coverage", found.coverage),
        ("growth", found.growth),
    ):
        tables.write(frame, name, folder / f"{name}.parquet", synthetic.META)
    publish_again(folder, folder / "benchmark")
    return folder / "benchmark"


def publish_again(folder: Path, out: Path, **changes: object) -> None:
    arguments = {
        "dataset_path": folder / "dataset.parquet",
        "curves_path": folder / "curves.parquet",
        "scores_path": folder / "scores.parquet",
        "coverage_path": folder / "coverage.parquet",
        "growth_path": folder / "growth.parquet",
        "surrogate_dir": folder / "surrogate",
        "space_name": "regnet_demo",
        "campaign": "synthetic",
        "simulated": True,
        "licence": "CC-BY-4.0",
        "out_dir": out,
        "archive_path": out.with_name(f"{out.name}.wattproof.zip"),
    }
    publish.publish(**(arguments | changes))
