"""The defect zoo: one thing is wrong in a clean recording, and it has to be found by its name."""

from __future__ import annotations

import zlib

import clean_recording as zoo
import numpy as np
import pandas as pd
import pytest
from clean_recording import T0, Clean, S

from wattproof import quality, tables
from wattproof.quality.inspection import channels_of

GPU = ("nvml", "gpu0.power_instant")
COUNTER = ("nvml", "gpu0.energy")
METER = ("meter", "node.ac")
SMI = ("smi", "gpu0.power")


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def drop(rows: pd.DataFrame, keep: np.ndarray) -> None:
    rows.drop(rows.index[~keep], inplace=True)
    rows.reset_index(drop=True, inplace=True)


def few_samples(c: Clean) -> None:
    rows = c.channel(*SMI)
    drop(rows, np.arange(len(rows)) % 45 == 0)


def gap(c: Clean) -> None:
    rows = c.channel(*GPU)
    t = rows["t_ns"].to_numpy() - T0
    drop(rows, (t < 60 * S) | (t > 66 * S))


def sample_ratio_low(c: Clean) -> None:
    rows = c.channel(*SMI)
    drop(rows, np.arange(len(rows)) % 3 == 0)


def clock_not_proven(c: Clean) -> None:
    c.about(*METER).update(clock="device", identity='{"arrival": false}')
    c.channel(*METER)["value"] = np.round(
        np.repeat(np.random.default_rng(1).normal(300, 60, len(c.channel(*METER)) // 20 + 1), 20)[
            : len(c.channel(*METER))
        ],
        2,
    )


def constant_meter(c: Clean) -> None:
    c.channel(*METER)["value"] = 412.5


def meter_elsewhere(c: Clean) -> None:
    other = zoo.make(987_654)
    c.channel(*METER)["value"] = other.channel(*METER)["value"].to_numpy()


def streams_swapped(c: Clean) -> None:
    a, b = c.channel("smi", "gpu0.power"), c.channel("smi", "gpu1.power")
    n = min(len(a), len(b))
    first, second = a["value"].to_numpy()[:n].copy(), b["value"].to_numpy()[:n].copy()
    a.loc[: n - 1, "value"], b.loc[: n - 1, "value"] = second, first


def glitch_values(c: Clean) -> None:
    rows = c.channel(*GPU)
    rows.loc[[301, 777], "value"] = [65_535.0, 4_294.9]


def counter_stands_still(c: Clean) -> None:
    rows = c.channel(*COUNTER)
    rows["value"] = rows["value"].iloc[0]


def doubled_stamps(c: Clean) -> None:
    key = GPU
    rows = c.channel(*key)
    c.samples[key] = pd.concat([rows, rows.iloc[::3]]).sort_values("t_ns", ignore_index=True)


def whole_second_stamps(c: Clean) -> None:
    rows = c.channel(*SMI)
    rows["t_ns"] = rows["t_ns"] // S * S
    c.samples[SMI] = rows.drop_duplicates("t_ns").reset_index(drop=True)
    c.about(*SMI)["period_s"] = 1.0


def coarse_quantisation(c: Clean) -> None:
    rows = c.channel(*METER)
    rows["value"] = np.round(rows["value"] / 200) * 200


def zero_means_missing(c: Clean) -> None:
    rows = c.channel(*GPU)
    rows.loc[rng_of("zero").choice(len(rows), 30, replace=False), "value"] = 0.0


def energy_outside_limits(c: Clean) -> None:
    c.channel(*GPU)["value"] *= 3.7


def wrong_unit(c: Clean) -> None:
    c.channel(*SMI)["value"] *= 1000


def wrong_unit_of_the_meter(c: Clean) -> None:
    c.channel(*METER)["value"] /= 1000


def running_average(c: Clean) -> None:
    rows = c.channel(*METER)
    value = rows["value"].to_numpy()
    total = np.concatenate(([0.0], np.cumsum(value)))
    index = np.arange(1, len(value) + 1)
    low = np.maximum(index - 80, 0)
    rows["value"] = np.round((total[index] - total[low]) / (index - low), 2)


def mean_so_far(c: Clean) -> None:
    rows = c.channel(*SMI)
    rows["value"] = rows["value"].expanding().mean()


def throttling(c: Clean) -> None:
    rows = c.channel("nvml", "gpu0.throttle_reasons")
    t = rows["t_ns"].to_numpy() - T0
    rows.loc[(t > 50 * S) & (t < 80 * S), "value"] = float(0x20)


def clock_drops(c: Clean) -> None:
    """A board that says nothing of reasons, only its clock."""
    reasons = ("nvml", "gpu0.throttle_reasons")
    t = c.samples.pop(reasons)["t_ns"].to_numpy()
    about = c.about(*reasons)
    seconds = (t - T0) / S
    clock = np.where((seconds > 50) & (seconds < 70), 1.1e9, 1.7e9)
    usage = np.where(seconds > 16, 97.0, 0.0)
    for name, value, unit, kind in (
        ("gpu0.clock_sm", clock, "Hz", "clock"),
        ("gpu0.utilisation", usage, "%", "utilisation"),
    ):
        c.samples["nvml", name] = pd.DataFrame({"t_ns": t, "value": value, "status": "ok"})
        c.channels.append({**about, "channel": name, "unit": unit, "kind": kind})
    c.channels.remove(about)


def source_restarted(c: Clean) -> None:
    c.health = tables.conform(
        [
            {
                "recording": "r",
                "session": 0,
                "source": "meter",
                "taken": 10,
                "failed": 0,
                "missed": 0,
                "restarts": 1,
                "hangs": 1,
                "outcome": "ok",
            }
        ],
        "health",
    ).to_pandas()


def counter_reset(c: Clean) -> None:
    rows = c.channel(*COUNTER)
    half = len(rows) // 2
    rows.loc[half:, "value"] -= rows["value"].iloc[half]


def failed_readings(c: Clean) -> None:
    rows = c.channel(*GPU)
    bad = rng_of("failed").choice(len(rows), len(rows) // 8, replace=False)
    rows.loc[bad, "value"] = np.nan
    rows.loc[bad, "status"] = "device_lost"


def negative_power(c: Clean) -> None:
    c.channel(*METER)["value"] *= -1


def clipped_values(c: Clean) -> None:
    rows = c.channel(*METER)
    top = float(rows["value"].quantile(0.7))
    rows["value"] = rows["value"].clip(upper=top)


def frozen_sensor(c: Clean) -> None:
    rows = c.channel(*METER)
    t = rows["t_ns"].to_numpy() - T0
    stuck = (t > 60 * S) & (t < 85 * S)
    rows.loc[stuck, "value"] = rows.loc[stuck, "value"].iloc[0]


def time_zone_shift(c: Clean) -> None:
    c.channel(*METER)["t_ns"] += 2 * 3600 * S
    c.about(*METER).update(clock="device", identity='{"arrival": false}')


def clock_far_off(c: Clean) -> None:
    c.channel(*METER)["t_ns"] += 9 * 365 * 86_400 * S
    c.about(*METER).update(clock="device", identity='{"arrival": false}')


def empty_window(c: Clean) -> None:
    c.windows.append(("run-9", "run", 70.0, 70.0))


def counter_integral_mismatch(c: Clean) -> None:
    rows = c.channel(*COUNTER)
    rows["value"] = 1e6 + 0.6 * (rows["value"] - 1e6)


def limits_changed(c: Clean) -> None:
    c.about(*SMI)["identity"] = '{"limit_w": 250.0}'


ZOO = {
    "few_samples": few_samples,
    "gap": gap,
    "sample_ratio_low": sample_ratio_low,
    "clock_not_proven": clock_not_proven,
    "constant_meter": constant_meter,
    "meter_elsewhere": meter_elsewhere,
    "streams_swapped": streams_swapped,
    "glitch_values": glitch_values,
    "counter_stands_still": counter_stands_still,
    "doubled_stamps": doubled_stamps,
    "whole_second_stamps": whole_second_stamps,
    "coarse_quantisation": coarse_quantisation,
    "zero_means_missing": zero_means_missing,
    "energy_outside_limits": energy_outside_limits,
    "wrong_unit": wrong_unit,
    "wrong_unit (meter)": wrong_unit_of_the_meter,
    "running_average": running_average,
    "running_average (so far)": mean_so_far,
    "throttling": throttling,
    "throttling (clock)": clock_drops,
    "source_restarted": source_restarted,
    "counter_reset": counter_reset,
    "failed_readings": failed_readings,
    "negative_power": negative_power,
    "clipped_values": clipped_values,
    "frozen_sensor": frozen_sensor,
    "time_zone_shift": time_zone_shift,
    "clock_far_off": clock_far_off,
    "empty_window": empty_window,
    "counter_integral_mismatch": counter_integral_mismatch,
    "limits_changed": limits_changed,
}

ALONG = {
    # What follows from the defect, and so is said beside it.
    "few_samples": {"sample_ratio_low", "gap", "low_coverage", "no_samples"},
    "sample_ratio_low": {"few_samples"},
    "constant_meter": {"meter_elsewhere", "frozen_sensor"},
    "streams_swapped": {"running_average"},
    "glitch_values": {"energy_outside_limits", "counter_integral_mismatch"},
    "counter_stands_still": {"counter_integral_mismatch"},
    "doubled_stamps": set(),
    "whole_second_stamps": set(),
    "zero_means_missing": set(),
    "energy_outside_limits": {"counter_integral_mismatch", "clipped_values", "glitch_values"},
    "wrong_unit": {"energy_outside_limits", "glitch_values"},
    "wrong_unit (meter)": {"coarse_quantisation"},
    "running_average (so far)": set(),
    "counter_reset": {"counter_integral_mismatch"},
    "negative_power": {"meter_elsewhere", "wrong_unit", "running_average"},
    "clipped_values": {"running_average"},
    "frozen_sensor": set(),
    "counter_integral_mismatch": {"energy_outside_limits"},
    "clock_not_proven": set(),
    "failed_readings": set(),
    "limits_changed": set(),
}


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("seed", [1, 2])
def test_each_defect_is_found_by_its_name(name: str, seed: int) -> None:
    clean = zoo.make(seed)
    ZOO[name](clean)
    found = zoo.findings(clean)
    tables.conform(found, "findings")
    flag = name.partition(" ")[0]
    assert flag in set(found["flag"]), zoo.serious(found)
    row = found[found["flag"] == flag].iloc[0]
    assert row["evidence"]
    assert row["remedy"]
    allowed = {flag} | ALONG.get(name, set())
    assert set(zoo.serious(found)) <= allowed, found[
        ["flag", "source", "channel", "evidence"]
    ].values


@pytest.mark.parametrize("seed", range(50))
def test_no_false_alarm_on_clean_recordings(seed: int) -> None:
    clean = zoo.make(1000 + seed, seconds=90.0 + 10 * (seed % 7), gpus=1 + seed % 3)
    found = zoo.findings(clean)
    assert zoo.serious(found) == [], found[["flag", "source", "channel", "evidence"]].values


def test_meters_of_two_nodes_are_exchanged() -> None:
    pair = [zoo.make(seed, recording=f"node-{seed}") for seed in (3, 4)]
    one, two = (clean.channel(*METER) for clean in pair)
    n = min(len(one), len(two))
    first = one["value"].to_numpy()[:n].copy()
    one.loc[: n - 1, "value"] = two["value"].to_numpy()[:n]
    two.loc[: n - 1, "value"] = first
    by_name = {clean.recording: clean for clean in pair}
    inspected = [zoo.findings(clean) for clean in pair]
    assert all("meter_elsewhere" in set(found["flag"]) for found in inspected)

    def levels(name: str) -> list:
        clean = by_name[name]
        samples = pd.concat(
            [
                rows.assign(
                    recording=name,
                    session=0,
                    source=source,
                    channel=channel,
                    end_ns=rows["t_ns"],
                    device_ns=rows["t_ns"],
                )
                for (source, channel), rows in clean.samples.items()
            ],
            ignore_index=True,
        )
        return channels_of(samples, pd.DataFrame(clean.channels))[0]

    found = quality.survey(
        tables.empty("energy"),
        tables.empty("channels"),
        tables.empty("reported"),
        inspected,
        levels,
    )
    row = found[found["flag"] == "streams_swapped"].iloc[0]
    assert "node-3" in row["evidence"]
    assert "node-4" in row["evidence"]


def rows_of(change=None, **options) -> list[str]:
    rows = zoo.reported(**options)
    if change is not None:
        rows = change(rows)
    found = quality.survey(tables.empty("energy"), tables.empty("channels"), rows, [])
    tables.conform(found, "findings")
    return zoo.serious(found)


def by_row(rows: pd.DataFrame, channel: str) -> pd.Series:
    return rows.loc[rows["channel"] == channel].set_index("row")["energy_j"]


def with_factor(rows: pd.DataFrame) -> pd.DataFrame:
    parts = by_row(rows, "gpu0.energy") + by_row(rows, "cpu.energy")
    total = rows["channel"] == "node.total"
    rows.loc[total, "energy_j"] = 1.58 * rows.loc[total, "row"].map(parts).round(1)
    rows.loc[total, "mean_w"] = rows.loc[total, "energy_j"] / rows.loc[total, "duration_s"]
    return rows


def extrapolate(rows: pd.DataFrame) -> pd.DataFrame:
    for (_, _, _), part in rows.groupby(["network_key", "replicate", "channel"]):
        short = part[part["epochs"] == 4].iloc[0]
        long = part.index[part["epochs"] == 12]
        for column in ("energy_j", "duration_s"):
            rows.loc[long, column] = 3 * short[column]
        rows.loc[long, "mean_w"] = short["mean_w"]
    return rows


def duplicate(rows: pd.DataFrame) -> pd.DataFrame:
    rows.loc[rows["network_key"] == "net-8", "network_key"] = "net-1"
    return rows


def kilo(rows: pd.DataFrame) -> pd.DataFrame:
    rows["energy_j"] /= 1000
    return rows


def watt_hours(rows: pd.DataFrame) -> pd.DataFrame:
    rows["energy_j"] /= 3600
    return rows


def zero(rows: pd.DataFrame) -> pd.DataFrame:
    cpu = rows.index[rows["channel"] == "cpu.energy"][::5]
    rows.loc[cpu, ["energy_j", "mean_w"]] = 0.0
    return rows


def no_time(rows: pd.DataFrame) -> pd.DataFrame:
    rows.loc[rows["row"] == 7, "duration_s"] = 0.0
    return rows


def over_limit(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(config_power_limit=100.0)


def repeat(rows: pd.DataFrame) -> pd.DataFrame:
    source = rows[rows["row"] == 3].set_index("channel")
    for column in ("energy_j", "mean_w", "duration_s"):
        for number in (10, 20, 30):
            here = rows["row"] == number
            rows.loc[here, column] = rows.loc[here, "channel"].map(source[column])
    return rows


def with_hidden_factor(rows: pd.DataFrame) -> pd.DataFrame:
    """A tracker's PUE on a GPU and two CPUs, of which the row tells one (as EC-NAS-Bench's do)."""
    gpu, cpu = by_row(rows, "gpu0.energy"), by_row(rows, "cpu.energy")
    noise = np.random.default_rng(5).normal(1, 0.01, len(gpu))
    total = rows["channel"] == "node.total"
    whole = 1.59 * (gpu + 2 * cpu) * noise
    rows.loc[total, "energy_j"] = rows.loc[total, "row"].map(whole)
    rows.loc[total, "mean_w"] = rows.loc[total, "energy_j"] / rows.loc[total, "duration_s"]
    return rows


@pytest.mark.parametrize(
    ("flag", "change", "along"),
    [
        ("constant_factor", with_factor, set()),
        ("constant_factor", with_hidden_factor, {"parts_do_not_add_up"}),
        ("extrapolated_rows", extrapolate, {"repeated_rows"}),
        ("duplicated_networks", duplicate, set()),
        ("wrong_unit", kilo, set()),
        ("wrong_unit", watt_hours, set()),
        ("zero_means_missing", zero, set()),
        ("empty_window", no_time, set()),
        ("energy_time_implausible", over_limit, set()),
        ("repeated_rows", repeat, {"extrapolated_rows"}),
    ],
)
def test_defects_of_rows(flag: str, change, along: set[str]) -> None:
    found = rows_of(change)
    assert flag in found
    assert set(found) <= {flag} | along


def test_clean_rows_raise_no_alarm() -> None:
    for seed in range(20):
        assert rows_of(seed=seed) == []


def test_every_flag_that_a_reader_gives_is_known() -> None:
    """Readers stand below this room and only write names."""
    import re
    from pathlib import Path

    import wattproof

    folder = Path(wattproof.__file__).parent / "ingest"
    names = set()
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        names |= set(re.findall(r'finding\(\s*log,\s*"(\w+)"', text))
        names |= set(re.findall(r'"flag": "(\w+)"', text))
        names |= set(re.findall(r'"((?:inferred|published)_\w+)"', text))
    names -= {"published_mean_w", "published_j", "published_w", "published_rows", "published_table"}
    assert len(names) > 10
    assert {name for name in names if name not in quality.FLAGS} == set()
