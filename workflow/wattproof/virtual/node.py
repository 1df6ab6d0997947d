"""One virtual node: its parameters, and everything that chance decides about it, in one file.

``node.json`` lies in the node's run-time folder (for the sensors) and in the truth folder (for
checks). Two seeds: the first one makes the machine (boards, serials, the meter's crystal), the
second one a stretch of its life (sensor phases, counter starts, faults), so that sessions of a
recording see the same machine in another state.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wattproof import units
from wattproof.errors import WattproofError
from wattproof.virtual import presets
from wattproof.virtual.presets import Parameters

NODE_FILE = "node.json"
ACTIVITY_FILE = "activity.bin"

SCTC_HZ = 99_338
"""Nominal rate of the meter's sample counter (LMG450; measurement.md 13.1), counts per second."""

SCTC_MODULUS = 2**31
COUNT_MODULUS = 2**16

WRAP_FREE_S = 60
"""The sample counter does not wrap in the first so many seconds, so that the first value that
anybody reads is the same turn of the counter as in the truth."""

SEED_TAG = (0x77617474, 0x70726F6F)
"""Keep the two random streams apart even if both seeds are equal."""


@dataclass(frozen=True, slots=True)
class Board:
    """One GPU board.

    Attributes:
        uuid: ``GPU-SIMULATED-…``.
        serial: ``SIM-…``.
        gain: Reading = gain · true power + `offset_w`.
        offset_w: See `gain`.
        phase_ns: One of the instants (monotonic) at which its sensor updates.
        counter_start_mj: Energy counter at t0.
    """

    uuid: str
    serial: str
    gain: float
    offset_w: float
    phase_ns: int
    counter_start_mj: int


