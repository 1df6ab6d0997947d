"""Tables of an audit's page: agreement, energies with their uncertainty, clocks."""

from __future__ import annotations

import numpy as np

from wattproof.clocks.frames import records
from wattproof.report.audit_inputs import AuditInputs
from wattproof.report.text import fixed, known, number, percent, whole
from wattproof.report.view import View

SHOWN_ENERGIES = 60


def agreement(inputs: AuditInputs) -> View:
    """Channels that tell of the same thing, side by side.

    Args:
        inputs: The audit's tables.
    """
    body = []
    for row in records(inputs.agreement):
        unit = "W" if row["quantity"] == "power" else "J"
        line = (
            f"{number(row['intercept'], 4, unit)} + {number(row['slope'], 4)}·x"
            if known(row["slope"])
            else "refused"
        )
        limits = (
            f"{number(row['loa_low'], 3)} … {number(row['loa_high'], 3, unit)}"
            if known(row["loa_low"])
            else "refused"
        )
        ks = (
            f"D = {fixed(row['ks_d'])}, p {'<' if row['ks_p'] < 0.001 else '='} "
            f"{max(row['ks_p'], 0.001):.3f}, {'✗' if row['ks_reject'] else '✓'}"
            if known(row["ks_d"])
            else "refused"
        )
        body.append(
            (
                row["setting"],
                row["label"],
                row["reference"],
                row["level"],
                row["quantity"],
                whole(row["n"]),
                fixed(row["pearson"], 3),
                fixed(row["spearman"], 3),
                line,
                number(row["rmse"], 3, unit),
                percent(row["error_median"]),
                percent(row["error_max"]),
                number(row["bias"], 3, unit),
                limits,
                number(row["wasserstein"], 3, unit),
                ks,
            )
        )
    idle = inputs.reported[inputs.reported["kind"] == "idle"].drop_duplicates(["recording", "row"])
    named = ", ".join(f"{n} of {name}" for name, n in idle["recording"].value_counts().items())
    left = f" Idle rows are no part of it ({named})." if named else ""
    return View(
        "agreement",
        "Differences are (reference − value); the line gives the reference from the value; "
        "limits of agreement hold 95 % of single differences." + left,
        (
            "set",
            "compared",
            "with",
            "per",
            "quantity",
            "n",
            "Pearson",
            "Spearman",
            "line",
            "RMSE",
            "median diff.",
            "largest",
            "bias",
            "limits of agreement",
            "Wasserstein",
            "KS",
        ),
        tuple(body),
        "" if body else "No two channels of these sets tell of the same thing.",
        source="agreement",
        headers=2,
    )


def energies(inputs: AuditInputs) -> View:
    """Energies of windows with the parts of their uncertainty.

    Args:
        inputs: The audit's tables.
    """
    rows = inputs.energy[inputs.energy["level"] != "phase"]
    body = []
    for row in records(rows.head(SHOWN_ENERGIES)):
        parts = ", ".join(
            f"{name} {number(row[f'u_{name}_j'], 2)}"
            for name in ("meter", "sampling", "edge", "clock", "sensor")
            if known(row.get(f"u_{name}_j")) and row[f"u_{name}_j"] > 0
        )
        body.append(
            (
                row["recording"],
                str(row["run_id"] or row["kind"]),
                f"{row['channel']} ({row['source']})",
                number(row["duration_s"], 4, "s"),
                number(row["energy_j"], 6, "J"),
                number(row["energy_u_j"], 2, "J"),
                parts or "not known",
                number(row["mean_w"], 5, "W"),
                percent(row["coverage"], 0),
                row["method"],
                ", ".join(row["flags"]) or "none",
            )
        )
    more = len(rows) - len(body)
    return View(
        "energy",
        "Energies inside the windows, with the standard uncertainty and its parts."
        + (f" {more} more are in the table." if more > 0 else ""),
        (
            "recording",
            "run",
            "channel",
            "duration",
            "energy",
            "u",
            "parts of u (J)",
            "mean power",
            "covered",
            "method",
            "flags",
        ),
        tuple(body),
        "" if body else "There are no windows with readings.",
        source="energy",
        headers=3,
    )


def clocks(inputs: AuditInputs) -> View:
    """How each clock was proven, or why not.

    Args:
        inputs: The audit's tables.
    """
    body = []
    for row in records(inputs.clocks):
        accepted = bool(row["accepted"])
        offset = float(row["offset_ns"]) / 1e9 if accepted and known(row["offset_ns"]) else np.nan
        residual = float(row["residual_ns"]) / 1e6 if known(row["residual_ns"]) else np.nan
        body.append(
            (
                row["recording"],
                row["source"],
                row["method"].replace("_", " "),
                "yes" if accepted else "refused",
                f"{offset:+.3f} s" if accepted else "not known",
                number(row["drift_ppm"], 2, "ppm"),
                number(residual, 2, "ms"),
                fixed(row["confidence"]),
                row["reason"],
            )
        )
    return View(
        "clocks",
        "Clock of each source against the recording's: recording = stamp + offset.",
        ("recording", "source", "by", "proven", "offset", "drift", "residual", "confidence", "why"),
        tuple(body[:SHOWN_ENERGIES]),
        "" if body else "There are no time series, so no clocks.",
        source="clocks",
        headers=2,
    )
