"""The registry of sources and meters, and the host source."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from wattproof import sources
from wattproof.errors import WattproofError
from wattproof.sources import meters, procstat
from wattproof.sources.base import Source, Status
from wattproof.sources.host import HostSource

NOWHERE = sources.Endpoints(
    nvml=None, smi_command=None, powercap_root=Path("/nonexistent"), meter_port=None, simulated=True
)
SOMEWHERE = sources.Endpoints(
    nvml=SimpleNamespace(),
    smi_command=["nvidia-smi"],
    powercap_root=Path("/nonexistent"),
    meter_port="/dev/null",
    simulated=True,
)
SETTINGS: dict[str, dict[str, Any]] = {"meter": {"driver": "lmg450"}}


@pytest.mark.parametrize("name", sources.names())
def test_every_registered_source_can_be_made(name: str) -> None:
    # Code Carbon finds its drivers by itself: never those of a virtual node.
    endpoints = replace(SOMEWHERE, simulated=name != "codecarbon")
    source = sources.create(name, SETTINGS.get(name, {}), endpoints)
    assert isinstance(source, Source)
    assert source.name == name
    source.close()  # before open: must be safe


def test_names() -> None:
    assert sources.names() == ["codecarbon", "host", "meter", "nvml", "rapl", "smi"]
    assert "lmg450" in meters.names()


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("nvmll", {}, "Did you mean 'nvml'"),
        ("meter", {"driver": "lmg45"}, r"sources\.meter\.driver.*Did you mean 'lmg450'"),
        ("meter", {"driver": "lmg450", "port": "auto"}, r"sources\.meter\.port"),
        ("nvml", {}, "pip install nvidia-ml-py"),
        ("smi", {}, "PATH"),
    ],
)
def test_mistakes_name_the_key_or_the_remedy(
    name: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(WattproofError, match=words):
        sources.create(name, settings, NOWHERE)


def test_unknown_mode_of_smi() -> None:
    with pytest.raises(WattproofError, match=r"sources\.smi\.mode"):
        sources.create("smi", {"mode": "burst"}, SOMEWHERE)


def test_host_measures_this_machine_and_is_never_simulated() -> None:
    source = sources.create("host", {"period_s": 0.25}, SOMEWHERE)
    description = source.open()
    time.sleep(0.05)  # some ticks
    assert not description.simulated
    values = {r.channel: r for r in source.read()}
    assert {c.name for c in description.channels} == set(values)
    memory = values["memory.used"].value
    assert memory is not None
    assert 0 < memory < psutil.virtual_memory().total
    load = values["cpu.load"].value
    assert load is not None
    assert 0.0 <= load <= 100.0


class FakePsutil:
    Error = psutil.Error

    def __init__(self, mhz: float | None) -> None:
        self.mhz = mhz
        self.broken = False

    def cpu_percent(self, interval: None) -> float:
        if self.broken:
            raise OSError("gone")
        return 12.5

    def cpu_count(self) -> int:
        return 4

    def virtual_memory(self) -> Any:
        return SimpleNamespace(total=8 * 2**30, available=6 * 2**30)

    def cpu_freq(self) -> Any:
        return None if self.mhz is None else SimpleNamespace(current=self.mhz)


@pytest.mark.parametrize("mhz", [None, 0.0])
def test_host_without_frequency_leaves_the_channel_out(mhz: float | None) -> None:
    source = HostSource(FakePsutil(mhz), stat=None)
    assert {c.name for c in source.open().channels} == {"cpu.load", "memory.used"}
    assert {r.channel for r in source.read()} == {"cpu.load", "memory.used"}


def test_host_units_and_failure() -> None:
    fake = FakePsutil(2500.0)
    source = HostSource(fake, stat=None)
    source.open()
    values = {r.channel: r.value for r in source.read()}
    assert values == {"cpu.load": 12.5, "memory.used": 2 * 2**30, "cpu.frequency": 2.5e9}
    fake.broken = True
    load = source.read()[0]
    assert (load.value, load.status) == (None, Status.ERROR)


def stat_line(busy: int, idle: int) -> str:
    return f"cpu  {busy} 0 0 {idle} 0 0 0 0 {busy} 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n"


def test_load_from_the_kernels_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 100 Hz a read sees a tick or none: the load is that of the last tenth of a second."""
    now = [10**12]
    monkeypatch.setattr(procstat.time, "monotonic_ns", lambda: now[0])
    path = tmp_path / "stat"
    path.write_text(stat_line(500, 700))
    stat = procstat.ProcStat(path)
    assert stat.percent() is None
    assert stat.percent() is None, "no tick has passed: no value, not 0"
    found: list[float | None] = []
    for tick in range(1, 41):  # busy for 200 ms, then idle
        now[0] += 10_000_000
        path.write_text(stat_line(500 + 2 * min(tick, 20), 700 + 2 * max(tick - 20, 0)))
        found.append(stat.percent())
    assert found[:20] == [100.0] * 20
    assert found[24] == pytest.approx(50.0)
    assert found[29:] == pytest.approx([0.0] * 11)
    path.write_text("cpu 1 2\n")
    with pytest.raises(ValueError, match="fewer columns"):
        stat.percent()
    stat.close()


def test_load_agrees_with_psutil() -> None:
    source = HostSource(psutil, 0.25)
    source.open()
    psutil.cpu_percent(None)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    theirs = psutil.cpu_percent(None)
    ours = source.read()[0].value
    source.close()
    assert ours == pytest.approx(theirs, abs=15)
