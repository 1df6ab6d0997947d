"""Code Carbon as an instrument: logic with a stand-in, and the real library where it is there."""

import importlib.util
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.compute as pc
import pytest

from wattproof.errors import WattproofError
from wattproof.recorder import Recorder, seal_session
from wattproof.sources import create, names, real_endpoints
from wattproof.sources.base import Source, Status
from wattproof.sources.codecarbon import CodeCarbonSource
from wattproof.sources.endpoints import Endpoints

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("codecarbon") is None, reason="needs the extra codecarbon"
)


class Scheduler:
    def __init__(self) -> None:
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1


class CPU:
    _mode = "intel_rapl"
    _tdp = 200


class RAM:
    @staticmethod
    def total_power() -> Any:
        return SimpleNamespace(W=38.0)


class GPU:
    pass


class Tracker:
    """Has the attributes of codecarbon 3.3.2 that the source uses; counts 1 Wh a measurement."""

    gpus = 0
    fails_at: int | None = None
    swallows_start = False

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        self.measured = 0
        self._start_time: float | None = None
        self._scheduler, self._scheduler_monitor_power = Scheduler(), Scheduler()
        self._hardware = [RAM(), CPU(), *([GPU()] if self.gpus else [])]
        self._conf = {
            "tracking_mode": options["tracking_mode"],
            "gpu_model": f"{self.gpus} x NVIDIA H100",
            "gpu_count": self.gpus,
        }
        self._set()

    def _set(self) -> None:
        for number, part in enumerate(("energy", "cpu_energy", "gpu_energy", "ram_energy"), 1):
            setattr(self, f"_total_{part}", SimpleNamespace(kWh=0.001 * number * self.measured))

    def start(self) -> None:
        if not self.swallows_start:
            self._start_time = 1.0

    def _measure_power_and_energy(self) -> None:
        self.measured += 1
        if self.measured == self.fails_at:
            raise OSError("a driver's bad day")
        self._set()


def library(**how: Any) -> tuple[Any, list[Tracker]]:
    made: list[Tracker] = []
    kind = type("T", (Tracker,), how)

    def offline(**options: Any) -> Tracker:
        made.append(kind(**options))
        return made[-1]

    return SimpleNamespace(OfflineEmissionsTracker=offline), made


def test_totals_in_joules_one_measurement_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    module, made = library(gpus=2)
    source = CodeCarbonSource(module, "3.3.2", 0.5, "FRA")
    assert isinstance(source, Source)
    described = source.open()
    assert made[0].visible is None  # all GPUs of the node, not those of this job
    options = made[0].options
    assert (options["tracking_mode"], options["country_iso_code"]) == ("machine", "FRA")
    assert options["output_methods"] == []
    assert made[0]._scheduler.stopped == 1
    assert made[0]._scheduler_monitor_power.stopped == 0
    assert described.identity["version"] == "3.3.2"
    assert described.identity["cpu_mode"].startswith("rapl")
    assert described.identity["ram_w"] == 38.0
    parts = ("node", "cpu", "gpu", "ram")
    assert [c.name for c in described.channels] == [f"codecarbon.{part}" for part in parts]
    for n in (1, 2):
        readings = source.read()
        # 1 Wh = 3600 J, 2 Wh …
        assert [r.value for r in readings] == pytest.approx([3600.0 * n * k for k in (1, 2, 3, 4)])
        assert all(r.status is Status.OK for r in readings)
        assert made[0].measured == n
        assert all(r.start_ns is not None and r.end_ns is not None for r in readings)
    source.close()
    source.close()
    assert made[0]._scheduler_monitor_power.stopped == 1


def test_says_that_it_is_an_estimate() -> None:
    """No rule that looks for the meter, the packages, the DRAM or a GPU may take it for one."""
    from wattproof.clocks.levels import pick_reference
    from wattproof.offsocket.balance import gpu_rows

    module, _ = library(gpus=1)
    channels = CodeCarbonSource(module, "3.3.2").open().channels
    assert all(c.identity["estimator"] is True for c in channels)
    assert all("estimates" in c.identity["means"] for c in channels)
    import pandas as pd

    table = pd.DataFrame(
        {
            "source": "codecarbon",
            "channel": [c.name for c in channels],
            "kind": [c.kind for c in channels],
            "clock": "host",
            "energy_j": 1.0,
            "flags": [[] for _ in channels],
        }
    )
    assert pick_reference(table) == []
    assert gpu_rows(table).empty
    assert not table["channel"].str.fullmatch(r"node\.ac|cpu\d+\.(package|dram)").any()


def test_without_gpus_there_is_no_gpu_channel_that_says_zero() -> None:
    module, _ = library()
    described = CodeCarbonSource(module, "3.3.2").open()
    assert "codecarbon.gpu" not in [c.name for c in described.channels]
    assert described.identity["gpus"] is None


def test_failed_measurement_is_a_status() -> None:
    module, _ = library(fails_at=2)
    source = CodeCarbonSource(module, "3.3.2")
    source.open()
    values = [[(r.value, r.status) for r in source.read()] for _ in range(3)]
    assert values[1] == [(None, Status.ERROR)] * 3
    assert values[0][0] == (3600.0, Status.OK)
    assert values[2][0] == (pytest.approx(10_800.0), Status.OK)


