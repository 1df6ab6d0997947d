"""A recording of the virtual node with four boards whose packed runs are short loads.

Real processes throughout; a load stands for a training, which would be the same process with torch
in it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wattproof import config, plan
from wattproof.session import Paths, record

SCHEMA = json.loads(
    (Path(__file__).resolve().parents[2] / "config/schema/campaign.schema.json").read_text()
)
RAW: dict[str, Any] = {
    "campaign": "packed",
    "node": {"kind": "virtual", "preset": "paper"},
    "sources": {"nvml": {"ring": False}, "meter": {"driver": "lmg450", "port": "auto"}},
}


def campaign(**more: Any) -> config.Config:
    return config.validate({**RAW, **more}, SCHEMA, "packed.yaml")


def rows(seconds: list[float], setting: str = "packed", load: str = "gpu") -> list[plan.PlanRow]:
    """Rows of one load each."""
    made = campaign()
    found = [plan._load_row(made, "rec", k, load, length) for k, length in enumerate(seconds)]
    return [dataclasses.replace(row, setting=setting) for row in found]


def paths(folder: Path) -> Paths:
    return Paths(folder / "raw" / "rec", folder / "truth" / "rec")


def run(folder: Path, seconds: list[float], say: Callable[[str], None] = print) -> None:
    record("rec", rows(seconds), campaign(), paths(folder), say)


def wait_for(condition: Callable[[], Any], limit_s: float = 30.0) -> Any:
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)
    return found


def events(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    log = paths(folder).raw / "progress.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    found = [json.loads(line) for line in lines]
    return [event for event in found if kind in (None, event["event"])]


def results(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in paths(folder).runs.glob("*.json")]
    return {outcome["run_id"]: outcome for outcome in found}


if __name__ == "__main__":
    run(Path(sys.argv[1]), [float(word) for word in sys.argv[2:]])
