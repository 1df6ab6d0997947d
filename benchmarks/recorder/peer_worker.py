"""One peer at work, in the peers' environment: ``peer_worker.py NAME PLAN OUT [CHAIN]``.

Prints ``ready``, reads the start (monotonic ns) from standard input, works until the script ends,
and writes the energies of the windows. Needs nothing of wattproof.

Windows of tools that work by window are real calls at those times; a window then counts from the
middle of the call that began it to the middle of the call that ended it, which is what favours
the tool most. Series of tools that sample are cut at the windows afterwards, by the tool's rule.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil

NS_PER_S = 1_000_000_000
J_PER_KWH = 3.6e6


def cpu_s() -> float:
    """CPU seconds of this process and all its children, dead or alive."""
    total = 0.0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        t = process.cpu_times()
        total += t.user + t.system + t.children_user + t.children_system
    return total


def sleep_until(instant_ns: int) -> None:
    """Sleep until a monotonic instant."""
    left_s = (instant_ns - time.monotonic_ns()) / NS_PER_S
    if left_s > 0:
        time.sleep(left_s)


class Peer:
    """A tool: `prepare`, then `run`, which returns windows and counts."""

    def __init__(self, plan: dict[str, Any], chain: int | None) -> None:
        self.plan = plan
        self.windows: list[dict[str, Any]] = plan["windows"]
        if chain is not None:
            wanted = set(plan["chains"][chain])
            self.windows = [window for window in self.windows if window["id"] in wanted]

    def prepare(self) -> None:
        """Do what takes long."""

    def run(self, start_ns: int) -> dict[str, Any]:
        """Work until the script ends."""
        raise NotImplementedError

    def spans_ns(self, start_ns: int) -> list[tuple[dict[str, Any], int, int]]:
        """Windows with their edges as planned."""
        return [
            (w, start_ns + round(w["start_s"] * NS_PER_S), start_ns + round(w["end_s"] * NS_PER_S))
            for w in self.windows
        ]

    def end_ns(self, start_ns: int) -> int:
        """End of the script."""
        return start_ns + round(self.plan["duration_s"] * NS_PER_S)


class Edges(Peer):
    """Tools that are called at the edges of a window."""

    def begin(self, key: str) -> None:
        raise NotImplementedError

    def end(self, key: str) -> float:
        """Return the energy in joules."""
        raise NotImplementedError

    def run(self, start_ns: int) -> dict[str, Any]:
        events = []
        for window, begin_ns, end_ns in self.spans_ns(start_ns):
            events += [(begin_ns, False, window), (end_ns, True, window)]
        events.sort(key=lambda event: event[0])
        begun: dict[int, int] = {}
        rows = []
        for instant_ns, is_end, window in events:
            sleep_until(instant_ns)
            key = f"window {window['id']}"
            before = time.monotonic_ns()
            energy_j = self.end(key) if is_end else self.begin(key)
            middle = (before + time.monotonic_ns()) // 2
            if is_end:
                edges = {"start_ns": begun.pop(window["id"]), "end_ns": middle}
                rows.append({"id": window["id"], "energy_j": energy_j, **edges})
            else:
                begun[window["id"]] = middle
        sleep_until(self.end_ns(start_ns))
        return {"windows": rows}


class ZeusWindows(Edges):
    """Zeus: ZeusMonitor, the counter at the window's edges."""

    def prepare(self) -> None:
        from zeus.monitor import ZeusMonitor

        self.monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])

    def begin(self, key: str) -> None:
        self.monitor.begin_window(key, sync_execution=False)

    def end(self, key: str) -> float:
        return float(self.monitor.end_window(key, sync_execution=False).gpu_energy[0])


class CodeCarbon(Edges):
    """Code Carbon: offline tracker, a task for each window of a chain."""

    def prepare(self) -> None:
        from codecarbon import OfflineEmissionsTracker

        self.tracker = OfflineEmissionsTracker(
            country_iso_code="DEU",
            gpu_ids=[0],
            save_to_file=False,
            log_level="critical",
            allow_multiple_runs=True,
            measure_power_secs=1,
        )
        self.tracker.start_task("warm-up")
        self.tracker.stop_task("warm-up")

    def begin(self, key: str) -> None:
        self.tracker.start_task(key)

    def end(self, key: str) -> float:
        return float(self.tracker.stop_task(key).gpu_energy) * J_PER_KWH


