"""`wattproof meter` as a real process on a simulated LMG450: rotation, deaths, disks, refusals."""

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from archive_bench import CYCLE_S, Device, Meter, metered, rows

from wattproof.archive import index, show
from wattproof.archive.index import ENDED, KILLED
from wattproof.cli import main


def cli(*arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", "from wattproof.cli import main; main()", "meter", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def watts(archive: Path) -> list[float]:
    return [row["value"] for row in rows(archive) if row["status"] == "ok"]


def assert_each_cycle_once(found: list[float], device: Device) -> None:
    """Values are those of consecutive cycles of the device, each once, none missing."""
    truth = [round(cycle.watts, 3) for cycle in device.cycles if cycle.fate == "good"]
    found = [round(value, 3) for value in found]
    assert found[0] in truth
    first = truth.index(found[0])
    assert found == truth[first : first + len(found)]


def test_rotation_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with metered(tmp_path, "--rotate", "1s", "--status-every", "1s") as (device, meter):
        meter.has(5)
        code, _, told = cli("--driver", "lmg450", "--port", "x", "--archive", str(meter.archive))
        assert code == 1
        assert re.search(r"Another `wattproof meter` \(process \d+ on .*\) writes", told)
        source = meter.source()
        assert meter.stop() == 0
        assert not source.is_running()
        good = sum(cycle.fate == "good" for cycle in device.cycles)
    found = watts(meter.archive)
    assert_each_cycle_once(found, device)
    assert len(found) >= good - 2  # the last line may be on the wire when the process is stopped
    entries = index.load(meter.archive)
    assert [entry.file for entry in entries] == index.present(meter.archive)
    assert all(entry.state == ENDED for entry in entries)
    assert sum(entry.good for entry in entries) == len(found)
    assert sum(entry.gaps for entry in entries) == 0
    status = [line for line in meter.told().splitlines() if "samples" in line]
    assert re.search(r"node\.ac 100\.\d+ W; \d+ samples, 0 failed, 0 gaps, \d+ files", status[-1])
    assert "stopped" in status[-1]
    code, out, _ = cli("--show", str(meter.archive))
    assert code == 0
    assert f"samples  {len(found)} good, 0 failed" in out
    assert "SIM-42" in out
    assert "being written" not in out


def test_killed_processes(tmp_path: Path) -> None:
    """The keeper alone: nothing is lost. The reader: a second at most, and it starts again."""
    with metered(tmp_path, "--rotate", "1h") as (device, meter):
        meter.has_rows(20)
        source = meter.source()
        assert meter.stop(signal.SIGKILL) == -signal.SIGKILL
        psutil.wait_procs([source], timeout=10)  # its leash is gone: it closes its file and ends
        assert not source.is_running()
        first = watts(meter.archive)
        assert_each_cycle_once(first, device)

        again = Meter(str(tmp_path / "tty"), meter.archive, tmp_path / "2.log", "--rotate", "1h")
        try:
            again.has_rows(len(first) + 20)
            assert "being written" in show(meter.archive)
            sent = len([c for c in device.cycles if c.fate == "good"])
            again.source().send_signal(signal.SIGKILL)
            # (The device began a new stream for the second start: cycles in between were not sent.)
            assert sent - len(watts(meter.archive)) <= 1.5 / CYCLE_S
            again.has(3)
            again.wait_for(lambda: "(it was killed); starting it again" in again.told())
        finally:
            assert again.stop(signal.SIGINT) == 0
    entries = index.load(meter.archive)
    assert [entry.state for entry in entries] == [ENDED, KILLED, ENDED]
    assert entries[0].good == len(first)
    values = watts(meter.archive)
    assert values == sorted(set(values))
    told = show(meter.archive)
    assert "2 gaps " in told
    assert "killed   1 files have no end" in told


def small_files() -> None:
    """A disk that takes no more than 5 kB in a file, as a stand-in for a full one."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))


def test_full_disk_is_told_once_and_survived(tmp_path: Path) -> None:
    with metered(tmp_path, "--rotate", "1h", preexec=small_files) as (device, meter):
        meter.has(2)
        meter.wait_for(lambda: "File too large" in meter.told())
        assert meter.stop() == 0
        good = [round(c.watts, 3) for c in device.cycles if c.fate == "good"]
    lines = [line for line in meter.told().splitlines() if "File too large" in line]
    assert len(lines) == 1
    assert "Cannot write the stream" in lines[0]
    assert "Traceback" not in meter.told()
    found = [round(value, 3) for value in watts(meter.archive)]
    assert len(found) == len(set(found)) > 10
    assert set(found) <= set(good)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk with room for 80 kB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=80k", "tmpfs", str(folder)]
    made = subprocess.run(["mount", *options], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_really_full_disk_is_told_once_and_archiving_goes_on_with_room(
    tmp_path: Path, small_disk: Path
) -> None:
    ballast = small_disk / "ballast"
    with metered(tmp_path, "--rotate", "2s", "--status-every", "2s", disk=small_disk) as (
        device,
        meter,
    ):
        meter.has(2)
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 8192))
        meter.wait_for(lambda: "is full; what the meter sends is lost" in meter.told())
        meter.wait_for(lambda: "NO GOOD VALUE FOR" in meter.told())
        before = len(watts(meter.archive))
        ballast.unlink()
        meter.wait_for(lambda: len(watts(meter.archive)) > before + 40, limit_s=60)
        assert meter.stop() == 0
    told = [line for line in meter.told().splitlines() if "samples" not in line]
    assert len(told) <= 3, told  # "archiving to", "the disk is full", and perhaps a restart
    assert sum("is full" in line for line in told) == 1
    values = [round(value, 3) for value in watts(meter.archive)]
    assert len(values) == len(set(values))
    assert set(values) <= {round(c.watts, 3) for c in device.cycles if c.fate == "good"}
    assert [e.file for e in index.load(meter.archive)] == index.present(meter.archive)
    assert "1 gap " in show(meter.archive)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Give --archive and a folder"),
        (("--archive", "{}/a"), "Which meter? Give --driver"),
        (("--archive", "{}/a", "--driver", "lmg540"), "unknown meter 'lmg540'. Did you mean"),
        (("--archive", "{}/a", "--driver", "lmg450", "cycles=1"), "unknown key 'sources.meter.cyc"),
        (("--archive", "{}/a", "--driver", "lmg450", "cycle_s"), "not of the form key=value"),
        (("--archive", "{}/a", "--driver", "lmg450", "--rotate", "1y"), "such as 90s, 15min, 1h"),
        (("--archive", "{}/a", "--driver", "archive", "folder=x"), "reads an archive; give the dr"),
        (("--archive", "/proc/nowhere", "--driver", "lmg450", "--port", "x"), "cannot be written"),
        (
            ("--archive", "{}/a", "--driver", "lmg450", "--port", "{}/tty9"),
            "no serial port {}/tty9",
        ),
        (("--archive", "{}/a", "--driver", "lmg450", "--keep", "1s"), "shorter than --rotate"),
        (("--show", "{}/nowhere"), "There is no folder {}/nowhere"),
        (("--show", "{}"), "not an archive of `wattproof meter`"),
    ],
)
def test_mistakes_end_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    words = [word.replace("{}", str(tmp_path)) for word in arguments]
    monkeypatch.setattr(sys, "argv", ["wattproof", "meter", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, told = capfd.readouterr()
    assert (ended.value.code, out) == (1, "")
    assert told.count("\n") == 1
    assert sentence.replace("{}", str(tmp_path)) in told


def test_settings_from_a_campaign_and_from_options(tmp_path: Path) -> None:
    from wattproof.cli.meter import _settings

    campaign = tmp_path / "c.yaml"
    campaign.write_text("sources:\n  meter: {driver: lmg450, port: /dev/ttyS9, cycle_s: 0.5}\n")
    found: dict[str, Any] = _settings(None, None, ["channels=[1,2]", "cycle_s=0.25"], campaign)
    assert found["port"] == "/dev/ttyS9"
    assert (found["cycle_s"], found["channels"]) == (0.25, [1, 2])
    assert _settings("lmg450", "p", [], None)["driver"] == "lmg450"


def like_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_old_files_go_by_age_and_only_then(tmp_path: Path) -> None:
    with metered(tmp_path, "--rotate", "1s", "--keep", "1s", preexec=like_nohup) as (device, meter):
        meter.has(1)
        meter.process.send_signal(signal.SIGHUP)  # the terminal is closed
        meter.has(2)
        first = index.present(meter.archive)[0]
        meter.wait_for(lambda: first not in index.present(meter.archive))
        assert first not in [entry.file for entry in index.load(meter.archive)]
        assert meter.stop() == 0
        now_ns = time.time_ns()
    kept = index.load(meter.archive)
    assert [entry.file for entry in kept] == index.present(meter.archive)
    assert all((entry.last_wall_ns or 0) > now_ns - 6e9 for entry in kept)
    assert_each_cycle_once(watts(meter.archive), device)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_minutes_of_rotation_without_growth(tmp_path: Path) -> None:
    """Three minutes with a file a second: as many rotations as in a week of hours."""
    with metered(tmp_path, "--rotate", "1s", "--keep", "60s", "--status-every", "10s") as (
        device,
        meter,
    ):
        meter.has(10)
        watched = [psutil.Process(meter.process.pid), meter.source()]
        time.sleep(30)
        before = [process.memory_info().rss for process in watched]
        handles = [process.num_fds() for process in watched]
        time.sleep(150)
        growth = [p.memory_info().rss - b for p, b in zip(watched, before, strict=True)]
        assert [process.num_fds() for process in watched] == handles
        cpu_s = [sum(process.cpu_times()[:2]) for process in watched]
        assert meter.stop() == 0
    (tmp_path / "growth.json").write_text(json.dumps({"growth_bytes": growth, "cpu_s": cpu_s}))
    assert max(growth) < 3 * 2**20
    assert len(index.present(meter.archive)) < 75
    assert_each_cycle_once(watts(meter.archive), device)
