"""Archives for the tests: a real `wattproof meter` on a simulated LMG, or files with known rows."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sources"))

from lmg_device import Device
from lmg_simulator import LmgSimulator

from wattproof.archive import index
from wattproof.archive.tail import Tail
from wattproof.recorder.rotation import file_name
from wattproof.recorder.streams import Row, StreamWriter
from wattproof.sources.base import Channel, Description

CYCLE_S = 0.05


class Meter:
    """A running `wattproof meter`."""

    def __init__(
        self, port: str, archive: Path, log: Path, *more: str, preexec: Any = None
    ) -> None:
        self.archive = archive
        self.log = log
        command = [sys.executable, "-c", "from wattproof.cli import main; main()", "meter"]
        command += ["--driver", "lmg450", "--port", port, f"cycle_s={CYCLE_S}"]
        command += ["--archive", str(archive), *more]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=out, preexec_fn=preexec
            )

    def wait_for(self, condition: Callable[[], Any], limit_s: float = 25.0) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < end, self.told()
            time.sleep(0.05)

    def has(self, files: int) -> None:
        """Wait until so many files are there."""
        self.wait_for(lambda: len(index.present(self.archive)) >= files)

    def has_rows(self, count: int) -> None:
        """Wait until so many rows are in the files."""
        self.wait_for(lambda: len(rows(self.archive)) >= count)

    def told(self) -> str:
        return self.log.read_text()

    def source(self) -> psutil.Process:
        """The process that reads the meter."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        (found,) = [c for c in children if "wattproof.recorder" in " ".join(c.cmdline())]
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(15)


@contextlib.contextmanager
def metered(
    folder: Path, *more: str, preexec: Any = None, disk: Path | None = None
) -> Iterator[tuple[Device, Meter]]:
    """Run a simulated LMG450 and a `wattproof meter` that archives it.

    Args:
        folder: For the simulated port, and for the folder ``archive`` unless `disk` is given.
        more: Further options of the command.
        preexec: Called in the new process.
        disk: Where the archive goes.
    """
    device = Device()
    with LmgSimulator(device, folder / "tty") as line:
        archive = (disk or folder) / "archive"
        meter = Meter(line.port, archive, folder / "meter.log", *more, preexec=preexec)
        try:
            yield device, meter
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(meter.process.pid).children(recursive=True):
                    child.kill()
            if meter.process.poll() is None:
                meter.process.kill()
            meter.process.wait()


def rows(archive: Path) -> list[dict[str, Any]]:
    """Every row of an archive, in the order of the files."""
    found: list[dict[str, Any]] = []
    for name in index.present(archive):
        table = Tail(index.parts(archive) / name).read()
        found += [] if table is None else table.to_pylist()
    return found


def stamp_index(device: Device, stamp_ns: int) -> int:
    """The cycle of the simulated device that a stamp belongs to."""
    ticks = round(stamp_ns * device.hz / 1e9)
    nearest = min(device.cycles, key=lambda cycle: abs(cycle.stamp - ticks))
    assert abs(nearest.stamp - ticks) <= 2
    return nearest.index


def write_part(
    archive: Path,
    rows_of_part: Sequence[Row],
    channels: Sequence[Channel],
    about: dict[str, Any],
    ended: bool = True,
) -> Path:
    """Write one file of an archive with known rows."""
    index.parts(archive).mkdir(parents=True, exist_ok=True)
    path = index.parts(archive) / file_name(rows_of_part[0][4])
    identity = {"model": "TEST-1", "serial": "S1", "archive": {"pacing": "stream", **about}}
    writer = StreamWriter(path, Description(identity, tuple(channels), simulated=True))
    writer.append(rows_of_part)
    writer.flush()
    if ended:
        writer.close()
    else:
        os.close(writer._file)
    return path
