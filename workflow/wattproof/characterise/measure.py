"""A run: record one GPU by the real lanes of source ``nvml`` while the load plays its pattern.

What is characterised is what is recorded: the same processes and calls as in a recording, only
faster. Reads are at periods in no simple ratio to a round update period, so that over a run they
fall everywhere between two updates.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wattproof.characterise.channel import Finding, Series, Span, characterise_channel
from wattproof.characterise.loads import Load, play, wave_of
from wattproof.characterise.pattern import programme
from wattproof.characterise.updates import Polls
from wattproof.characterise.wave import F64Array, Wave
from wattproof.errors import WattproofError, did_you_mean
from wattproof.recorder import Recorder, read_stream
from wattproof.sensing import SensorDescription
from wattproof.units import NS_PER_S

POLL_S = 0.0043
COUNTER_POLL_S = 0.0073
"""Time between two reads of power, and of the energy counter (which costs 3 to 4 ms a read)."""

EXPECTED = ("power_instant", "power_average", "energy", "power_samples")
"""Channels that are spoken of even if the driver does not offer them."""


@dataclass(frozen=True, slots=True)
class Target:
    """The GPU to characterise.

    Attributes:
        uuid: Of the board.
        name: Of the board.
        driver: Version of the driver.
        slot: Its number in channels.
        busy: Processes of others that compute on it; None if that cannot be told.
    """

    uuid: str
    name: str
    driver: str
    slot: int
    busy: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """What a run found.

    Attributes:
        findings: One for each channel.
        wave: The load, in seconds from `anchor_ns`.
        anchor_ns: Monotonic instant.
        spans: Stretches of the load.
        simulated: A virtual node stands behind it.
    """

    findings: tuple[Finding, ...]
    wave: Wave
    anchor_ns: int
    spans: tuple[Span, ...]
    simulated: bool


def find_gpu(nvml: Any | None, word: str | None) -> Target:
    """Find the GPU that a user means.

    Args:
        nvml: Module ``pynvml``, or what stands in its place.
        word: UUID, a unique beginning of it, or the number that recordings give it (slot); None:
            the first one.

    Raises:
        WattproofError: If NVML does not work, or there is no such GPU.
    """
    # Late: other sources' requirements are not ours.
    from wattproof.sources.nvml.devices import Driver

    if nvml is None:
        raise WattproofError(
            "NVML's Python module is not installed: pip install nvidia-ml-py, then there is a "
            "sensor to characterise (or try --node virtual)."
        )
    try:
        nvml.nvmlInit()
        nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        raise WattproofError(
            f"There is no GPU sensor to characterise: NVML does not work here ({error}); check "
            "that 'nvidia-smi' works, or try '--node virtual'."
        ) from error
    driver = Driver(nvml)
    try:
        gpus = driver.open()
        if word is None:
            gpu = gpus[0]
        else:
            hits = [g for g in gpus if str(g.slot) == word or g.uuid.lower() == word.lower()]
            hits = hits or [g for g in gpus if g.uuid.lower().startswith(word.lower())]
            if len(hits) != 1:
                known = [g.uuid for g in gpus] + [str(g.slot) for g in gpus]
                what = f"is the beginning of {len(hits)} UUIDs" if hits else "is no GPU of the node"
                raise WattproofError(f"Option --gpu: '{word}' {what}.{did_you_mean(word, known)}")
            gpu = hits[0]
        try:
            busy = len(nvml.nvmlDeviceGetComputeRunningProcesses(gpu.handle))
        except (nvml.NVMLError, AttributeError):
            busy = None
        return Target(gpu.uuid, str(gpu.identity["name"]), driver.version, gpu.slot, busy)
    finally:
        driver.close()


def run(
    target: Target,
    load: Load,
    seconds: float,
    node: dict[str, Any],
    seed: int = 0,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Run:
    """Play the pattern, record the GPU, and estimate every channel.

    Args:
        target: The GPU.
        load: Not started yet; stopped in the end, whatever happens.
        seconds: Length of the pattern.
        node: As the recorder wants it: kind and folder.
        seed: Of the pattern's random part.
        folder: Where the streams go; a temporary one if None.
        say: Told what happens.

    Raises:
        WattproofError: If load or source does not work.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="wattproof-characterise-") as temporary:
            return run(target, load, seconds, node, seed, Path(temporary), say)
    blocks = programme(seconds, seed)
    settings = {
        "period_s": POLL_S,
        "counter_period_s": COUNTER_POLL_S,
        "gpus": [target.uuid],
        "ring": True,
    }
    try:
        load.start()
        with Recorder(folder, {"nvml": settings}, node) as recorder:
            length_s = sum(block.seconds for block in blocks)
            say(f"playing {load.name} for {length_s:.0f} s on {target.uuid}")
            edges, stretches = play(load, blocks, recorder.check)
    finally:
        load.stop()
    anchor_ns = edges[0][0]
    wave = wave_of(edges, anchor_ns)
    spans = tuple(
        Span(name, (start - anchor_ns) / NS_PER_S, (end - anchor_ns) / NS_PER_S)
        for name, start, end in stretches
        if name != "quiet"
    )
    say("estimating")
    series, simulated = read_series(folder / "streams", target.uuid, anchor_ns)
    findings = [characterise_channel(one, wave, spans, load.edge_u_s) for one in series]
    offered = {one.channel for one in series}
    for name in EXPECTED:
        if name not in offered:
            refused = "Nothing can be told: the driver does not offer this channel of this GPU."
            findings.append(Finding(SensorDescription(target.uuid, name, refused=refused)))
    return Run(tuple(findings), wave, anchor_ns, spans, simulated)


