"""Off-socket power of several nodes: a campaign that was merged from sites has one for each.

Fans, power supplies and boards differ from node to node, so nothing fitted on one node's loads may
meet another node's trainings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from wattproof.offsocket.fit import OffSocket, fit


@dataclass(frozen=True)
class BySite:
    """Off-socket power site by site.

    Attributes:
        site_of: Site of each recording.
        found: Off-socket power of each site.
    """

    site_of: Mapping[str, str]
    found: Mapping[str, OffSocket]

    def split(self, frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield (site, its rows) of a table with a column ``recording``."""
        sites = frame["recording"].map(self.site_of)
        for site in self.found:
            yield site, frame[sites == site]


def fit_sites(energy: pd.DataFrame, site_of: Mapping[str, str]) -> OffSocket | BySite:
    """Determine off-socket power, for each site from its own calibration loads.

    Args:
        energy: Table ``energy``.
        site_of: Site of each recording; empty for a campaign of one node.
    """
    if not site_of:
        return fit(energy)
    sites = energy["recording"].map(site_of)
    names = dict.fromkeys(site_of.values())
    return BySite(site_of, {name: fit(energy[sites == name]) for name in names})
