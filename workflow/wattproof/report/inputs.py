"""Everything that the report of a campaign is made of: tables, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.report.parts import Published, Search

BALANCE_COLUMNS = ("window_id", "energy_j", "mean_w")
"""Columns of `ReportInputs.balance`."""

EXAMPLE_COLUMNS = ("source", "channel", "value", "status", "t_ns")
"""Columns that the samples of the example recording must have."""


def _empty(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: tables.empty(name)


def _no_balance() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "window_id": pd.Series(dtype="str"),
            "energy_j": pd.Series(dtype="float64"),
            "mean_w": pd.Series(dtype="float64"),
        }
    )


@dataclass(frozen=True)
class ReportInputs:
    """Inputs of the report. Every frame may be empty; its section then says why it has nothing.

    Attributes:
        simulated: True if anything comes from the virtual node. Every page and figure says so.
        plan: Table ``plan``; likewise the frames named after the other tables.
        agreement: GPU sources against the node balance, *and* the estimators' rows.
        balance: GPU reference by node balance, one row a window: `BALANCE_COLUMNS` (J, W).
        example: One recording in detail: ``{"recording": its name, "samples": table samples with
            the column t_ns (int64 ns of the recording's clock, null where refused), "run_id": the
            run to show (optional; else the longest)}``. May be empty.
        published: What the published benchmark answered; empty without one.
        search: What rule search found; empty if it did not run.
        config: The campaign's configuration, as used.
        provenance: Code version, python, host, instruments and whatever else is worth saying.
    """

    simulated: bool
    plan: pd.DataFrame = field(default_factory=_empty("plan"))
    windows: pd.DataFrame = field(default_factory=_empty("windows"))
    energy: pd.DataFrame = field(default_factory=_empty("energy"))
    clocks: pd.DataFrame = field(default_factory=_empty("clocks"))
    agreement: pd.DataFrame = field(default_factory=_empty("agreement"))
    usage: pd.DataFrame = field(default_factory=_empty("usage"))
    utilisation: pd.DataFrame = field(default_factory=_empty("utilisation"))
    calibration: pd.DataFrame = field(default_factory=_empty("calibration"))
    estimates: pd.DataFrame = field(default_factory=_empty("estimates"))
    dataset: pd.DataFrame = field(default_factory=_empty("dataset"))
    curves: pd.DataFrame = field(default_factory=_empty("curves"))
    scores: pd.DataFrame = field(default_factory=_empty("scores"))
    coverage: pd.DataFrame = field(default_factory=_empty("coverage"))
    growth: pd.DataFrame = field(default_factory=_empty("growth"))
    held_out: pd.DataFrame = field(default_factory=_empty("held_out"))
    health: pd.DataFrame = field(default_factory=_empty("health"))
    channels: pd.DataFrame = field(default_factory=_empty("channels"))
    findings: pd.DataFrame = field(default_factory=_empty("findings"))
    balance: pd.DataFrame = field(default_factory=_no_balance)
    example: dict[str, Any] = field(default_factory=dict)
    published: Published = field(default_factory=Published)
    search: Search = field(default_factory=Search)
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every frame has the columns of its table.

        Raises:
            WattproofError: Naming the frame and the missing columns.
        """
        wanted = {name: tables.schema(name).names for name in FRAMES}
        wanted["balance"] = list(BALANCE_COLUMNS)
        frames = {name: getattr(self, name) for name in wanted}
        if "samples" in self.example:
            wanted["example samples"] = list(EXAMPLE_COLUMNS)
            frames["example samples"] = self.example["samples"]
        for name, columns in wanted.items():
            missing = [c for c in columns if c not in frames[name].columns]
            if missing:
                raise WattproofError(
                    f"Report input '{name}' lacks the column(s) {', '.join(missing)}."
                )

    @property
    def campaign(self) -> str:
        """Name of the campaign, as configured."""
        return str(self.config.get("campaign", "unnamed"))

    @property
    def root(self) -> str:
        """Folder of the campaign's outputs, as a user types it."""
        return f"{self.config.get('results', 'results')}/{self.campaign}"


FRAMES = (
    "plan",
    "windows",
    "energy",
    "clocks",
    "agreement",
    "usage",
    "utilisation",
    "calibration",
    "estimates",
    "dataset",
    "curves",
    "scores",
    "coverage",
    "growth",
    "held_out",
    "health",
    "channels",
    "findings",
)
"""Frames of `ReportInputs` that have the schema of the table of the same name."""
