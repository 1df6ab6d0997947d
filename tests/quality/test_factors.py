"""Factors hidden in totals: found with their interval where they are, and silence where not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wattproof import ingest, tables
from wattproof.quality import factors, rows

MANIFEST = Path(__file__).resolve().parents[2] / "docs" / "audits" / "ecnas.yaml"
DATA = MANIFEST.parents[2].parent / "shared" / "data" / "ecnas_4v"


def reported(
    times: tuple[float, float] = (1.0, 1.0),
    more_w: float = 0.0,
    noise: float = 0.01,
    spread: float = 1.0,
    seed: int = 0,
    networks: int = 30,
) -> pd.DataFrame:
    """Rows of a GPU, a CPU and a total that counts each so many times and holds another device."""
    rng = np.random.default_rng(seed)
    found = []
    for network in range(networks):
        level = rng.uniform(-1, 1)
        for epochs in (4, 12):
            for repeat in range(2):
                seconds = epochs * rng.uniform(9, 11) + 30
                gpu_w = 180 + spread * (50 * level + epochs + rng.normal(0, 4))
                cpu_w = 55 + spread * rng.normal(0, 3)
                total_w = times[0] * gpu_w + times[1] * cpu_w + more_w
                powers = {
                    "gpu0.energy": gpu_w,
                    "cpu.energy": cpu_w,
                    "node.total": total_w * np.exp(rng.normal(0, noise)),
                }
                found += [
                    {
                        "recording": "rows",
                        "row": len(found) // 3 + 1,
                        "run_id": f"{network}/{epochs}/{repeat}",
                        "level": "run",
                        "kind": "run",
                        "epochs": epochs,
                        "network_key": f"net-{network}",
                        "replicate": repeat,
                        "source": "others",
                        "channel": channel,
                        "device": channel.partition(".")[0],
                        "duration_s": seconds,
                        "energy_j": watts * seconds,
                        "mean_w": watts,
                        "simulated": True,
                    }
                    for channel, watts in powers.items()
                ]
    return tables.conform(found, "reported").to_pandas()


def findings(**options) -> dict[str, dict]:
    return {found["flag"]: found for found in rows.constant_factor(reported(**options))}


@pytest.mark.parametrize("planted", [1.2, 1.59, 2.0])
@pytest.mark.parametrize("more_w", [0.0, 90.0])
def test_a_planted_factor_is_found_and_named(planted: float, more_w: float) -> None:
    found = findings(times=(planted, planted), more_w=more_w)
    row = found["constant_factor"]
    assert row["value"] == pytest.approx(planted, abs=0.03)
    assert row["severity"] == "warning"
    assert ("Uptime Institute 2020" in row["evidence"]) == (planted == 1.59)
    if more_w:
        assert "further devices" in row["evidence"]
        left = re.search(r"times all parts, (\d+) W \(", row["evidence"])
        assert left is not None
        assert float(left[1]) == pytest.approx(more_w, abs=6)  # 93 to 95 W
    else:
        # The factor explains the whole total: nothing else is left to ask for.
        assert set(found) == {"constant_factor"}
        assert "is the whole total" in row["evidence"]


def test_a_part_that_is_told_by_half_does_not_hide_the_factor() -> None:
    row = findings(times=(1.59, 3.18))["constant_factor"]
    assert row["value"] == pytest.approx(1.59, abs=0.03)
    assert "each joule of cpu.energy is counted 3." in row["evidence"].lower()


def test_totals_that_are_sums_raise_no_alarm() -> None:
    for seed in range(25):
        assert findings(seed=seed, noise=0.02) == {}


def test_a_further_device_is_no_factor() -> None:
    for seed in range(10):
        assert "constant_factor" not in findings(seed=seed, more_w=60.0)


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_parts_that_do_not_vary_tell_no_factor(spread: float) -> None:
    found = findings(times=(1.59, 1.59), spread=spread)
    assert "constant_factor" not in found
    assert "cannot be told" in found["factor_not_told"]["evidence"]


def test_intervals_cover_what_was_planted() -> None:
    """Of 25 sets, 95 % intervals cover the truth in 20 and more (fewer in one of a hundred)."""
    hits = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        networks = np.repeat(np.arange(25), 4)
        gpu = 150 + 40 * rng.normal(size=25)[networks] + rng.normal(0, 3, 100)
        both = np.column_stack([gpu, 50 + rng.normal(0, 3, 100)])
        # What is not told differs between networks: rows of one are not independent.
        total = both @ [1.59, 3.2] + 5 * rng.normal(size=25)[networks] + rng.normal(0, 2, 100)
        found = factors.count(total, both, np.zeros(100, dtype=np.int64), networks)
        hits += found.parts[0].low <= 1.59 <= found.parts[0].high
    assert hits >= 20


def test_known_values_are_sorted_and_those_of_carbontracker_are_there() -> None:
    values = [value for value, _ in factors.KNOWN]
    assert values == sorted(values)
    assert {1.55, 1.57, 1.58, 1.59, 1.67} <= set(values)
    assert factors.fitting(1.56, 1.585) == [
        pair for pair in factors.KNOWN if pair[0] in (1.57, 1.58)
    ]


@pytest.mark.data
@pytest.mark.skipif(
    not DATA.is_dir() and not os.environ.get("WATTPROOF_REQUIRE_REAL_DATA"),
    reason=f"{DATA} is absent",
)
def test_ec_nas_counts_each_joule_of_the_gpu_by_a_pue() -> None:
    manifest = ingest.read_manifest(MANIFEST)
    data = ingest.load_set(manifest, "4v9e").reported.to_pandas()
    row = next(f for f in rows.constant_factor(data) if f["flag"] == "constant_factor")
    assert row["value"] == pytest.approx(1.59, abs=0.01)
    assert "1.59 (Uptime Institute 2020, Carbontracker)" in row["evidence"]
    # Not told from the others by design: the interval leaves out what other releases multiply by.
    for other in ("2019", "2021", "2022"):
        assert other not in row["evidence"]
    assert row["affected"] == 1092
