"""A small foreign set: nvidia-smi in local time, a meter of another machine, and its manifest."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import yaml

T0_S = 1_714_557_600  # 2024-05-01T10:00:00Z


def power(seed: int, seconds: int) -> np.ndarray:
    """Watts of the GPU each 0.1 s: idle, then trainings of uneven epochs."""
    rng = np.random.default_rng(seed)
    level = np.full(seconds * 10, 60.0)
    at = 150
    while at < len(level):
        watts = rng.uniform(150, 300)
        for _ in range(rng.integers(2, 6)):
            long, short = rng.integers(40, 90), rng.integers(8, 20)
            level[at : at + long] = watts
            level[at + long : at + long + short] = 0.6 * watts
            at += long + short
        at += rng.integers(10, 40)
    return level


def write(folder: Path, seed: int = 1, seconds: int = 240, zone_h: int = 2) -> Path:
    """Write the logs and return the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed + 100)
    gpu = power(seed, seconds)
    rows = ["timestamp, index, power.draw [W]"]
    for i, watts in enumerate(gpu):
        t = dt.datetime.fromtimestamp(T0_S + 0.1 * i, dt.UTC) + dt.timedelta(milliseconds=3)
        text = t.strftime("%Y/%m/%d %H:%M:%S.%f")[:-3]
        rows.append(f"{text}, 0, {watts + rng.normal(0, 0.5):.2f} W")
    (folder / "smi.csv").write_text("\n".join(rows) + "\n")
    node = 200 + 1.1 * gpu + rng.normal(0, 0.4, len(gpu))
    meter = ["stamp;watt"]
    for i in range(1, len(node)):
        there = T0_S + 0.1 * i + zone_h * 3600 + 0.37
        t = dt.datetime.fromtimestamp(there, dt.UTC)
        meter.append(
            f"{t.strftime('%Y-%m-%d %H:%M:%S.%f')[:-4]};{node[i - 1]:.2f}".replace(".", ",")
        )
    (folder / "meter.csv").write_text("\n".join(m.replace(",", ".", 1) for m in meter) + "\n")
    manifest = {
        "audit": "small",
        "results": str(folder / "results"),
        "origin": "written by a test",
        "sets": {
            "node-a": {
                "logs": [
                    {
                        "format": "nvidia_smi",
                        "path": "smi.csv",
                        "clock": "node",
                        "time_zone": "UTC",
                    },
                    {
                        "format": "delimited",
                        "path": "meter.csv",
                        "clock": "meter-pc",
                        "decimal_comma": True,
                        "time": "stamp",
                        "channels": [
                            {
                                "column": "watt",
                                "channel": "node.ac",
                                "source": "meter",
                                "unit": "W",
                                "averaging_s": 0.1,
                            }
                        ],
                    },
                ],
                "windows": [
                    {"run_id": f"r{i}", "start": T0_S + a, "end": T0_S + a + 40}
                    for i, a in enumerate(range(20, seconds - 45, 42))
                ],
            }
        },
    }
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    return path
