"""A recording of any length as sealed tables: a node with four GPUs, simulated, made by numpy.

    python benchmarks/analysis/case.py FOLDER --samples 100000000

1,256 readings a second: instant and average power at 100 Hz, energy counters at 10 Hz, the driver's
samples at 50 Hz, utilisation and memory at 10 Hz, clocks and temperatures at 1 Hz, of each GPU;
nvidia-smi, RAPL, a wall meter with a clock of its own, the host. One training after the other, each
of 12 epochs with a train and an eval phase, calibration loads at the start. One channel after the
other is computed and written, so that the file may be larger than the memory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wattproof import tables
from wattproof.tables.bychannel import ENCODING, WORDS
from wattproof.tables.schemas import SCHEMA_VERSION

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

S = 10**9
T0 = 86_400 * S
WALL0 = 1_750_000_000 * S
GPUS = 4
IDLE_W, LIMIT_W = 75.0, 800.0
BUSY_W = (146.0, 305.0)
OFF_SOCKET_W = (310.0, 435.0)
EPOCHS, EPOCH_S, EVAL_SHARE, PAUSE_S = 12, 11.8, 0.12, 3.0
RIPPLE_S = 0.43
LOADS = (("idle", 20.0), ("prime", 20.0), ("gpu", 20.0))
LEAD_S = 2.0
UPDATE_S, WINDOW_S, RING_S, CYCLE_S = 0.1, 0.025, 0.02, 0.1
RAPL_WRAP_J = 262_143.32885
METER_OFFSET_S, METER_DRIFT_PPM = -3.217, 11.0
FAILED = 1e-4
NAME = "benchmark-000"
RATE_HZ = 1_256.0
"""Readings a second of the whole node (a little less comes out: nvidia-smi is slow)."""
META = tables.Meta("benchmark", simulated=True)


@dataclass(frozen=True)
class Line:
    """True energy of a part of the node, linear between knots."""

    t_s: F64
    energy_j: F64

    @classmethod
    def of(cls, t_s: F64, power_w: F64) -> Line:
        """Power holds from each knot to the next."""
        energy = np.concatenate(([0.0], np.cumsum(power_w[:-1] * np.diff(t_s))))
        return cls(t_s, energy)

    def mean_w(self, end_s: F64, over_s: float) -> F64:
        """Mean power over the time before each instant."""
        now = np.interp(end_s, self.t_s, self.energy_j)
        return (now - np.interp(end_s - over_s, self.t_s, self.energy_j)) / over_s

    def __add__(self, other: Line) -> Line:
        t = np.union1d(self.t_s, other.t_s)
        both = (np.interp(t, line.t_s, line.energy_j) for line in (self, other))
        return Line(t, sum(both))


@dataclass
class Story:
    """What happened: marks, runs, and the true power of every part."""

    marks: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    gpus: list[Line]
    off: Line
    end_s: float


def _mark(kind: str, at_s: float, run: str | None = None, **more: Any) -> dict[str, Any]:
    at = T0 + round(at_s * S)
    base = {"recording": NAME, "session": 0, "run_id": run, "kind": kind, "name": None}
    return {**base, "epoch": None, "slot": None, "mono_ns": at, "wall_ns": WALL0 + at, **more}


def tell(seconds: float, seed: int) -> Story:
    """Make up a programme of the length wanted."""
    rng = np.random.default_rng([seed, 0])
    marks: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    knots: list[list[tuple[float, float]]] = [[(-2.0, IDLE_W)] for _ in range(GPUS)]
    off: list[tuple[float, float]] = [(-2.0, OFF_SOCKET_W[0])]
    at = LEAD_S
    for name, length in LOADS:
        marks.append(_mark("load_begin", at, name=name))
        if name == "gpu":
            for line in knots:
                line += [(at, 700.0), (at + length, IDLE_W)]
        if name == "prime":
            off += [(at, OFF_SOCKET_W[0] + 32.0), (at + length, OFF_SOCKET_W[0])]
        at += length
        marks.append(_mark("load_end", at, name=name))
        at += PAUSE_S
    while at + PAUSE_S < seconds:
        run, slot = f"run-{len(runs):05d}", len(runs) % GPUS
        level, begin = float(rng.uniform(*BUSY_W)), at
        epoch_s = EPOCH_S * float(rng.uniform(0.8, 1.2))
        marks.append(_mark("run_begin", at, run, slot=slot))
        off.append((at, float(rng.uniform(*OFF_SOCKET_W))))
        for epoch in range(EPOCHS):
            if at + epoch_s > seconds - 1.0:
                break
            about = {"epoch": epoch, "slot": slot}
            middle, end = at + epoch_s * (1 - EVAL_SHARE), at + epoch_s
            marks += [
                _mark("epoch_begin", at, run, **about),
                _mark("phase_begin", at, run, name="train", **about),
                _mark("phase_end", middle, run, name="train", **about),
                _mark("phase_begin", middle, run, name="eval", **about),
                _mark("phase_end", end, run, name="eval", **about),
                _mark("epoch_end", end, run, **about),
            ]
            steps = np.arange(at, middle, RIPPLE_S / 2)
            watts = level * (1 + 0.06 * (-1.0) ** np.arange(len(steps)))
            knots[slot] += [
                *zip(steps.tolist(), watts.tolist(), strict=True),
                (middle, 0.7 * level),
            ]
            at = end
        knots[slot].append((at, IDLE_W))
        off.append((at, OFF_SOCKET_W[0]))
        marks.append(_mark("run_end", at, run, slot=slot))
        runs.append(
            {
                "recording": NAME, "session": 0, "run_id": run, "setting": "single", "slot": slot,
                "status": "ok", "reason": "", "epochs": EPOCHS, "duration_s": at - begin,
            }
        )  # fmt: skip
        if at + epoch_s > seconds - 1.0:
            break
        at += PAUSE_S

    def line(points: list[tuple[float, float]]) -> Line:
        t, p = (np.array(each) for each in zip(*points, strict=True))
        return Line.of(np.append(t, seconds + 60.0), np.append(p, p[-1]))

    return Story(marks, runs, [line(points) for points in knots], line(off), seconds)


def _times(
    rng: np.random.Generator, period_s: float, end_s: float, read_s: float, late_s: float = 4e-5
) -> tuple[I64, I64, I64]:
    """When reads were due, began and ended."""
    scheduled = T0 + np.arange(0, round(end_s * S), round(period_s * S), dtype=np.int64)
    start = scheduled + (late_s * S * rng.exponential(size=len(scheduled))).astype(np.int64)
    end = start + (read_s * S * rng.uniform(0.8, 1.4, len(scheduled))).astype(np.int64)
    return scheduled, start, end


def _seconds(ns: I64) -> F64:
    return (ns - T0) / S


class Channels:
    """The channels of the node, each made when it is asked for."""

    def __init__(self, story: Story, seed: int) -> None:
        """Remember what happened."""
        self.story = story
        self.seed = seed
        self.rows: list[dict[str, Any]] = []

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, 1, len(self.rows)])

    def _table(
        self, about: dict[str, Any], times: tuple[I64 | None, I64, I64], value: F64, **more: Any
    ) -> pa.Table:
        rng = self._rng()
        scheduled, start, end = times
        n = len(end)
        failed = rng.random(n) < (FAILED if about["source"] in ("nvml", "smi", "meter") else 0.0)
        device = more.get("device_ns")
        self.rows.append(
            {
                "recording": NAME, "session": 0, "slot": None, "averaging_s": 0.0, "clock": "host",
                "accuracy_reading": None, "accuracy_range_w": None, "quantum": None, "wrap": None,
                "simulated": True, **about, "identity": json.dumps(about.get("identity", {})),
            }
        )  # fmt: skip
        words = {"recording": NAME, "source": about["source"], "channel": about["channel"]}
        constant = {
            name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([word]))
            for name, word in words.items()
        }
        status = pa.DictionaryArray.from_arrays(
            pa.array(failed.astype(np.int32)), pa.array(["ok", "error: simulated"])
        )
        columns = {
            "recording": constant["recording"],
            "session": pa.array(np.zeros(n, np.int16)),
            "source": constant["source"],
            "channel": constant["channel"],
            "scheduled_ns": pa.nulls(n, pa.int64()) if scheduled is None else pa.array(scheduled),
            "start_ns": pa.array(start),
            "end_ns": pa.array(end),
            "wall_ns": pa.array(more.get("wall_ns", WALL0 + end)),
            "device_ns": pa.nulls(n, pa.int64()) if device is None else pa.array(device),
            "value": pa.array(value, mask=failed),
            "status": status,
        }
        schema = tables.schema("samples").arrow()
        return pa.table([columns[f.name].cast(f.type) for f in schema], schema=schema)

    def _gpu(
        self, gpu: int, source: str, name: str, period_s: float, **more: Any
    ) -> dict[str, Any]:
        about = {
            "source": source, "channel": f"gpu{gpu}.{name}", "unit": "W", "kind": "power",
            "device": f"GPU-SIMULATED-{gpu}", "slot": gpu, "period_s": period_s,
            "accuracy_reading": 0.05, "quantum": 0.001,
            "identity": {"limit_w": LIMIT_W, "name": "SIMULATED"},
        }  # fmt: skip
        return about | more

    def sampled(self) -> Iterator[pa.Table]:
        """Channels of NVML's main lane and of nvidia-smi."""
        end_s = self.story.end_s
        for gpu, line in enumerate(self.story.gpus):
            for name, over_s in (("power_instant", WINDOW_S), ("power_average", 1.0)):
                rng = self._rng()
                times = _times(rng, 0.01, end_s, 7e-6)
                read = _seconds(times[2])
                # A board updates on a grid of its own, which drifts against ours.
                update = UPDATE_S * (1 + 3e-5 * gpu)
                shown = np.floor((read - 0.013 * gpu) / update) * update + 0.013 * gpu
                updates = np.unique(shown)
                value = line.mean_w(updates, over_s) + rng.normal(0, 0.3, len(updates))
                value = np.round(value, 3)[np.searchsorted(updates, shown)]
                identity = {"limit_w": LIMIT_W, "name": "SIMULATED", "update_s": UPDATE_S}
                if over_s < UPDATE_S:
                    identity["window_s"] = WINDOW_S
                about = self._gpu(gpu, "nvml", name, 0.01, averaging_s=over_s, identity=identity)
                yield self._table(about, times, value)
            plain = {"quantum": None, "accuracy_reading": None}
            kinds = (
                ("utilisation", "%", "utilisation", 0.1),
                ("memory_utilisation", "%", "utilisation", 0.1),
                ("memory_used", "bytes", "memory", 1.0),
                ("clock_sm", "Hz", "clock", 1.0),
                ("temperature", "C", "temperature", 1.0),
                ("throttle_reasons", "bits", "state", 0.25),
            )
            for name, unit, kind, period_s in kinds:
                rng = self._rng()
                times = _times(rng, period_s, end_s, 7e-6)
                level = (line.mean_w(_seconds(times[2]), 0.1) - IDLE_W) / (LIMIT_W - IDLE_W)
                value = np.round(100 * level + rng.normal(0, 1, len(level)).clip(-3, 3)).clip(0)
                value = value * (name != "throttle_reasons")
                about = self._gpu(gpu, "nvml", name, period_s, unit=unit, kind=kind, **plain)
                yield self._table(about, times, value)
            for name, unit, kind in (("power", "W", "power"), ("utilisation", "%", "utilisation")):
                rng = self._rng()
                times = _times(rng, 0.17, end_s, 0.15, 2e-3)
                value = np.round(line.mean_w(_seconds(times[2]), 1.0), 2)
                yield self._table(
                    self._gpu(gpu, "smi", name, 0.17, unit=unit, kind=kind, averaging_s=1.0),
                    times,
                    value,
                )

    def counted(self) -> Iterator[pa.Table]:
        """Energy counters and the driver's samples."""
        end_s = self.story.end_s
        for gpu, line in enumerate(self.story.gpus):
            rng = self._rng()
            times = _times(rng, 0.1, end_s, 3.5e-3, 2e-4)
            step = np.floor((_seconds(times[2]) - 0.031 * gpu) / UPDATE_S) * UPDATE_S + 0.031 * gpu
            value = np.round(1e6 + np.interp(step, line.t_s, line.energy_j), 3)
            about = self._gpu(gpu, "nvml", "energy", 0.1, unit="J", kind="energy")
            yield self._table(about, times, value)
            rng = self._rng()
            stamp = np.arange(0.007 * (gpu + 1), end_s, RING_S)
            value = np.round(line.mean_w(stamp, RING_S), 3)
            # The ring is drained twice a second: many samples come with one read.
            drain = T0 + np.ceil((stamp + 0.01) / 0.5).astype(np.int64) * (S // 2)
            start = drain + 40_000
            wall = WALL0 + start + 600_000
            about = self._gpu(gpu, "nvml", "power_samples", RING_S, clock="wall")
            yield self._table(
                about,
                (drain, start, start + 600_000),
                value,
                wall_ns=wall,
                device_ns=WALL0 + T0 + np.rint(stamp * 1e6).astype(np.int64) * 1000,
            )

    def around(self) -> Iterator[pa.Table]:
        """RAPL, the host and the meter."""
        off, end_s = self.story.off, self.story.end_s
        for name, device, share in (
            ("package", "package-0", 0.3),
            ("dram", "package-0/dram", 0.05),
        ):
            times = _times(self._rng(), 0.1, end_s, 2e-5)
            energy = share * np.interp(_seconds(times[2]), off.t_s, off.energy_j)
            about = {
                "source": "rapl", "channel": f"cpu0.{name}", "unit": "J", "kind": "energy",
                "device": device, "period_s": 0.1, "wrap": RAPL_WRAP_J,
            }  # fmt: skip
            yield self._table(about, times, np.round(energy % RAPL_WRAP_J, 6))
        for name, unit, kind in (("cpu.load", "%", "load"), ("memory.used", "bytes", "memory")):
            times = _times(self._rng(), 0.25, end_s, 2e-4)
            value = np.round(off.mean_w(_seconds(times[2]), 0.25) / 5, 1)
            about = {"source": "host", "channel": name, "unit": unit, "kind": kind,
                     "device": "SIMULATED", "period_s": 0.25}  # fmt: skip
            yield self._table(about, times, value)
        node = off
        for line in self.story.gpus:
            node = node + line
        rng = self._rng()
        end_of_cycle = np.arange(CYCLE_S, end_s, CYCLE_S)
        value = node.mean_w(end_of_cycle, CYCLE_S) * (1 + rng.normal(0, 3e-4, len(end_of_cycle)))
        arrival = T0 + np.rint((end_of_cycle + 0.004 + rng.exponential(0.002, len(value))) * S)
        arrival = arrival.astype(np.int64)
        about = {
            "source": "meter", "channel": "node.ac", "unit": "W", "kind": "power",
            "device": "SIM-1", "period_s": CYCLE_S, "averaging_s": CYCLE_S, "clock": "device",
            "accuracy_reading": 0.0007, "accuracy_range_w": 2.0, "identity": {"model": "SIMULATED"},
        }  # fmt: skip
        stamp = (end_of_cycle - METER_OFFSET_S) / (1 + METER_DRIFT_PPM * 1e-6)
        yield self._table(
            about,
            (None, arrival, arrival),
            np.round(value, 2),
            device_ns=np.rint(stamp * S).astype(np.int64),
        )


def make(folder: Path, samples: int, seed: int = 0) -> int:
    """Write the tables of a recording with about so many samples; returns how many it has."""
    folder.mkdir(parents=True, exist_ok=True)
    story = tell(samples / RATE_HZ, seed)
    channels = Channels(story, seed)
    schema = tables.schema("samples").arrow()
    record = {"table": "samples", "schema_version": SCHEMA_VERSION, **asdict(META)}
    total = 0
    with pq.ParquetWriter(
        folder / "samples.parquet",
        schema.with_metadata({tables.META_KEY: json.dumps(record).encode()}),
        compression="zstd",
        use_dictionary=list(WORDS),
        column_encoding=ENCODING,
    ) as writer:
        for part in (channels.around, channels.counted, channels.sampled):
            for table in part():
                writer.write_table(table, row_group_size=max(table.num_rows, 1))
                total += table.num_rows
    sources = {row["source"]: row["clock"] for row in channels.rows}
    clocks = [
        {
            "recording": NAME, "session": 0, "source": source, "against": "",
            "clock": "device" if source == "meter" else "host",
            # stamp·(1 + drift) + offset, counted from stamp 0.
            "offset_ns": T0 + round(METER_OFFSET_S * S) if source == "meter" else 0,
            "drift_ppm": METER_DRIFT_PPM if source == "meter" else 0.0, "anchor_ns": 0,
            "residual_ns": 2e6 if source == "meter" else 0.0, "confidence": 1.0,
            "method": "given", "accepted": True, "reason": "",
        }
        for source in sources
    ]  # fmt: skip
    tables.write(channels.rows, "channels", folder / "channels.parquet", META)
    tables.write(clocks, "clocks", folder / "clocks.parquet", META)
    tables.write(pd.DataFrame(story.marks), "marks", folder / "marks.parquet", META)
    tables.write(story.runs, "runs", folder / "runs.parquet", META)
    return total


def main() -> None:
    """Write a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=10**6)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(f"{make(chosen.folder, chosen.samples, chosen.seed):,} samples in {chosen.folder}")


if __name__ == "__main__":
    main()
