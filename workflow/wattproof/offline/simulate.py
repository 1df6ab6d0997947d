"""Clean recordings for tests, in memory: no campaign, no file, no waiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from wattproof.offline.base import Scene
from wattproof.offline.programme import Item, Training, rows_of
from wattproof.offline.record import draw_scene, plain_makers, tables_of
from wattproof.virtual import presets
from wattproof.virtual.truth import Truth

PROGRAMME: tuple[Item, ...] = (
    ("sync", 6.0),
    ("idle", 6.0),
    Training(),
    Training(),
    ("sync", 6.0),
)
"""Half a minute of work between two clock patterns."""

METER = {"driver": "lmg450", "port": "auto", "cycle_s": 0.1, "range_v": 250, "range_a": 20}
SOURCES: Mapping[str, Mapping[str, Any]] = {
    "nvml": {"period_s": 0.047, "counter_period_s": 0.1, "ring": True},
    "smi": {"mode": "spawn", "period_s": 0.1},
    "rapl": {"period_s": 0.1},
    "host": {"period_s": 0.25},
    "meter": METER,
}
"""All instruments of the virtual node."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """A recording in memory.

    Attributes:
        tables: Arrow tables by name: samples, channels, health, marks, runs.
        truth: True power and energy, and the meter's true clock.
        scene: The node, and when the instruments began and ended.
    """

    tables: dict[str, pa.Table]
    truth: Truth
    scene: Scene

    def frame(self, name: str) -> pd.DataFrame:
        """Return a table as pandas frame; whole numbers with nulls stay whole."""
        nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}
        table = self.tables[name]
        lacking = {field.type for field in table.schema if field.nullable}
        frame: pd.DataFrame = table.to_pandas(
            types_mapper=lambda kind: nullable.get(kind) if kind in lacking else None
        )
        return frame


def simulate(
    preset: str = "laptop",
    programme: Sequence[Item] = PROGRAMME,
    sources: Mapping[str, Mapping[str, Any]] = SOURCES,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    recording: str = "simulated-000",
) -> Simulated:
    """Record a plain programme with the instruments of the virtual node.

    Args:
        preset: Of the node.
        programme: Loads as ``(kind, seconds)``, kinds as in the plan (``sync``, ``idle``,
            ``prime``, ``stress``, ``gpu``), and trainings as `programme.Training`.
        sources: As key ``sources`` of a campaign.
        seed: Of the node and its faults.
        overrides: Parameters that differ from the preset's, e.g.
            ``{"smi": {"stall_probability": 0.0}}``.
        recording: Name of the recording; another one is another stretch of the node's life.

    Example:
        >>> clean = simulate(programme=[("idle", 2.0), Training(epochs=2)], seed=3)
        >>> samples = clean.frame("samples")
    """
    parameters = presets.get(preset, overrides)
    rows = rows_of(programme, seed, recording)
    scene, staged = draw_scene(recording, rows, parameters, preset, seed, plain_makers())
    found = tables_of(recording, scene, staged, sources)
    return Simulated(found, Truth(scene.spec, scene.trace), scene)
