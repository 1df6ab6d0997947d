"""What an emissions.csv of Code Carbon shows about itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from wattproof.ingest.base import Log
from wattproof.ingest.series import finding

_PARTS = ("cpu_energy", "gpu_energy", "ram_energy")

SUM_SHARE = 0.01
"""The total may differ from the sum of its parts by rounding, and by no more than this."""


def findings_of(
    log: Log, frame: pd.DataFrame, *, broken: int, nameless: int, totals: list[int]
) -> list[dict[str, Any]]:
    """Rows of table ``findings``.

    Args:
        log: The log.
        frame: Its rows that could be read, as text.
        broken: Rows that could not.
        nameless: Rows without a run_id.
        totals: Rows of each run that wrote totals more than once.
    """
    n = len(frame)
    found: list[dict[str, Any]] = []

    def add(
        flag: str, affected: int, evidence: str, remedy: str, severity: str, **more: Any
    ) -> None:
        found.append(
            finding(log, flag, evidence, remedy, severity=severity, affected=affected, of=n, **more)
        )

    if broken:
        add(
            "broken_lines",
            broken,
            f"{broken} rows have another number of cells than the header and were left out: "
            "versions with other columns wrote into the same file, or it was cut off.",
            "Keep one file a version.",
            "warning",
        )
    if nameless:
        add(
            "unnamed_runs",
            nameless,
            f"{nameless} of {n} rows have no run_id; each counts as a run of its own, although "
            "some may be totals so far of one run.",
            "Take rows of one run together by hand, or record with a version that writes run_id.",
            "note",
        )
    if totals:
        add(
            "totals_so_far",
            sum(totals),
            f"{len(totals)} runs wrote {sum(totals)} rows with growing duration: totals so far. "
            "Each run counts once, by its last row; the differences are kept as intervals.",
            "Never add up rows of one run_id.",
            "note",
        )
    numbers = {
        name: pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        for name in ("energy_consumed", *_PARTS, "pue")
        if name in frame
    }
    energies = {name: value for name, value in numbers.items() if name != "pue"}
    lost = ~np.all([np.isfinite(v) for v in energies.values()], axis=0)
    if lost.any():
        add(
            "energy_missing",
            int(lost.sum()),
            f"{int(lost.sum())} of {n} rows lack an energy; it stays unknown.",
            "Leave these runs out of sums.",
            "warning",
        )
    negative = np.any([v < 0 for v in energies.values()], axis=0)
    if negative.any():
        add(
            "negative_energy",
            int(negative.sum()),
            f"{int(negative.sum())} of {n} rows hold a negative energy: a counter was reset or "
            "wrapped during the run (Code Carbon up to 3.2.9 does not notice that of a GPU).",
            "Leave these runs out, or measure them again.",
            "error",
        )
    pue = numbers.get("pue")
    factor = pue[np.isfinite(pue) & (pue > 0)] if pue is not None else np.empty(0)
    if (factor != 1.0).any():
        add(
            "constant_factor",
            int((factor != 1.0).sum()),
            f"{int((factor != 1.0).sum())} of {n} rows hold a PUE other than 1 (up to "
            f"{factor.max():g}): their energies may be those of the data centre, not of the node.",
            "Divide by the PUE before comparing with a meter.",
            "error",
            principle="holistic",
            value=float(factor.max()),
        )
    if "energy_consumed" in numbers and all(part in numbers for part in _PARTS):
        total = numbers["energy_consumed"]
        parts = np.sum([numbers[part] for part in _PARTS], axis=0)
        scale = np.ones(n) if pue is None else np.where(np.isfinite(pue) & (pue > 0), pue, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.minimum(np.abs(parts / total - 1), np.abs(scale * parts / total - 1))
        wrong = np.isfinite(off) & (off > SUM_SHARE)
        if wrong.any():
            add(
                "parts_do_not_add_up",
                int(wrong.sum()),
                f"In {int(wrong.sum())} of {n} rows cpu, gpu and ram energy miss the total by up "
                f"to {off[wrong].max():.1%}.",
                "Take the parts, and say which of them the figure holds.",
                "warning",
                value=100 * float(off[wrong].max()),
                unit="%",
                principle="holistic",
            )
    modes = (
        sorted(set(frame["tracking_mode"].str.strip()) - {""}) if "tracking_mode" in frame else []
    )
    if len(modes) > 1:
        add(
            "mixed_tracking_modes",
            n,
            f"The rows were tracked in different modes ({', '.join(modes)}): in mode process the "
            "figures are those of one process, in mode machine those of the node.",
            "Compare rows of one mode only.",
            "warning",
            principle="holistic",
        )
    return found
