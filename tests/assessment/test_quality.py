"""Flags across windows: implausible GPU power, frozen meter."""

import pytest
from assessment_node import GPU_700, channel_row, channels, load, table, window

from wattproof import quality, tables
from wattproof.energy import flags as energy_flags


def flags_of(frame, window_id: str, channel: str) -> list[str]:
    row = frame[(frame["window_id"] == window_id) & (frame["channel"] == channel)]
    return list(row["flags"].iloc[0])


@pytest.mark.parametrize(
    ("power_w", "flagged"),
    [(34.9, True), (35.1, False), (300.0, False), (734.9, False), (735.1, True)],
)
def test_power_outside_half_idle_and_limit(power_w, flagged):
    """Idle 70 W and limit 700 W: plausible is 35 W to 735 W."""
    frame = table(load("idle", 0, {"gpu0.energy": 70.0}), window("w", {"gpu0.energy": power_w}))
    found = quality.flag_windows(frame, channels(GPU_700))
    assert ("energy_outside_limits" in flags_of(found, "w", "gpu0.energy")) is flagged


def test_limits_that_are_unknown_do_not_flag():
    frame = table(window("w", {"gpu0.energy": 5000.0, "gpu1.energy": None, "node.ac": 9000.0}))
    anonymous = channels(channel_row("nvml", "gpu0.energy", "GPU-0", {"limit_w": None}))
    found = quality.flag_windows(frame, anonymous)
    assert all(list(flags) == [] for flags in found["flags"])
    known = quality.flag_windows(frame, channels(GPU_700))
    assert flags_of(known, "w", "gpu0.energy") == ["energy_outside_limits"]
    assert flags_of(known, "w", "gpu1.energy") == []


def test_idle_bound_is_that_of_the_same_channel_and_device():
    frame = table(
        load("idle", 0, {"gpu0.energy": 70.0, "gpu1.energy": 20.0}),
        window("w", {"gpu0.energy": 30.0, "gpu1.energy": 30.0}),
    )
    found = quality.flag_windows(frame, channels())
    assert flags_of(found, "w", "gpu0.energy") == ["energy_outside_limits"]
    assert flags_of(found, "w", "gpu1.energy") == []


def test_frozen_meter():
    def meter(power, session=0, count=4):
        return [
            window(f"s{session}w{i}", {"node.ac": power(i), "cpu0.package": 50.0}, session=session)
            for i in range(count)
        ]

    frozen, alive = meter(lambda i: 412.5), meter(lambda i: 412.5 + 0.1 * i, session=1)
    short = meter(lambda i: 99.0, session=2, count=2)
    found = quality.flag_windows(table(*frozen, *alive, *short), channels())
    assert flags_of(found, "s0w3", "node.ac") == ["constant_meter"]
    assert flags_of(found, "s0w3", "cpu0.package") == []  # only the meter is judged
    assert flags_of(found, "s1w3", "node.ac") == []
    assert flags_of(found, "s2w1", "node.ac") == []  # two windows prove nothing


def test_flags_are_added_once_and_the_input_is_left_alone():
    frame = table(
        load("idle", 0, {"gpu0.energy": 70.0}),
        window("w", {"gpu0.energy": 1.0}, flags={"gpu0.energy": ["gap"]}),
    )
    once = quality.flag_windows(frame, channels(GPU_700))
    twice = quality.flag_windows(once, channels(GPU_700))
    assert flags_of(twice, "w", "gpu0.energy") == ["gap", "energy_outside_limits"]
    assert flags_of(frame, "w", "gpu0.energy") == ["gap"]
    assert tables.conform(twice, "energy").num_rows == len(frame)


@pytest.mark.parametrize(("taken", "flagged"), [(0, False), (1, True), (49, True), (50, False)])
def test_sample_ratio(taken, flagged):
    """100 are expected; a window without any has its own flag."""
    rows = [window("w", {"gpu0.power": 100.0}, samples={"gpu0.power": taken})]
    found = quality.flag_windows(table(*rows), channels())
    assert ("sample_ratio_low" in flags_of(found, "w", "gpu0.power")) is flagged
    unknown = table(*rows).assign(expected=None)
    assert flags_of(quality.flag_windows(unknown, channels()), "w", "gpu0.power") == []


def test_limit_that_changed_is_unknown():
    rows = channels(GPU_700, channel_row("nvml", "gpu0.energy", "GPU-0", {"limit_w": 500.0}))
    assert quality.device_limits(rows) == {"GPU-0": None}


def test_every_flag_has_a_sentence():
    assert set(energy_flags.FLAGS) < set(quality.FLAGS)
    for name, flag in quality.FLAGS.items():
        assert flag.sentence.endswith("."), name
        assert flag.remedy.endswith("."), name
        assert flag.severity in quality.SEVERITIES
        assert quality.describe(name) == flag.sentence
    assert "new_flag" in quality.describe("new_flag")


def test_empty_table():
    assert quality.flag_windows(tables.empty("energy"), tables.empty("channels")).empty
