"""Power and utilisation range of the GPUs."""

import numpy as np
import pandas as pd
import pytest
from assessment_node import GPU_700, channel_row, channels, load, table, window
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof import tables, usage


def campaign(count: int = 20, idle: bool = True):
    rows = [load("idle", i, {"gpu0.energy": w}) for i, w in enumerate((74.0, 76.0)) if idle]
    rows += [
        window(f"e{i}", {"gpu0.energy": 146.0 + 159.0 * i / (count - 1), "gpu0.power": 80.0})
        for i in range(count)
    ]
    rows.append(window("r", {"gpu0.energy": 999.0}, level="run"))
    return table(*rows)


def limit(watts):
    return channels(channel_row("nvml", "gpu0.energy", "GPU-0", {"limit_w": watts}))


def percent(count: int = 20, law=lambda i: 40.0 + i):
    return pd.DataFrame(
        {"window_id": [f"e{i}" for i in range(count)], "slot": np.zeros(count, np.int32)}
    ).assign(utilisation_percent=[law(i) for i in range(count)], memory_utilisation_percent=1.0)


def test_range_of_the_paper():
    """paper.md section 1: 146–305 W of 800 W (peak share 38 %), base power 75 W."""
    frame = usage.assess(campaign(), limit(800.0), percent())
    tables.conform(frame, "usage")
    row = frame.iloc[0]
    assert (row["setting"], row["device"], row["source"], row["n"]) == (
        "single",
        "GPU-0",
        "nvml",
        20,
    )
    assert (row["min_w"], row["max_w"], row["idle_w"]) == pytest.approx((146.0, 305.0, 75.0))
    assert row["span"] == pytest.approx(159.0 / 725.0)
    assert row["peak_share"] == pytest.approx(305.0 / 800.0)
    assert row["median_w"] == pytest.approx(225.5)
    assert (row["q05_w"], row["q95_w"]) == pytest.approx((146 + 0.05 * 159, 146 + 0.95 * 159))
    assert (row["utilisation_min"], row["utilisation_max"]) == (40.0, 59.0)
    assert row["pearson_utilisation"] == pytest.approx(1.0)
    assert row["refused"] == ""


@pytest.mark.parametrize(
    ("energy", "listed", "utilisation", "words", "nulls"),
    [
        (
            campaign(),
            limit(None),
            percent(),
            "limit of this GPU is unknown",
            ["span", "peak_share"],
        ),
        (campaign(idle=False), limit(800.0), percent(), "no idle window", ["span", "idle_w"]),
        (campaign(), limit(60.0), percent(), "not above idle", ["span"]),
        (
            campaign(),
            limit(800.0),
            None,
            "not recorded",
            ["utilisation_min", "pearson_utilisation"],
        ),
        (campaign(), limit(800.0), percent(2), "only 2 epochs", ["pearson_utilisation"]),
        (campaign(), limit(800.0), percent(law=lambda i: 9.0), "constant", ["pearson_utilisation"]),
        (campaign(5), limit(800.0), percent(5), "5 epochs, 20 are needed", ["q05_w", "q95_w"]),
    ],
)
def test_refusals(energy, listed, utilisation, words, nulls):
    row = usage.assess(energy, listed, utilisation).iloc[0]
    assert words in row["refused"]
    for name in nulls:
        assert pd.isna(row[name])
    assert row["max_w"] == pytest.approx(305.0)


def test_only_the_used_gpu_counts_and_ddp_uses_all():
    powers = {"gpu0.energy": 200.0, "gpu1.energy": 70.0}
    rows = [window(f"s{i}", powers, slot=0) for i in range(3)]
    rows += [window(f"d{i}", powers, slot=None, setting="ddp") for i in range(3)]
    frame = usage.assess(table(*rows), channels(GPU_700))
    found = {(r.setting, r.device): r.max_w for r in frame.itertuples()}
    assert found == {("single", "GPU-0"): 200.0, ("ddp", "GPU-0"): 200.0, ("ddp", "GPU-1"): 70.0}


def test_smi_only_where_there_is_nothing_better():
    frame = table(*[window(f"e{i}", {"gpu0.power": 100.0 + i}) for i in range(3)])
    assert usage.assess(frame, channels(GPU_700)).iloc[0]["source"] == "smi"
    assert usage.assess(tables.empty("energy"), tables.empty("channels")).empty


def samples_frame(times, values, channel="gpu0.utilisation", source="nvml", status="ok"):
    return pd.DataFrame(
        {
            "recording": "rec-0", "session": np.int16(0), "source": source, "channel": channel,
            "t_ns": pd.array(times, dtype="Int64"), "value": values, "status": status,
        }
    )  # fmt: skip


def windows_frame(spans, slot=0):
    return pd.DataFrame(
        [
            {"recording": "rec-0", "session": np.int16(0), "window_id": f"w{i}", "level": "epoch",
             "setting": "single", "slot": slot, "start_ns": a, "end_ns": b}
            for i, (a, b) in enumerate(spans)
        ]
    )  # fmt: skip


UTIL = channel_row("nvml", "gpu0.utilisation", "GPU-0", {}, slot=0)
MEMORY = channel_row("nvml", "gpu0.memory_utilisation", "GPU-0", {}, slot=0)


def test_windows_are_half_open_and_bad_samples_do_not_count():
    base = 2**62  # floats cannot tell these instants apart
    good = samples_frame([base + t for t in (0, 10, 20, 30)], [10.0, 20.0, 60.0, 90.0])
    failed = samples_frame([base + 5], [None], status="timeout")
    refused = samples_frame([None], [99.0])
    memory = samples_frame([base + 1], [7.0], channel="gpu0.memory_utilisation")
    other = samples_frame([base + 1], [1.0], channel="gpu0.temperature")
    samples = pd.concat([refused, good, failed, memory, other], ignore_index=True)
    spans = [(base, base + 20), (base + 20, base + 21), (base + 31, base + 99)]
    found = usage.utilisation_by_window(samples, channels(UTIL, MEMORY), windows_frame(spans))
    tables.conform(found, "utilisation")
    assert found["utilisation_percent"].tolist()[:2] == [15.0, 60.0]
    assert np.isnan(found["utilisation_percent"].iloc[2])
    assert found["memory_utilisation_percent"].iloc[0] == 7.0
    assert found["slot"].tolist() == [0, 0, 0]


def test_other_slots_sessions_and_loads_have_no_row():
    samples = samples_frame([5], [50.0])
    for change in (
        {"slot": 1},
        {"session": np.int16(1)},
        {"setting": "calibration"},
        {"level": "run"},
    ):
        windows = windows_frame([(0, 10)]).assign(**change)
        assert usage.utilisation_by_window(samples, channels(UTIL), windows).empty
    everywhere = windows_frame([(0, 10)]).assign(slot=pd.array([None], dtype="Int32"))
    found = usage.utilisation_by_window(samples, channels(UTIL), everywhere)
    assert found["utilisation_percent"].tolist() == [50.0]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.floats(0, 100)), max_size=30),
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=6),
)
def test_means_equal_the_plain_loop(readings, spans):
    samples = samples_frame([t for t, _ in readings], [float(v) for _, v in readings])
    found = usage.utilisation_by_window(samples, channels(UTIL), windows_frame(spans))
    for (start, end), got in zip(spans, found["utilisation_percent"], strict=True):
        inside = [v for t, v in readings if start <= t < end]
        assert np.isnan(got) if not inside else got == pytest.approx(np.mean(inside), abs=1e-9)
