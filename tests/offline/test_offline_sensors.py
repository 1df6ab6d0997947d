"""Offline rows are what the live instruments say of the same activity: one model, two faces."""

import dataclasses
import json

import numpy as np
import pytest

from wattproof import offline
from wattproof.offline import Training
from wattproof.sources.meters import lmg450
from wattproof.sources.meters.lmg_lines import Decoder
from wattproof.virtual import smi
from wattproof.virtual.activity import DTYPE
from wattproof.virtual.meter import Dialect
from wattproof.virtual.node import NODE_FILE
from wattproof.virtual.nvml import VirtualNvml
from wattproof.virtual.powercap import DRAM, PACKAGE, PowercapTree

PROGRAMME = (("sync", 6.0), ("idle", 3.0), Training(epochs=3, epoch_s=4.0), ("gpu", 4.0))
FAULTS = {
    "smi": {"stall_probability": 0.5, "hold_s": 4.0, "stall_s": [1.1, 1.5]},
    "meter": {"dropout_probability": 0.05},
    # Wraps every few seconds.
    "rapl": {"max_energy_range_uj": 3_000_000_000},
}


@pytest.fixture(scope="module")
def made():
    return offline.simulate("paper", PROGRAMME, seed=11, overrides=FAULTS)


@pytest.fixture(scope="module")
def samples(made):
    return made.frame("samples")


def rows(samples, source, channel):
    return samples[(samples.source == source) & (samples.channel == channel)]


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture(scope="module")
def driver(made):
    """The live driver on the same trace, with a clock that the test sets."""
    clock = Clock()
    clock.now = made.scene.start_ns
    nvml = VirtualNvml(made.scene.spec, clock, made.scene.trace)
    nvml.nvmlInit()
    return nvml, clock


@pytest.mark.parametrize("slot", [0, 2])
def test_nvml_power_is_that_of_the_driver(samples, driver, slot):
    nvml, clock = driver
    for what, field in (("power_instant", 186), ("power_average", 185)):
        own = rows(samples, "nvml", f"gpu{slot}.{what}")
        assert len(own) > 500
        assert own.status.eq("ok").all()
        for row in own.iloc[::7].itertuples():
            clock.now = row.start_ns
            (answer,) = nvml.nvmlDeviceGetFieldValues(
                nvml.nvmlDeviceGetHandleByIndex(slot), [field]
            )
            assert row.value == answer.value.uiVal / 1000
            assert row.start_ns < row.end_ns


def test_nvml_state_is_that_of_the_driver(samples, driver):
    nvml, clock = driver
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    asks = {
        "utilisation": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "memory_utilisation": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).memory,
        "memory_used": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
        "clock_sm": lambda: nvml.nvmlDeviceGetClockInfo(handle, 1) * 1e6,
        "temperature": lambda: nvml.nvmlDeviceGetTemperature(handle, 0),
        "throttle_reasons": lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
        "energy": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000,
    }
    for what, ask in asks.items():
        own = rows(samples, "nvml", f"gpu0.{what}")
        assert own.value.nunique() > 1, what
        for row in own.iloc[::5].itertuples():
            clock.now = row.start_ns
            assert row.value == ask(), what


def test_the_ring_is_drained_whole_and_once(samples, driver, made):
    nvml, clock = driver
    own = rows(samples, "nvml", "gpu1.power_samples")
    stamps = own.device_ns.to_numpy(np.int64)
    # Stamps are whole microseconds of the wall clock.
    assert set(np.diff(stamps)) <= {19_999_000, 20_000_000, 20_001_000}
    seen: dict[int, float] = {}
    offset_ns = made.scene.wall_offset_ns
    for at in own.start_ns.unique():
        clock.now = int(at)
        _, ring = nvml.nvmlDeviceGetSamples(nvml.nvmlDeviceGetHandleByIndex(1), 0, 0)
        shift_us = offset_ns // 1000 - nvml._wall_offset_ns // 1000
        for sample in ring:
            seen[round((sample.timeStamp + shift_us) / 20_000)] = sample.sampleValue.uiVal / 1000
    ours = {round(stamp / 1000 / 20_000): v for stamp, v in zip(stamps, own.value, strict=True)}
    assert ours == seen


def test_smi_is_the_tool_with_its_stalls(samples, made, tmp_path):
    scene = made.scene
    log = tmp_path / "activity.bin"
    # The log that the trace was made of: the tool reads it backwards, from the file.
    log.write_bytes(np.concatenate(scene.trace._events).astype(DTYPE).tobytes())
    spec = dataclasses.replace(scene.spec, activity=str(log))
    (tmp_path / NODE_FILE).write_text(spec.to_json())
    tool = smi.Node.load(str(tmp_path))
    power, used = rows(samples, "smi", "gpu0.power"), rows(samples, "smi", "gpu0.utilisation")
    took_s = (power.end_ns - power.start_ns) / 1e9
    stalled = took_s > 1
    assert 0.1 < stalled.mean() < 0.9
    # One call after the other, each a pause after the end of the one before.
    pause_s = (power.scheduled_ns.iloc[1:].to_numpy(np.int64) - power.end_ns.iloc[:-1]) / 1e9
    assert pause_s.round(9).eq(0.1).all()
    for row, usage, slow in zip(power.itertuples(), used.itertuples(), stalled, strict=True):
        # When the process asked is not recorded: within its run time, that is all one knows.
        span = range(row.start_ns + 20_000_000, row.start_ns + 28_000_000 + 1, 500_000)
        answers = set()
        for at in span:
            state = tool._low_state(0, at) if slow else tool._present(0, at)
            shown = tool._row(0, state)
            answers.add((float(shown["power.draw"][0]), float(shown["utilization.gpu"][0])))
        assert (row.value, usage.value) in answers
        asked = [tool.stall_s(at) > 0 for at in span]
        assert slow in asked


