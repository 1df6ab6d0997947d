"""All instruments of a campaign on one scene, and their readings as the recorder's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from wattproof import sources
from wattproof.errors import WattproofError, did_you_mean
from wattproof.offline import host, meter, nvml, rapl, smi
from wattproof.offline.base import OK, STATUSES, Lane, Scene, Series
from wattproof.recorder.health import Part
from wattproof.recorder.seal import seal_parts
from wattproof.recorder.streams import description_to_dict

Maker = Callable[[Scene, Mapping[str, Any]], Iterator[Lane]]

_MAKERS: dict[str, Maker] = {
    "host": host.lanes,
    "meter": meter.lanes,
    "nvml": nvml.lanes,
    "rapl": rapl.lanes,
    "smi": smi.lanes,
}

WORDS = pa.array([status.value for status in STATUSES], pa.string())


def sample(scene: Scene, wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[Lane]:
    """Record every instrument of a campaign, one lane after the other.

    Args:
        scene: What there is to be measured.
        wanted: Key ``sources`` of the campaign.

    Raises:
        WattproofError: If the virtual node has no such instrument.
    """
    for name, settings in wanted.items():
        if name not in _MAKERS:
            # The same sentence as in live mode, if it is an instrument at all.
            sources.create(name, settings, scene.endpoints())
            raise WattproofError(
                f"Source '{name}' cannot be simulated.{did_you_mean(name, _MAKERS)} Remove it from "
                "'sources'."
            )
        yield from _MAKERS[name](scene, settings)


def sealed(
    lanes: Iterable[Lane], scene: Scene, recording: str, session: int = 0
) -> dict[str, pa.Table]:
    """Return tables ``samples``, ``channels`` and ``health``, made by the recorder's own code."""
    parts = {lane.name: [_part(lane, scene.wall_offset_ns)] for lane in lanes}
    return seal_parts(dict(sorted(parts.items())), recording, session)


def _part(lane: Lane, wall_offset_ns: int) -> Part:
    description = description_to_dict(lane.description)
    info = {
        "pacing": lane.pacing.value,
        "period_s": lane.period_s,
        "health": {"outcome": "ok"},  # no process: its CPU time is unknown, not zero
    }
    return Part(0, _table(lane, wall_offset_ns), description, False, info)


def _table(lane: Lane, wall_offset_ns: int) -> pa.Table:
    """Return the rows of a lane by channel and time, in the columns of `recorder.read_stream`."""
    series = sorted(lane.series, key=lambda one: one.channel)
    lengths = [len(one.value) for one in series]
    names = pa.array([one.channel for one in series], pa.string())
    end = np.concatenate([one.end_ns for one in series])
    value = np.concatenate([one.value for one in series])
    codes = np.concatenate([_codes(one) for one in series])
    return pa.table(
        {
            "channel": names.take(pa.array(np.repeat(np.arange(len(series)), lengths))),
            "scheduled_ns": _nullable([one.scheduled_ns for one in series], lengths),
            "start_ns": np.concatenate([one.start_ns for one in series]),
            "end_ns": end,
            "wall_ns": end + wall_offset_ns,
            "device_ns": _nullable([one.device_ns for one in series], lengths),
            "value": pa.array(value, mask=np.isnan(value)),
            "status": WORDS.take(pa.array(codes)),
        }
    )


def _codes(series: Series) -> Any:
    return np.full(len(series.value), OK, np.int8) if series.status is None else series.status


def _nullable(columns: list[Any], lengths: list[int]) -> pa.Array:
    """Join columns of instants; what is absent, or -1, becomes null."""
    filled = [
        np.full(length, -1, np.int64) if column is None else column
        for column, length in zip(columns, lengths, strict=True)
    ]
    whole = np.concatenate(filled)
    return pa.array(whole, pa.int64(), mask=whole == -1)
