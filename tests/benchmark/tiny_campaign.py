"""A small campaign of the virtual node, made at once, and its benchmark: for kind ``live``."""

from pathlib import Path
from typing import Any

from published_artefact import publish_again
from surrogate_campaign import SETTINGS

from wattproof import config as configs
from wattproof import plan, space, surrogate, tables
from wattproof.benchmark import snapshot, train

ROOT = Path(__file__).resolve().parents[2]
RUNS = 24

CAMPAIGN: dict[str, Any] = {
    "campaign": "tiny",
    "space": "regnet_demo",
    "node": {"kind": "virtual", "mode": "offline", "seed": 3},
    "training": {"train_images": 256, "inference": {"seconds": 2, "latency_seconds": 1}},
    "calibration": {"idle_s": 3},
    "sources": {
        "nvml": {"period_s": 0.1, "ring": False},
        "meter": {"driver": "lmg450", "port": "auto", "cycle_s": 0.1, "range_v": 250, "range_a": 2},
    },
}


def complete(**changes: Any) -> dict[str, Any]:
    schema = configs.load_schema(ROOT / "config" / "schema" / "campaign.schema.json")
    return configs.validate(CAMPAIGN | changes, schema, "tiny.yaml")


def make(folder: Path) -> Path:
    """Train, fit and publish; returns the archive."""
    config = complete()
    chosen = space.get("regnet_demo").sample(RUNS, 1)
    rows = plan.rows_of(config, "single-000", chosen, 0)
    dataset, curves, _ = train.measure(config, rows, folder / "raw", lambda line: None)
    found = surrogate.fit(dataset, curves, SETTINGS, folder / "surrogate")
    meta = tables.Meta("tiny", simulated=True, host="SIMULATED laptop node")
    products = {
        "dataset": dataset,
        "curves": curves,
        **{name: getattr(found, name) for name in ("scores", "coverage", "growth")},
    }
    for name, frame in products.items():
        tables.write(frame, name, folder / f"{name}.parquet", meta)
    publish_again(folder, folder / "benchmark", campaign="tiny", config=snapshot.take(config))
    return folder / "benchmark.wattproof.zip"
