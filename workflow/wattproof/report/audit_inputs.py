"""Everything that the report of an audit is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class AuditInputs:
    """Inputs of an audit's report; any frame may be empty.

    Attributes:
        name: Name of the audit.
        simulated: True if anything comes from the virtual node.
        findings: Table ``findings``, worst first; likewise the frames named after other tables.
        samples: Good and failed readings of each set: recording, session, source, channel, value,
            status, t_ns (recording's clock; null where the clock was refused).
        origin: Who recorded the data.
        licence: Its licence.
        provenance: Versions, host, instruments.
        config: The audit's configuration.
        budgets: Table ``budgets`` of the benchmark, if the manifest asks for one.
        coverage: Table ``coverage`` of the benchmark.
    """

    name: str
    simulated: bool
    findings: pd.DataFrame
    agreement: pd.DataFrame
    channels: pd.DataFrame
    clocks: pd.DataFrame
    windows: pd.DataFrame
    energy: pd.DataFrame
    reported: pd.DataFrame
    samples: Sequence[pd.DataFrame]
    origin: str = ""
    licence: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    budgets: pd.DataFrame = field(default_factory=pd.DataFrame)
    coverage: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def campaign(self) -> str:
        """Name, as the page's template calls it."""
        return self.name

    @property
    def root(self) -> str:
        """Folder of the outputs, as a user types it."""
        return f"{self.config.get('results', 'results')}/{self.name}"