def read_series(streams: Path, uuid: str, anchor_ns: int) -> tuple[list[Series], bool]:
    """Read the power and energy channels of one device from the recorder's streams.

    Args:
        streams: Folder of the streams.
        uuid: Of the device.
        anchor_ns: Monotonic instant from which seconds count.

    Returns:
        The channels, and whether any of them is simulated.
    """
    parts: dict[str, list[pa.Table]] = {}
    kinds: dict[str, tuple[str, bool]] = {}
    simulated = False
    for path in sorted(streams.glob("*.arrows")):
        table, about, _ = read_stream(path)
        simulated = simulated or bool(about.get("simulated"))
        for channel in about.get("channels", ()):
            if channel["device"] == uuid and channel["kind"] in ("power", "energy"):
                name = channel["name"]
                kinds[name] = (channel["kind"], channel["clock"] == "wall")
                parts.setdefault(name, []).append(table.filter(pc.equal(table["channel"], name)))
    found = [
        _series(uuid, name, *kinds[name], pa.concat_tables(tables), anchor_ns)
        for name, tables in parts.items()
    ]
    order = {name: place for place, name in enumerate(EXPECTED)}
    found.sort(key=lambda one: (order.get(one.channel, len(order)), one.channel))
    return found, simulated


def _series(
    uuid: str, name: str, kind: str, stamped: bool, table: pa.Table, anchor_ns: int
) -> Series:
    good = pc.equal(table["status"], "ok")
    usable, failed = table.filter(good), table.filter(pc.invert(good))
    reasons = failed["status"].value_counts().to_pylist()
    why = max(reasons, key=lambda row: row["counts"])["values"] if reasons else ""

    def seconds(column: Any) -> F64Array:
        values = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)
        return (values - anchor_ns) / NS_PER_S

    start_s, end_s = seconds(usable["start_ns"]), seconds(usable["end_ns"])
    value = np.asarray(usable["value"].to_numpy(zero_copy_only=False), dtype=np.float64)
    stamp_s = None
    key = start_s
    if stamped:
        offset = pc.subtract(usable["wall_ns"], usable["end_ns"])
        key = stamp_s = seconds(pc.subtract(usable["device_ns"], offset))
    order = np.argsort(key, kind="stable")
    polls = Polls(start_s[order], end_s[order], value[order])
    stamps = None if stamp_s is None else stamp_s[order]
    channel = name.partition(".")[2]
    return Series(uuid, channel, kind, polls, stamps, failed.num_rows, why)