class ZeusPower(Peer):
    """Zeus: PowerMonitor, polled instant power, integrated by its own `get_energy`.

    The period is given: with the default (None), 0.16.0 infers 0 s and polls without a pause.
    """

    period_s = 0.05

    def prepare(self) -> None:
        from zeus.monitor.power import PowerMonitor

        self.monitor = PowerMonitor(
            gpu_indices=[0], update_period=self.period_s, power_domains=["device_instant"]
        )

    def run(self, start_ns: int) -> dict[str, Any]:
        sleep_until(self.end_ns(start_ns))
        wall_s = time.time() - time.monotonic()
        cpu_end_s = cpu_s()
        rows = []
        for window, begin_ns, end_ns in self.spans_ns(start_ns):
            span_s = (begin_ns / NS_PER_S + wall_s, end_ns / NS_PER_S + wall_s)
            energy = self.monitor.get_energy(*span_s)
            rows.append(
                {
                    "id": window["id"],
                    "energy_j": None if energy is None else energy[0],
                    "start_ns": begin_ns,
                    "end_ns": end_ns,
                }
            )
        first_s, last_s = (t / NS_PER_S + wall_s for t in (start_ns, self.end_ns(start_ns)))
        line = self.monitor.get_power_timeline("device_instant", 0, first_s, last_s)[0]
        self.monitor.stop()
        return {"windows": rows, "samples": len(line), "cpu_end_s": cpu_end_s}


