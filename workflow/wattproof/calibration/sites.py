"""Estimators of a campaign that was merged from sites: each site's node is calibrated by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.calibration.assess import Calibration, agreement_rows, calibrate, score
from wattproof.calibration.base import Estimator, Outcome
from wattproof.offsocket import BySite

NODE = "node"
BY_ITSELF = "each site calibrated by itself"


def calibrate_sites(
    energy: pd.DataFrame,
    channels: pd.DataFrame,
    offsocket: BySite,
    settings: Mapping[str, Mapping[str, Any]],
    transferred: Estimator | None = None,
) -> Calibration:
    """Calibrate each site with its own loads; errors and agreement are those of all sites together.

    Args:
        energy: Table ``energy`` of all sites.
        channels: Table ``channels`` of all sites.
        offsocket: From `wattproof.offsocket.fit_sites`.
        settings: Of each site, as of `calibrate`.
        transferred: A calibration made on another node.

    Returns:
        As `calibrate`. In table ``calibration`` the row of device ``node`` scores an estimator over
        all sites; one row a site (``node SITE``) holds the parameters of its node.
    """
    listed = dict(offsocket.split(channels))
    parts = {
        site: calibrate(rows, listed[site], offsocket.found[site], settings[site], transferred)
        for site, rows in offsocket.split(energy)
    }
    estimates = pd.concat([part.estimates for part in parts.values()], ignore_index=True)
    durations = energy.drop_duplicates("window_id").set_index("window_id")["duration_s"]
    own: list[pd.DataFrame] = []
    for site, part in parts.items():
        node = part.table["device"] == NODE
        own.append(part.table.assign(device=part.table["device"].mask(node, f"{NODE} {site}")))
    by_site = pd.concat(own, ignore_index=True)
    general = next(iter(settings.values()))
    rows: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    nodes = by_site[by_site["device"].str.startswith(NODE)]
    for name, group in nodes.groupby("estimator", sort=False):
        entry = Estimator(str(name), str(group["label"].iloc[0]), _no_rule)
        mine = estimates[estimates["estimator"] == name]
        refused = "; ".join(dict.fromkeys(filter(None, group["refused"])))
        held_out = ", ".join(dict.fromkeys(filter(None, group["held_out"])))
        values = mine["energy_j"].to_numpy(np.float64)
        outcome = Outcome(
            values,
            mine["lower_j"].to_numpy(np.float64),
            mine["upper_j"].to_numpy(np.float64),
            held_out=f"{held_out}; {BY_ITSELF}" if held_out else "",
            refused="" if len(values) else refused,
        )
        rows.append(score(entry, outcome, mine))
        compared += agreement_rows(
            entry,
            outcome.refused,
            mine[mine["level"] != "phase"],
            durations,
            int(general.get("seed", 0)),
            float(general["alpha"]),
        )
    return Calibration(
        table=pd.concat([pd.DataFrame(rows), by_site], ignore_index=True),
        estimates=estimates,
        agreement=pd.DataFrame(compared) if compared else tables.empty("agreement"),
    )


def _no_rule(_inputs: object) -> Outcome:
    raise AssertionError("estimates of sites are there already")
