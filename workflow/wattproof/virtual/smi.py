"""An executable that answers like ``nvidia-smi``, SIMULATED, for one virtual node.

    python -S -E smi.py NODE_DIR [-q -x | --query-gpu=FIELDS --format=csv[,noheader][,nounits]]
                                 [-i INDEX_OR_UUID] [-lms MILLISECONDS | -l SECONDS]

Standard library only, and little of it: it is started once a sample.

INJECTED FAULT (arXiv 2505.15631 saw nvidia-smi flip between a low and a high power state while
the meter did not; why is not known). Time is cut into periods of ``smi.hold_s``; in a share
``smi.stall_probability`` of them, chosen by a seeded hash, a call stalls for ``smi.stall_s`` and
then returns the power of the last moment before the call at which the GPU was at or near idle.
"""

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

if __package__:
    from wattproof.virtual import formula, logtail
else:  # run as a script: its folder is on the path
    import formula  # type: ignore[import-not-found, no-redef]
    import logtail  # type: ignore[import-not-found, no-redef]

DRIVER_VERSION = "SIMULATED"
BAD_USAGE = 2


class UsageError(Exception):
    """The arguments are not understood; the text is what the tool prints."""


class Node:
    """The virtual node as this tool sees it.

    Args:
        spec: Contents of ``node.json``.
        fd: Descriptor of the event log; -1 to ask for no state of a GPU.
    """

    def __init__(self, spec: dict[str, Any], fd: int = -1) -> None:
        self.spec = spec
        self.gpu: dict[str, Any] = spec["parameters"]["gpu"]
        self.nvml: dict[str, Any] = spec["parameters"]["nvml"]
        self.smi: dict[str, Any] = spec["parameters"]["smi"]
        self.boards: list[dict[str, Any]] = spec["boards"]
        self.fd = fd

    @classmethod
    def load(cls, node_dir: str) -> Node:
        """Read ``node.json`` of a folder."""
        with open(os.path.join(node_dir, "node.json"), encoding="utf-8") as handle:
            spec = json.load(handle)
        return cls(spec, os.open(spec["activity"], os.O_RDONLY))

    def idle_rows(self) -> list[dict[str, Any]]:
        """What the tool knows of each GPU whatever its state, which is shown as idle."""
        state = dict.fromkeys(("average", "instant"), self.power_w(0.0, 0.0))
        state |= {"utilisation": 0.0, "memory": 0.0}
        return [self._row(slot, state) for slot in range(len(self.boards))]

    def power_w(self, compute: float, memory: float) -> float:
        """True power of a GPU under this load."""
        gpu = self.gpu
        power: float = formula.gpu_power_w(
            compute,
            memory,
            gpu["idle_w"],
            gpu["limit_w"],
            gpu["compute_weight"],
        )
        return power

    def stall_s(self, now_ns: int) -> float:
        """How long a call that begins now stalls; 0 in a good period."""
        smi = self.smi
        stall_s: float = formula.stall_s(
            now_ns,
            self.spec["t0_ns"],
            self.spec["smi_seed"],
            smi["hold_s"],
            smi["stall_probability"],
            smi["stall_s"],
        )
        return stall_s

    def query(self, slots: list[int]) -> list[dict[str, Any]]:
        """One query of some GPUs, the injected fault included."""
        called_ns = time.monotonic_ns()
        stall_s = self.stall_s(called_ns)
        if stall_s > 0:
            time.sleep(stall_s)
            return [self._row(slot, self._low_state(slot, called_ns)) for slot in slots]
        return [self._row(slot, self._present(slot, called_ns)) for slot in slots]

    def _present(self, slot: int, now_ns: int) -> dict[str, float]:
        board, nvml = self.boards[slot], self.nvml
        period_ns = round(nvml["update_period_s"] * 1e9)
        tick_ns = formula.last_tick_ns(
            now_ns, board["phase_ns"], period_ns, round(nvml["latency_s"] * 1e9)
        )

        def mean(window_s: float, of: Any) -> float:
            begin_ns = tick_ns - round(window_s * 1e9)
            return logtail.mean_power_w(self.fd, slot, begin_ns, tick_ns, of)

        period_s = nvml["update_period_s"]
        return {
            "average": mean(nvml["average_window_s"], self.power_w),
            "instant": mean(nvml["instant_window_s"], self.power_w),
            "utilisation": mean(period_s, lambda c, _: formula.utilisation(c)),
            "memory": mean(period_s, lambda _, m: m),
        }

    def _low_state(self, slot: int, before_ns: int) -> dict[str, float]:
        gpu = self.gpu
        limit = formula.low_power_w(gpu["idle_w"], gpu["limit_w"], self.smi["low_power_share"])
        power = logtail.last_level_w(self.fd, slot, before_ns, self.power_w, limit)
        return {"average": power, "instant": power, "utilisation": 0.0, "memory": 0.0}

    def _row(self, slot: int, state: dict[str, float]) -> dict[str, Any]:
        gpu, board = self.gpu, self.boards[slot]
        total = round(gpu["memory_gib"] * 1024)
        rise = (state["average"] - gpu["idle_w"]) / max(gpu["limit_w"] - gpu["idle_w"], 1e-9)
        span_c = gpu["temperature_limit_c"] - gpu["temperature_idle_c"]
        used = round(total * (0.01 + 0.49 * state["memory"]))
        average, instant = (
            f"{max(0.0, board['gain'] * state[name] + board['offset_w']):.2f}"
            for name in ("average", "instant")
        )
        limit = f"{gpu['limit_w']:.2f}"
        busy = state["utilisation"] > 0
        now = time.time()
        stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(now))
        return {
            "timestamp": (f"{stamp}.{int(now % 1 * 1000):03d}", ""),
            "index": (str(slot), ""),
            "uuid": (board["uuid"], ""),
            "serial": (board["serial"], ""),
            "name": (f"SIMULATED {self.spec['preset']} GPU", ""),
            "driver_version": (DRIVER_VERSION, ""),
            "pstate": ("P0" if busy else "P8", ""),
            "power.draw": (average, "W"),
            "power.draw.average": (average, "W"),
            "power.draw.instant": (instant, "W"),
            "power.limit": (limit, "W"),
            "enforced.power.limit": (limit, "W"),
            "utilization.gpu": (str(round(100 * state["utilisation"])), "%"),
            "utilization.memory": (str(round(100 * state["memory"])), "%"),
            "temperature.gpu": (str(round(gpu["temperature_idle_c"] + span_c * rise)), ""),
            "memory.total": (str(total), "MiB"),
            "memory.used": (str(used), "MiB"),
            "memory.free": (str(total - used), "MiB"),
            "clocks.sm": (str(gpu["clock_max_mhz" if busy else "clock_idle_mhz"]), "MHz"),
            "clocks.mem": (str(gpu["memory_clock_mhz"]), "MHz"),
        }


