"""A node in closed form: every expected value in these tests can be worked out by hand."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from wattproof import tables

SOURCES = {"node": "meter", "cpu": "rapl"}
NVML = ("energy", "power_instant", "power_average")


def source_of(channel: str) -> str:
    if channel.startswith("gpu"):
        return "nvml" if channel.partition(".")[2] in NVML else "smi"
    return "meter" if channel.startswith("node") else "rapl"


def device_of(channel: str) -> str:
    return {"gpu": f"GPU-{channel[3]}", "cpu": f"package-{channel[3]}"}.get(channel[:3], "meter-1")


def window(
    window_id: str,
    powers_w: dict[str, float | None],
    *,
    level: str = "epoch",
    kind: str | None = None,
    setting: str = "single",
    slot: int | None = 0,
    run_id: str | None = "run-0",
    epoch: int | None = None,
    recording: str = "rec-0",
    session: int = 0,
    duration_s: float = 10.0,
    samples: dict[str, int] | None = None,
    flags: dict[str, list[str]] | None = None,
) -> list[dict[str, Any]]:
    """Rows of table ``energy`` of one window from mean powers by channel."""
    rows = []
    for channel, power in powers_w.items():
        taken = (samples or {}).get(channel, 100)
        rows.append(
            {
                "recording": recording,
                "session": session,
                "window_id": window_id,
                "run_id": run_id,
                "level": level,
                "kind": kind or level,
                "epoch": epoch,
                "setting": setting,
                "slot": slot,
                "source": source_of(channel),
                "channel": channel,
                "device": device_of(channel),
                "duration_s": duration_s,
                "energy_j": None if power is None else power * duration_s,
                "mean_w": power,
                "energy_u_j": None,
                "samples": taken,
                "expected": 100.0,
                "coverage": 1.0,
                "longest_gap_s": 0.1,
                "method": "counter",
                "counter_ratio": None,
                "flags": (flags or {}).get(channel, []),
            }
        )
    return rows


def table(*windows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Frame as the rules read it: through the schema, with pandas' nullable integers."""
    arrow = tables.conform([row for rows in windows for row in rows], "energy")
    frame: pd.DataFrame = arrow.to_pandas()
    for name in ("epoch", "slot"):
        frame[name] = frame[name].astype("Int32")
    return frame


def node_powers(
    packages_w: float,
    dram_w: float,
    gpus_w: Iterable[float],
    busy_w: float | Callable[[float, float], float],
    nvml_gain: float = 1.0,
) -> dict[str, float | None]:
    """Mean powers that perfect instruments would show (NVML with a gain error, if wanted)."""
    gpus = list(gpus_w)
    socket, gpu = packages_w + dram_w, sum(gpus)
    busy = busy_w(socket, gpu) if callable(busy_w) else busy_w
    powers: dict[str, float | None] = {
        "node.ac": socket + gpu + busy,
        "cpu0.package": packages_w,
        "cpu0.dram": dram_w,
    }
    for index, watts in enumerate(gpus):
        powers[f"gpu{index}.energy"] = nvml_gain * watts
        powers[f"gpu{index}.power_instant"] = nvml_gain * watts
    return powers


def load(kind: str, repeat: int, powers_w: dict[str, float | None], **more: Any) -> list[dict]:
    recording = more.pop("recording", "calibration-000")
    return window(
        f"{recording}-{kind}-{repeat}",
        powers_w,
        level="load",
        kind=kind,
        setting="calibration",
        slot=None,
        run_id=f"{recording}-{kind}-{repeat}",
        recording=recording,
        **more,
    )


def channel_row(
    source: str, channel: str, device: str, identity: dict[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        "recording": "rec-0",
        "session": 0,
        "source": source,
        "channel": channel,
        "unit": "W",
        "kind": "power",
        "device": device,
        "averaging_s": 0.0,
        "clock": "host",
        "simulated": True,
        "identity": json.dumps(identity),
        **more,
    }


def channels(*rows: dict[str, Any]) -> pd.DataFrame:
    frame: pd.DataFrame = tables.conform(list(rows), "channels").to_pandas()
    return frame


GPU_700 = channel_row("nvml", "gpu0.energy", "GPU-0", {"limit_w": 700.0}, slot=0)
HOST_2TIB = channel_row("host", "cpu.load", "node", {"memory_bytes": 2048 * 2**30})