def test_total_that_is_not_a_number_is_a_status() -> None:
    module, made = library()
    source = CodeCarbonSource(module, "3.3.2")
    source.open()
    made[0]._set = lambda: setattr(  # type: ignore[method-assign]
        made[0], "_total_energy", SimpleNamespace(kWh=float("nan"))
    )
    assert [r.status for r in source.read()] == [Status.ERROR, Status.OK, Status.OK]


def test_swallowed_failure_of_start_is_told() -> None:
    module, made = library(swallows_start=True)
    with pytest.raises(WattproofError, match=r"Code Carbon 3\.3\.2 did not start.*remove"):
        CodeCarbonSource(module, "3.3.2").open()
    assert made[0]._scheduler_monitor_power.stopped == 1
    with pytest.raises(WattproofError, match="did not start"):
        CodeCarbonSource(
            SimpleNamespace(OfflineEmissionsTracker=lambda **_: SimpleNamespace()), "9.9"
        ).open()


def test_absent_package_and_virtual_node_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "codecarbon" in names()
    monkeypatch.setitem(__import__("sys").modules, "codecarbon", None)
    with pytest.raises(WattproofError, match=r"pip install 'wattproof\[codecarbon\]'"):
        create("codecarbon", {}, real_endpoints())
    virtual = Endpoints(None, None, Path("/nowhere"), None, simulated=True)
    with pytest.raises(WattproofError, match="virtual node"):
        create("codecarbon", {}, virtual)


@needs_library
def test_real_library_no_network_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    dialled: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _self, address: dialled.append(address))
    source = create("codecarbon", {"period_s": 0.5, "country": "DEU"}, real_endpoints())
    described = source.open()
    assert described.identity["version"][0].isdigit()
    assert described.identity["ram_w"] >= 3.0
    first = {r.channel: r.value for r in source.read()}
    begin = time.monotonic()
    time.sleep(1.2)  # the library's own timer (0.5 s) would have measured by now
    second = {r.channel: r.value for r in source.read()}
    seconds = time.monotonic() - begin
    ram_w = (second["codecarbon.ram"] - first["codecarbon.ram"]) / seconds  # type: ignore[operator]
    assert ram_w == pytest.approx(described.identity["ram_w"], rel=0.05)
    total = sum(v for k, v in second.items() if k != "codecarbon.node" and v is not None)
    assert second["codecarbon.node"] == pytest.approx(total)
    source.close()
    end = time.monotonic() + 5
    while threading.active_count() > 1 and time.monotonic() < end:
        time.sleep(0.05)
    assert dialled == []
    assert list(tmp_path.rglob("*")) == []


@needs_library
def test_real_library_in_the_recorder(tmp_path: Path) -> None:
    node = {"kind": "real", "dir": None}
    with Recorder(tmp_path, {"codecarbon": {"period_s": 0.25}}, node):
        time.sleep(2.0)
    sealed = seal_session(tmp_path, "r", 0)
    (health,) = sealed["health"].to_pylist()
    assert health["outcome"] == "ok"
    assert health["failed"] == 0
    assert health["taken"] >= 4
    samples = sealed["samples"]
    node_j = samples.filter(pc.equal(samples["channel"], "codecarbon.node"))["value"].to_pylist()
    assert node_j == sorted(node_j)
    assert node_j[-1] > node_j[0] > 0
    channel = sealed["channels"].to_pylist()[0]
    assert json.loads(channel["identity"])["estimator"] is True


@needs_library
def test_real_library_sums_all_gpus_of_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four GPUs at 100 … 400 W on the stub driver, one of them visible to this job: 1000 W."""
    from stub_nvml import PowerScript, StubDriver, StubGpu

    gpus = [StubGpu(uuid=f"GPU-{i}", name="NVIDIA H100 80GB HBM3") for i in range(4)]
    driver = StubDriver.build(tmp_path / "stub", gpus=gpus)
    for name, value in driver.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    begin_ns = time.monotonic_ns()
    for number in range(4):
        watts = 100.0 * (number + 1)
        driver.play(gpu=number, script=PowerScript(begin_ns, [(1.0, watts)], then=watts))
    node = {"kind": "real", "dir": None}
    with Recorder(tmp_path / "session", {"codecarbon": {"period_s": 0.5}}, node):
        time.sleep(3.5)
    sealed = seal_session(tmp_path / "session", "r", 0)
    identity = json.loads(sealed["channels"].to_pylist()[0]["identity"])
    assert (identity["gpu_count"], identity["gpus"]) == (4, "4 x NVIDIA H100 80GB HBM3")
    samples = sealed["samples"]
    gpu = samples.filter(pc.equal(samples["channel"], "codecarbon.gpu")).to_pylist()
    seconds = (gpu[-1]["end_ns"] - gpu[0]["end_ns"]) / 1e9
    # The counter steps each 100 ms, so either edge may be that much off.
    assert (gpu[-1]["value"] - gpu[0]["value"]) / seconds == pytest.approx(1000, rel=0.25 / seconds)
