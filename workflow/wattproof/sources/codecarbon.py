"""Code Carbon, the library itself, as an instrument: what it says, when it says it.

The offline tracker runs in the process of this source: no network, no files, its warnings in the
log of the source. Its own measuring timer is stopped; each read takes one measurement by the
recorder's deadline and its own stamps (never Code Carbon's ``duration``, which is 26 s for a run
of 3 s where the network is blocked: measurement.md, case F23). Its 1 s monitor, which averages the
CPU load between two measurements, runs as it would for any user.

What comes out is an **estimate**, faults included: a failed RAPL read is silently left out (case
F2), measured DRAM never enters (F6), and up to 3.2.9 one failed read adds 262 kJ (F1) and a reset
GPU counter gives negative energy (F22). It is recorded to be compared, under channel names that no
rule of this package takes for a measurement.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Pacing, Reading, Status
from wattproof.sources.endpoints import Endpoints
from wattproof.units import kwh_to_j

PARTS = {
    "codecarbon.node": ("_total_energy", "the whole node: CPU, GPUs and memory, no other part"),
    "codecarbon.cpu": ("_total_cpu_energy", "all CPUs"),
    "codecarbon.gpu": ("_total_gpu_energy", "all GPUs of the node together"),
    "codecarbon.ram": ("_total_ram_energy", "the memory, by a rule of its size"),
}
"""Channel: total of the tracker that it is, and what that covers."""

PLAUSIBLE_W = 100_000.0
"""No node draws more. These counters are sums over devices, to which a cap per device is wrong."""

CONSTANT_SHARE = 0.5
"""Code Carbon's constant mode takes this share of the TDP."""

HIDING = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
"""Code Carbon would count only the GPUs that these name; a recording is about the node."""