@dataclass(frozen=True, slots=True)
class MeterState:
    """What chance decides about the wall meter.

    Attributes:
        serial: ``SIM-…``.
        rate_ppm: Its clock counts `SCTC_HZ` · (1 + rate_ppm·1e-6) a true second.
        sctc_start: Sample counter at t0.
        count_start: Cycle counter at t0.
        gain_error: Share of the reading.
        range_error: Share of the range.
        mains_hz: True mains frequency.
        seed: Of drop-outs and delivery times.
    """

    serial: str
    rate_ppm: float
    sctc_start: int
    count_start: int
    gain_error: float
    range_error: float
    mains_hz: float
    seed: int


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A virtual node as written in ``node.json``.

    Attributes:
        preset: Name of the preset.
        seed: Of the machine.
        session_seed: Of this stretch of its life.
        t0_ns: Monotonic instant of its creation.
        activity: The event log.
        parameters: Preset with overrides.
        boards: The GPUs.
        meter: The wall meter.
        rapl_start_uj: Energy counters at t0: package, DRAM.
        smi_seed: Of the injected fault.
    """

    preset: str
    seed: int
    session_seed: tuple[int, ...]
    t0_ns: int
    activity: str
    parameters: Parameters
    boards: tuple[Board, ...]
    meter: MeterState
    rapl_start_uj: tuple[int, int]
    smi_seed: int

    @property
    def activity_path(self) -> Path:
        """Event log of the workload."""
        return Path(self.activity)

    @property
    def gpu_uuids(self) -> tuple[str, ...]:
        """UUID of each GPU, by index."""
        return tuple(board.uuid for board in self.boards)

    @property
    def slots(self) -> int:
        """Number of GPUs."""
        return len(self.boards)

    @property
    def memory_gib(self) -> float:
        """Main memory of the node, in GiB."""
        return self.parameters.dram.memory_gib

    @classmethod
    def load(cls, node_dir: Path | str) -> NodeSpec:
        """Read ``node.json`` of a node folder (or of a truth folder).

        Raises:
            WattproofError: There is none.
        """
        path = Path(node_dir) / NODE_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise WattproofError(
                f"There is no virtual node in {node_dir}: {NODE_FILE} is missing; create it with "
                "wattproof.virtual.create_node."
            ) from error
        fields = {f.name: data[f.name] for f in dataclasses.fields(cls)}
        fields["session_seed"] = tuple(fields["session_seed"])
        fields["rapl_start_uj"] = tuple(fields["rapl_start_uj"])
        fields["parameters"] = presets.from_dict(fields["parameters"])
        fields["boards"] = tuple(Board(**board) for board in fields["boards"])
        fields["meter"] = MeterState(**fields["meter"])
        return cls(**fields)

    def to_json(self) -> str:
        """Contents of ``node.json``, with a label on everything that is simulated or injected."""
        smi = self.parameters.smi
        data: dict[str, Any] = {
            "simulated": True,
            "injected": {
                "smi": f"In periods of {smi.hold_s:g} s, a share {smi.stall_probability:g} of them "
                f"chosen by chance, a call of the nvidia-smi-like tool stalls {smi.stall_s[0]:g} "
                f"to {smi.stall_s[1]:g} s and returns the power of the GPU's last low-power state. "
                "Injected: the mechanism is an assumption."
            },
            **dataclasses.asdict(self),
        }
        return json.dumps(data, indent=1)


def _machine(p: Parameters, seed: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rng = np.random.default_rng([SEED_TAG[0], seed])
    boards = []
    for _ in range(p.gpu.count):
        digits = "".join(f"{b:02x}" for b in rng.bytes(10))
        boards.append(
            {
                "uuid": f"GPU-SIMULATED-{digits[:4]}-{digits[4:8]}-{digits[8:]}",
                "serial": f"SIM-{rng.integers(10**9, 10**10)}",
                "gain": 1.0 + p.gpu.gain_spread * float(rng.uniform(-1, 1)),
                "offset_w": p.gpu.offset_spread_w * float(rng.uniform(-1, 1)),
            }
        )
    meter = {
        "serial": f"SIM-{rng.integers(10**7, 10**8)}",
        "rate_ppm": p.meter.rate_spread_ppm * float(rng.uniform(-1, 1)),
    }
    return boards, meter


def draw(
    preset: str,
    parameters: Parameters,
    seed: int,
    session_seed: Sequence[int],
    t0_ns: int,
    activity: Path,
) -> NodeSpec:
    """Let chance decide about a node; nothing is written. Deterministic in its arguments."""
    boards, meter = _machine(parameters, seed)
    rng = np.random.default_rng([SEED_TAG[1], seed, *session_seed])
    period_ns = units.s_to_ns(parameters.nvml.update_period_s)
    for board in boards:
        board["phase_ns"] = t0_ns + int(rng.integers(period_ns))
        board["counter_start_mj"] = int(rng.integers(10**9))
    meter |= {
        "sctc_start": int(rng.integers(SCTC_MODULUS - WRAP_FREE_S * SCTC_HZ)),
        "count_start": int(rng.integers(COUNT_MODULUS)),
        "gain_error": parameters.meter.reading_error * float(rng.uniform(-1, 1)),
        "range_error": parameters.meter.range_error * float(rng.uniform(-1, 1)),
        "mains_hz": parameters.meter.mains_hz
        + parameters.meter.mains_spread_hz * float(rng.uniform(-1, 1)),
        "seed": int(rng.integers(2**62)),
    }
    wrap_uj = parameters.rapl.max_energy_range_uj
    return NodeSpec(
        preset=preset,
        seed=seed,
        session_seed=tuple(session_seed),
        t0_ns=t0_ns,
        activity=str(activity),
        parameters=parameters,
        boards=tuple(Board(**board) for board in boards),
        meter=MeterState(**meter),
        rapl_start_uj=(int(rng.integers(wrap_uj)), int(rng.integers(wrap_uj))),
        smi_seed=int(rng.integers(2**62)),
    )


def create_node(
    node_dir: Path | str,
    truth_dir: Path | str,
    preset: str,
    seed: int,
    overrides: Mapping[str, Any] | None = None,
    session_seed: Sequence[int] = (),
    order: Sequence[int] | None = None,
) -> NodeSpec:
    """Create a virtual node: ``node.json`` in both folders and an empty event log. Starts nothing.

    Args:
        node_dir: Run-time folder, where the sensors stand.
        truth_dir: Folder of the event log; nothing but checks may read it.
        preset: ``laptop`` or ``paper``.
        seed: Seed of the machine, at least 0.
        overrides: Parameters that differ from the preset's, nested.
        session_seed: Tells stretches of the machine's life apart, each number at least 0.
        order: In which its boards are numbered, as indices of the machine's; None: as they are.

    Raises:
        WattproofError: Preset, parameter or seed is not known or not valid.
    """
    if any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in (seed, *session_seed)):
        raise WattproofError(f"node.seed must be a whole number of at least 0, not {seed!r}.")
    parameters = presets.get(preset, overrides)
    node_dir, truth_dir = Path(node_dir), Path(truth_dir)
    for folder in (node_dir, truth_dir):
        folder.mkdir(parents=True, exist_ok=True)
    activity = (truth_dir / ACTIVITY_FILE).absolute()
    activity.touch()
    spec = draw(preset, parameters, seed, session_seed, time.monotonic_ns(), activity)
    if order is not None:
        spec = dataclasses.replace(spec, boards=tuple(spec.boards[index] for index in order))
    for folder in (node_dir, truth_dir):
        # Complete or absent: a sensor that starts at this moment must not read half of it.
        part = folder / f".{NODE_FILE}.part"
        part.write_text(spec.to_json(), encoding="utf-8")
        os.replace(part, folder / NODE_FILE)
    return spec