class Series(Peer):
    """Tools with a series of (instant, watts)."""

    period_s = 0.1

    def prepare(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        self.nvml = pynvml
        self.handle = pynvml.nvmlDeviceGetHandleByIndex(0)

    def power_w(self) -> float:
        """What most tools read, without recording what it means on this board."""
        return float(self.nvml.nvmlDeviceGetPowerUsage(self.handle)) / 1e3

    def collect(self, start_ns: int) -> list[tuple[int, float]]:
        """Sample until the script ends."""
        raise NotImplementedError

    def energy_j(self, rows: list[tuple[int, float]], begin_ns: int, end_ns: int) -> float | None:
        """The tool's rule."""
        raise NotImplementedError

    def run(self, start_ns: int) -> dict[str, Any]:
        rows = self.collect(start_ns)
        cpu_end_s = cpu_s()
        windows = [
            {
                "id": window["id"],
                "energy_j": self.energy_j(rows, begin_ns, end_ns),
                "start_ns": begin_ns,
                "end_ns": end_ns,
            }
            for window, begin_ns, end_ns in self.spans_ns(start_ns)
        ]
        inside = sum(start_ns <= t < self.end_ns(start_ns) for t, _ in rows)
        return {"windows": windows, "samples": inside, "cpu_end_s": cpu_end_s}


class JpwrStyle(Series):
    """jpwr's loop: the pause is reckoned from the sample before (case F13), right-hand rectangles.

    A window of its own would begin with a sample and end with the loop's last one: a sample is
    taken at the beginning of each window.
    """

    def collect(self, start_ns: int) -> list[tuple[int, float]]:
        rows: list[tuple[int, float]] = []
        extra = threading.Thread(target=self._at_beginnings, args=(start_ns,), daemon=True)
        self.first: dict[int, tuple[int, float]] = {}
        extra.start()
        end_ns = self.end_ns(start_ns)
        before = time.time()
        while time.monotonic_ns() < end_ns:
            watts = self.power_w()
            now = time.time()
            rows.append((time.monotonic_ns(), watts))
            time.sleep(max(0.0, self.period_s - (now - before)))
            before = now
        extra.join()
        return rows

    def _at_beginnings(self, start_ns: int) -> None:
        for _, begin_ns, _ in sorted(self.spans_ns(start_ns), key=lambda span: span[1]):
            sleep_until(begin_ns)
            watts = self.power_w()
            self.first[begin_ns] = (time.monotonic_ns(), watts)

    def energy_j(self, rows: list[tuple[int, float]], begin_ns: int, end_ns: int) -> float | None:
        first_ns = self.first[begin_ns][0]
        inside = [self.first[begin_ns], *(row for row in rows if first_ns < row[0] < end_ns)]
        pairs = itertools.pairwise(inside)
        return sum(b[1] * (b[0] - a[0]) for a, b in pairs) / NS_PER_S


class PerunStyle(Series):
    """perun's loop (own process, waits period minus the read) and regions cut by interpolation."""

    def collect(self, start_ns: int) -> list[tuple[int, float]]:
        rows: list[tuple[int, float]] = []
        stop = threading.Event()
        end_ns = self.end_ns(start_ns)
        while True:
            now = time.monotonic_ns()
            rows.append((now, self.power_w()))
            if now >= end_ns:
                return rows
            stop.wait(max(0.0, self.period_s - (time.monotonic_ns() - now) / NS_PER_S))

    def energy_j(self, rows: list[tuple[int, float]], begin_ns: int, end_ns: int) -> float | None:
        import numpy as np

        origin = rows[0][0]
        t = np.array([row[0] - origin for row in rows]).astype("float32")  # case F28
        t *= 1e-9
        watts = np.array([row[1] for row in rows])
        begin, end = ((edge - origin) / NS_PER_S for edge in (begin_ns, end_ns))
        cut = np.concatenate([[begin], t[(t >= begin) & (t <= end)], [end]])
        return float(np.trapezoid(np.interp(cut, t, watts), x=cut))


class SmiProcesses(Series):
    """One nvidia-smi process per sample, as EA-HAS-Bench does: mean of the samples × duration."""

    def prepare(self) -> None:
        self._call()

    def _call(self) -> float | None:
        output = subprocess.run(["nvidia-smi", "-q", "-x"], capture_output=True, check=True).stdout
        root = ElementTree.fromstring(output)
        text = root.findtext("gpu/gpu_power_readings/average_power_draw") or ""
        return float(text.removesuffix("W"))

    def collect(self, start_ns: int) -> list[tuple[int, float]]:
        rows = []
        end_ns = self.end_ns(start_ns)
        while time.monotonic_ns() < end_ns:
            time.sleep(self.period_s)
            watts = self._call()
            rows.append((time.monotonic_ns(), watts))
        return rows

    def energy_j(self, rows: list[tuple[int, float]], begin_ns: int, end_ns: int) -> float | None:
        inside = [watts for t, watts in rows if begin_ns <= t < end_ns]
        if not inside:
            return None
        return sum(inside) / len(inside) * (end_ns - begin_ns) / NS_PER_S


PEERS: dict[str, type[Peer]] = {
    "zeus_windows": ZeusWindows,
    "zeus_power": ZeusPower,
    "codecarbon": CodeCarbon,
    "jpwr_style": JpwrStyle,
    "perun_style": PerunStyle,
    "smi_processes": SmiProcesses,
}


def main() -> None:
    name, plan, out = sys.argv[1:4]
    chain = int(sys.argv[4]) if len(sys.argv) > 4 else None
    peer = PEERS[name](json.loads(Path(plan).read_text(encoding="utf-8")), chain)
    peer.prepare()
    print("ready", flush=True)
    start_ns = int(sys.stdin.readline())
    sleep_until(start_ns)
    cpu_start_s, began = cpu_s(), time.monotonic()
    result = peer.run(start_ns)
    duration_s = time.monotonic() - began
    result["cpu_s"] = result.pop("cpu_end_s", None) or cpu_s()
    result["cpu_s"] -= cpu_start_s
    result["duration_s"] = duration_s
    if isinstance(peer, Series | ZeusPower):
        result["expected"] = round(peer.plan["duration_s"] / peer.period_s)
    Path(out).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
