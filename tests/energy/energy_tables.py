"""Small tables for energy tests: one recording, one session, written down by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from wattproof import energy

NS = 1_000_000_000
KEY = {"recording": "r", "session": 0}


def channel(name: str, source: str = "nvml", **more: object) -> dict[str, object]:
    kind = str(more.pop("kind", "power"))
    identity = more.pop("identity", {})
    return {
        **KEY, "source": source, "channel": name, "unit": "W" if kind == "power" else "J",
        "kind": kind, "device": "GPU-0", "slot": 0, "period_s": 0.1, "averaging_s": 0.0,
        "clock": "host", "accuracy_reading": None, "accuracy_range_w": None, "quantum": None,
        "wrap": None, "simulated": True, "identity": json.dumps(identity), **more,
    }  # fmt: skip


def samples(
    name: str,
    t_s: Sequence[float] | np.ndarray,
    value: Sequence[float | None] | np.ndarray,
    source: str = "nvml",
    origin_ns: int = 0,
    streamed: bool = False,
    device_ns: np.ndarray | None = None,
) -> pd.DataFrame:
    """Instant reads at `t_s`; a value of None or NaN is a failed read."""
    t_ns = origin_ns + np.rint(np.asarray(t_s, dtype=float) * NS).astype(np.int64)
    values = np.array([np.nan if v is None else v for v in value], dtype=float)
    n = len(t_ns)
    return pd.DataFrame(
        {
            **KEY, "source": source, "channel": name,
            "scheduled_ns": pd.array([None] * n if streamed else t_ns, dtype="Int64"),
            "start_ns": t_ns, "end_ns": t_ns, "wall_ns": t_ns,
            "device_ns": pd.array([None] * n if device_ns is None else device_ns, dtype="Int64"),
            "value": values, "status": np.where(np.isfinite(values), "ok", "error"),
        }
    )  # fmt: skip


def windows(*spans: tuple[float, float], origin_ns: int = 0) -> pd.DataFrame:
    rows = [
        {
            **KEY, "window_id": f"w{i}", "run_id": "run", "level": "epoch", "kind": "epoch",
            "epoch": i, "setting": "single", "slot": 0,
            "start_ns": origin_ns + round(a * NS), "end_ns": origin_ns + round(b * NS),
        }
        for i, (a, b) in enumerate(spans)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def clock(source: str = "nvml", **more: object) -> dict[str, object]:
    return {
        **KEY, "source": source, "clock": "host", "offset_ns": 0, "drift_ppm": 0.0,
        "anchor_ns": 0, "residual_ns": 0.0, "accepted": True, **more,
    }  # fmt: skip


def integrate(
    parts: pd.DataFrame | list[pd.DataFrame],
    channels: list[dict[str, object]],
    cut: pd.DataFrame,
    clocks: list[dict[str, object]] | None = None,
    **settings: float,
) -> pd.DataFrame:
    frame = parts if isinstance(parts, pd.DataFrame) else pd.concat(parts, ignore_index=True)
    rows = pd.DataFrame(clocks if clocks is not None else [clock()])
    return energy.integrate(frame, pd.DataFrame(channels), rows, cut, settings)