class CodeCarbonSource:
    """The cumulative energies of an offline tracker.

    Args:
        library: Module ``codecarbon``, or what stands in its place.
        version: Its version.
        period_s: Time between two measurements, in seconds. Code Carbon's own default is 15 s; the
            interval is part of its estimate where it works from the CPU load (a cubic rule).
        country: ISO code of the country; it decides about carbon, not about energy.
    """

    name = "codecarbon"
    pacing = Pacing.DEADLINE
    read_limit_s = 5.0
    """A measurement asks every GPU for its counter: slower drivers take a while."""

    def __init__(
        self, library: Any, version: str, period_s: float = 1.0, country: str = "DEU"
    ) -> None:
        self.period_s = period_s
        self._library = library
        self._version = version
        self._country = country
        self._tracker: Any = None
        self._channels: tuple[str, ...] = ()

    def open(self) -> Description:
        """Start a tracker and record what it works from."""
        for name in HIDING:
            os.environ.pop(name, None)  # of this process alone
        self._tracker = self._library.OfflineEmissionsTracker(
            country_iso_code=self._country,
            measure_power_secs=self.period_s,
            tracking_mode="machine",
            gpu_ids=None,
            output_methods=[],
            emissions_endpoint=None,
            allow_multiple_runs=True,
            pue=1.0,
            log_level="warning",
        )
        # Both swallow every exception of their own; what is missing afterwards tells.
        with contextlib.suppress(AttributeError):
            self._tracker.start()
            self._tracker._scheduler.stop()
        if getattr(self._tracker, "_start_time", None) is None or not self._totals():
            self.close()
            raise WattproofError(
                f"Code Carbon {self._version} did not start (its own words are in the log of "
                "source 'codecarbon'); install 'codecarbon==3.3.2', or remove 'codecarbon' from "
                "'sources'."
            )
        identity = self._identity()
        device = f"{platform.node()}/codecarbon"

        def channel(name: str) -> Channel:
            about = f"cumulative energy of {PARTS[name][1]}, as Code Carbon estimates it"
            facts = {**identity, "estimator": True, "means": about, "cap_w": PLAUSIBLE_W}
            return Channel(name, "J", "energy", device, period_s=self.period_s, identity=facts)

        self._channels = tuple(
            name for name in PARTS if name != "codecarbon.gpu" or identity["gpus"]
        )
        return Description(identity, tuple(map(channel, self._channels)), simulated=False)

    def read(self) -> Sequence[Reading]:
        """Let the tracker measure once and tell its totals, in joules."""
        start = time.monotonic_ns()
        try:
            self._tracker._measure_power_and_energy()
            totals = self._totals()
        except Exception:  # noqa: BLE001 - whatever a library raises is a failed measurement
            totals = {}
        end = time.monotonic_ns()
        readings = []
        for name in self._channels:
            value = totals.get(name, math.nan)
            known = math.isfinite(value)
            status = Status.OK if known else Status.ERROR
            value_j = value if known else None
            readings.append(Reading(name, value_j, status, start_ns=start, end_ns=end))
        return readings

    def close(self) -> None:
        """Stop its threads. ``stop()`` would prepare a report that nobody reads."""
        tracker, self._tracker = self._tracker, None
        for name in ("_scheduler", "_scheduler_monitor_power"):
            scheduler = getattr(tracker, name, None)
            if scheduler is not None:
                scheduler.stop()

    def _totals(self) -> dict[str, float]:
        """Energies so far by channel, in joules; what the tracker does not have is left out."""
        found = {name: getattr(self._tracker, part, None) for name, (part, _) in PARTS.items()}
        return {n: kwh_to_j(float(e.kWh)) for n, e in found.items() if e is not None}

    def _identity(self) -> dict[str, Any]:
        """What the estimate is made from."""
        conf: Mapping[str, Any] = getattr(self._tracker, "_conf", {})
        kinds = {type(item).__name__: item for item in getattr(self._tracker, "_hardware", ())}
        cpu, ram, gpu = (kinds.get(kind) for kind in ("CPU", "RAM", "GPU"))
        ram_w = None if ram is None else float(ram.total_power().W)
        return {
            "name": "Code Carbon",
            "version": self._version,
            "tracking_mode": conf.get("tracking_mode"),
            "country": self._country,
            "interval_s": self.period_s,
            "cpu_mode": _cpu_mode(cpu),
            "cpu_model": conf.get("cpu_model"),
            "cpu_tdp_w": getattr(cpu, "_tdp", None),
            "ram_w": ram_w,
            "ram_gib": conf.get("ram_total_size"),
            "gpus": conf.get("gpu_model") if gpu is not None else None,
            "gpu_count": conf.get("gpu_count"),
            "force_cpu_power_w": conf.get("force_cpu_power"),
            "force_ram_power_w": conf.get("force_ram_power"),
        }


def _cpu_mode(cpu: Any) -> str:
    """In words, where the CPU energy comes from."""
    mode = str(getattr(cpu, "_mode", "none"))
    return {
        "intel_rapl": "rapl: package counters, DRAM never counted",
        "cpu_load": "cpu_load: TDP · (0.1 + 0.9 · load³), no measurement",
        "constant": f"constant: {CONSTANT_SHARE:g} of the TDP, no measurement",
    }.get(mode, mode)


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> CodeCarbonSource:
    """Make the source from a campaign's settings; it finds its own drivers.

    Raises:
        WattproofError: If Code Carbon is not installed, or the node is a virtual one.
    """
    if endpoints.simulated:
        raise WattproofError(
            "Source 'codecarbon' reads the drivers of the machine that it runs on, which the "
            "virtual node has none of; remove 'codecarbon' from 'sources', the estimators "
            "code_carbon and code_carbon_2x apply its rules there."
        )
    try:
        library = importlib.import_module("codecarbon")
        version = importlib.metadata.version("codecarbon")
    except ImportError as error:
        raise WattproofError(
            "Source 'codecarbon' needs the package codecarbon, which is not installed; run "
            "`pip install 'wattproof[codecarbon]'`, or remove 'codecarbon' from 'sources'."
        ) from error
    return CodeCarbonSource(
        library, version, settings.get("period_s", 1.0), settings.get("country", "DEU")
    )