def test_the_loop_prints_by_itself():
    sources = {"smi": {"mode": "loop", "period_s": 0.1}}
    made = offline.simulate("paper", PROGRAMME, sources, seed=11, overrides=FAULTS)
    own = rows(made.frame("samples"), "smi", "gpu3.power")
    assert own.scheduled_ns.isna().all()
    assert (own.start_ns == own.end_ns).all()
    steps_s = np.diff(own.end_ns) / 1e9
    assert np.median(steps_s[steps_s < 1]) == pytest.approx(0.101, abs=0.001)
    assert (steps_s > 1.1).sum() > 3
    health = made.frame("health").iloc[0]
    assert (health.source, health.outcome, health.missed) == ("smi", "ok", 0)


def test_rapl_is_the_powercap_tree(samples, made, tmp_path):
    scene = made.scene
    tree = PowercapTree(tmp_path, scene.spec, scene.trace)
    for folder, channel in ((PACKAGE, "cpu0.package"), (DRAM, "cpu0.dram")):
        own = rows(samples, "rapl", channel)
        for row in own.iloc[::9].itertuples():
            # The daemon writes every 10 ms from the session's start on.
            tree.write(row.start_ns - (row.start_ns - scene.start_ns) % 10_000_000)
            written = int((tmp_path / folder / "energy_uj").read_text())
            assert row.value == written / 1e6
        wraps = (own.value.diff() < 0).sum()
        assert wraps >= 1
    tree.close()


def test_meter_rows_are_those_of_the_decoder(samples, made):
    """Feed the recorder's decoder with the simulated meter's own lines: rows must be equal."""
    scene = made.scene
    own = rows(samples, "meter", "node.ac")
    dialect = Dialect(scene.spec, scene.trace, scene.start_ns + 50_000_000)
    for line in (
        "*cls", "*rst", ":SYSTem:LANGuage SHORT", "uam manual", "urng 250", "iam manual",
        "irng 20", "CYCL 0.1", "FRMT ASCII", "ACTN;COUNT?;SCTC?;CYCR?;P1?;P1?",
    ):  # fmt: skip
        assert dialect.feed(f"{line}\r\n".encode(), scene.start_ns + 50_000_000) == b""
    dialect.feed(b"CONT ON\r\n", scene.start_ns + 1_050_000_000)
    decoder = Decoder("node.ac", lambda text: lmg450.parse(text, 1, 2), lmg450.SCTC, 0.1)
    expected = []
    while (at := dialect.next_ns()) is not None and at < scene.end_ns - 5_000_000:
        for line in dialect.due(at).splitlines():
            expected += decoder.decode(line, at + 5_000_000)
    assert own.status.tolist() == [reading.status.value for reading in expected]
    assert own.status.eq("missing").sum() > 3
    stamps = [-1 if reading.device_ns is None else reading.device_ns for reading in expected]
    assert own.device_ns.fillna(-1).tolist() == stamps
    assert own.end_ns.tolist() == [reading.end_ns for reading in expected]
    values = np.array([np.nan if r.value is None else r.value for r in expected])
    np.testing.assert_allclose(own.value, values, rtol=0, atol=1e-9, equal_nan=True)


def test_meter_clock_is_the_truth_of_it(samples, made):
    own = rows(samples, "meter", "node.ac").dropna(subset=["value"])
    clock = made.truth.meter_clock()
    device = own.device_ns.to_numpy(np.int64)
    drift_ns = clock.drift_ppm * 1e-6 * (device - clock.anchor_ns)
    mono = device + clock.offset_ns + np.rint(drift_ns).astype(np.int64)
    # Cycles end 20 to 60 ms before their line leaves, which takes 5 ms more.
    lag_s = (own.end_ns.to_numpy(np.int64) - mono) / 1e9
    assert lag_s.min() > 0.02
    assert lag_s.max() < 0.07


def test_host_follows_the_nodes_load(samples, made):
    own = rows(samples, "host", "cpu.load")
    channels = made.frame("channels")
    assert channels[channels.source == "host"].simulated.all()
    assert own.value.between(0, 100).all()
    assert own.value.max() == pytest.approx(25.0)  # the training's cpu_load


def test_deadlines_pass_where_reads_take_longer_than_their_period():
    """Four counters of 3.5 ms each cannot be read every 10 ms."""
    sources = {"nvml": {"counter_period_s": 0.01, "ring": False}}
    made = offline.simulate("paper", [("idle", 5.0)], sources)
    health = made.frame("health").set_index("source").loc["nvml@counter"]
    assert health.missed > 100
    assert health.taken + health.missed == health.expected
    own = rows(made.frame("samples"), "nvml", "gpu3.energy")
    assert np.diff(own.start_ns).min() >= 14_000_000


def test_node_json_names_no_folder_of_this_machine(made):
    """Equal seeds give equal bytes wherever the results lie."""
    identities = [json.loads(text) for text in made.frame("channels").identity]
    assert not [i for i in identities if "/tmp" in json.dumps(i) or "/work" in json.dumps(i)]
