"""A whole recording of the virtual node at once: the tables that live mode would have sealed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from wattproof import tables
from wattproof.config import Config
from wattproof.offline import lanes, programme, timeline
from wattproof.offline.base import Events, Scene
from wattproof.offline.staging import Stage, stage
from wattproof.plan import PlanRow
from wattproof.units import NS_PER_S
from wattproof.virtual import node, presets
from wattproof.virtual.model import PowerTrace

IDENTITY = ("model", "serial", "driver", "limit_w")
"""Facts of an instrument that travel in the provenance of every table."""
SESSION = 0
"""There is but one: nothing interrupts what takes no time."""
FIRST_MONO_NS = 1_000_000 * NS_PER_S
"""Monotonic clocks of recordings begin between this and the double of it."""
FIRST_WALL_S = 1_735_689_600
"""… and wall clocks in the year from 2025-01-01 on."""
YEAR_S = 365 * 24 * 3600


def default_makers() -> Mapping[str, Events]:
    """Return what makes the timelines of loads and trainings of a campaign."""
    return {"load": timeline.load_events, "train": timeline.run_events}


def draw_scene(
    recording: str,
    rows: Sequence[PlanRow],
    parameters: presets.Parameters,
    preset: str,
    seed: int,
    makers: Mapping[str, Events],
    activity: Path = Path(node.ACTIVITY_FILE),
) -> tuple[Scene, Stage]:
    """Let everything happen; returns what the instruments see of it, and the marks and results.

    Deterministic in its arguments: names of recording and session are in the seed, so that each
    recording is another stretch of the same node's life.
    """
    session_seed = [*recording.encode(), *f"session-{SESSION:03d}".encode()]
    digest = hashlib.sha256(bytes(session_seed) + str(seed).encode()).digest()
    t0_ns = FIRST_MONO_NS + int.from_bytes(digest[:8], "big") % FIRST_MONO_NS
    wall_s = FIRST_WALL_S + int.from_bytes(digest[8:16], "big") % YEAR_S
    spec = node.draw(preset, parameters, seed, [seed, *session_seed], t0_ns, activity)
    seeds = (seed, *session_seed)
    staged = stage(rows, parameters, t0_ns + NS_PER_S, seeds, makers)
    trace = PowerTrace(parameters, t0_ns)
    trace.extend(staged.activity)
    offset_ns = wall_s * NS_PER_S - t0_ns
    scene = Scene(spec, trace, staged.start_ns, staged.end_ns, offset_ns, seeds)
    return scene, staged


def tables_of(
    recording: str, scene: Scene, staged: Stage, sources: Mapping[str, Mapping[str, Any]]
) -> dict[str, pa.Table]:
    """Return the tables of a recording by name: samples, channels, health, marks, runs."""
    sealed = lanes.sealed(lanes.sample(scene, sources), scene, recording, SESSION)
    key = {"recording": recording, "session": SESSION}
    wall = scene.wall_offset_ns
    marks = [{**mark, **key, "wall_ns": mark["mono_ns"] + wall} for mark in staged.marks]
    sealed["marks"] = tables.conform(marks, "marks")
    # In the order of their files, as in live mode.
    results = sorted(staged.results, key=lambda result: str(result["run_id"]))
    sealed["runs"] = tables.conform([{**result, **key} for result in results], "runs")
    return sealed


def record(
    recording: str,
    rows: Sequence[PlanRow],
    config: Config,
    truth: Path,
    makers: Mapping[str, Events] | None = None,
) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Make a recording of the virtual node without waiting.

    Args:
        recording: Name of the recording.
        rows: Its rows of the plan, in order.
        config: The campaign: keys node and sources.
        truth: Folder where the truth is written, for `wattproof verify` alone.
        makers: What makes the timelines of rows by kind; None: `offline.timeline`.

    Returns:
        The tables and the provenance, as `session.seal` returns them.

    Raises:
        WattproofError: If an instrument or a parameter is not one of the virtual node's.
    """
    about = config["node"]
    parameters = presets.get(about["preset"], about["overrides"])
    folder = truth / f"session-{SESSION:03d}"
    scene, staged = draw_scene(
        recording,
        rows,
        parameters,
        about["preset"],
        about["seed"],
        default_makers() if makers is None else makers,
        folder / node.ACTIVITY_FILE,
    )
    sealed = tables_of(recording, scene, staged, config["sources"])
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / node.ACTIVITY_FILE, staged.activity.tobytes())
    _replace(folder / node.NODE_FILE, scene.spec.to_json().encode())
    instruments: dict[str, Any] = {}
    for channel in sealed["channels"].to_pylist():
        identity = json.loads(channel["identity"])
        instruments.setdefault(channel["source"], {})[channel["device"]] = {
            name: identity[name] for name in IDENTITY if name in identity
        }
    return sealed, {
        "host": f"SIMULATED {about['preset']} node",
        "instruments": instruments,
        "simulated": True,
        "extra": {"memory_gib": scene.spec.memory_gib, "mode": "offline"},
    }


def plain_makers() -> Mapping[str, Events]:
    """Return what makes the timelines of a plain programme (`programme.rows_of`)."""
    return {"load": programme.load_events, "train": programme.plain_events}


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)