def _with_unit(row: dict[str, Any], name: str) -> str:
    value, unit = row[name]
    return f"{value} {unit}" if unit else str(value)


def xml(rows: list[dict[str, Any]]) -> str:
    """Answer of ``-q -x`` in the layout of drivers from 570 on."""
    lines = [
        '<?xml version="1.0" ?>',
        '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">',
        "<nvidia_smi_log>",
        f"\t<timestamp>{time.strftime('%a %b %d %H:%M:%S %Y')}</timestamp>",
        f"\t<driver_version>{DRIVER_VERSION}</driver_version>",
        f"\t<attached_gpus>{len(rows)}</attached_gpus>",
    ]

    def group(name: str, row: dict[str, Any], items: dict[str, str]) -> Iterator[str]:
        yield f"\t\t<{name}>"
        for tag, field in items.items():
            yield f"\t\t\t<{tag}>{_with_unit(row, field)}</{tag}>"
        yield f"\t\t</{name}>"

    for row in rows:
        index = row["index"][0]
        lines.append(f'\t<gpu id="00000000:{int(index) + 1:02X}:00.0">')
        lines.append(f"\t\t<product_name>{row['name'][0]}</product_name>")
        lines.append(f"\t\t<serial>{row['serial'][0]}</serial>")
        lines.append(f"\t\t<uuid>{row['uuid'][0]}</uuid>")
        lines.append(f"\t\t<minor_number>{index}</minor_number>")
        memory = {"total": "memory.total", "used": "memory.used", "free": "memory.free"}
        lines += group("fb_memory_usage", row, memory)
        used = {"gpu_util": "utilization.gpu", "memory_util": "utilization.memory"}
        lines += group("utilization", row, used)
        lines.append("\t\t<temperature>")
        lines.append(f"\t\t\t<gpu_temp>{row['temperature.gpu'][0]} C</gpu_temp>")
        lines.append("\t\t</temperature>")
        power = {
            "power_state": "pstate",
            "average_power_draw": "power.draw.average",
            "instant_power_draw": "power.draw.instant",
            "current_power_limit": "power.limit",
            "default_power_limit": "power.limit",
            "max_power_limit": "power.limit",
        }
        lines += group("gpu_power_readings", row, power)
        lines += group("clocks", row, {"sm_clock": "clocks.sm", "mem_clock": "clocks.mem"})
        lines.append("\t</gpu>")
    lines.append("</nvidia_smi_log>")
    return "\n".join(lines) + "\n"


def csv(rows: list[dict[str, Any]], fields: list[str], units: bool) -> str:
    """Answer of ``--query-gpu`` without its header."""
    lines = (
        ", ".join(_with_unit(row, f) if units else str(row[f][0]) for f in fields) for row in rows
    )
    return "".join(f"{line}\n" for line in lines)


def _parse(arguments: list[str]) -> dict[str, str]:
    """Options as ``{name: value}``; both ``--name=value`` and ``--name value`` are taken."""
    names = {
        "-l": "--loop",
        "-lms": "--loop-ms",
        "-i": "--id",
        "-q": "--query",
        "-x": "--xml-format",
    }
    valued = ("--loop", "--loop-ms", "--id", "--query-gpu", "--format")
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        name = names.get(name, name)
        if name in valued:
            if not equals:
                if not rest:
                    raise UsageError(f"Option {name} needs a value.")
                value = rest.pop(0)
        elif name not in ("--query", "--xml-format") or equals:
            raise UsageError(f"Invalid combination of input arguments: {name} is not known.")
        options[name] = value
    return options


def _slots(node: Node, wanted: str | None) -> list[int]:
    everything = list(range(len(node.boards)))
    if wanted is None:
        return everything
    uuids = [board["uuid"] for board in node.boards]
    chosen = []
    for one in wanted.split(","):
        if one in uuids:
            chosen.append(uuids.index(one))
        elif one.isdigit() and int(one) in everything:
            chosen.append(int(one))
        else:
            raise UsageError(f"No devices were found: {one}")
    return chosen


def main(arguments: list[str]) -> int:
    """Run the tool; returns its exit status."""
    try:
        if not arguments:
            raise UsageError("The first argument must be the folder of a virtual node.")
        options = _parse(arguments[1:])
        node = Node.load(arguments[0])
        slots = _slots(node, options.get("--id"))
        fields = [f.strip() for f in options.get("--query-gpu", "").split(",") if f.strip()]
        style = options.get("--format", "").split(",")
        if fields:
            known = node.idle_rows()[0]  # any slot knows all names
            for field in fields:
                if field not in known:
                    raise UsageError(f'Field "{field}" is not a valid field to query.')
            if style[0] != "csv":
                raise UsageError('"--format=csv" is required with --query-gpu.')
        elif not {"--query", "--xml-format"} <= options.keys():
            raise UsageError("This simulated tool answers -q -x or --query-gpu=… --format=csv.")
        loop_s = float(options.get("--loop-ms", 0)) / 1e3 or float(options.get("--loop", 0))
    except UsageError as error:
        sys.stdout.write(f"{error}\n")
        return BAD_USAGE
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The virtual node or an argument cannot be read: {error}\n")
        return BAD_USAGE
    units = "nounits" not in style
    if fields and "noheader" not in style:
        titles = (f"{f} [{known[f][1]}]" if units and known[f][1] else f for f in fields)
        sys.stdout.write(", ".join(titles) + "\n")
    while True:
        rows = node.query(slots)
        sys.stdout.write(csv(rows, fields, units) if fields else xml(rows))
        sys.stdout.flush()
        if not loop_s:
            return 0
        time.sleep(loop_s)


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    except (KeyboardInterrupt, BrokenPipeError):
        # Whoever read the loop is gone; Python must not complain while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 0
    raise SystemExit(status)
