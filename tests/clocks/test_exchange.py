"""Offsets from messages that two machines stamped, against simulated machines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof import clocks, tables
from wattproof.clocks import exchange, far
from wattproof.clocks.match import Refusal

S = 10**9
T0 = 1_700_000_000 * S


def messages(rng, offset_s, drift_ppm=0.0, n=20, span_s=1500.0, tick_s=0.0):
    """Device clock = host + offset + drift; answers take 1 ms to 20 ms either way."""
    sent = np.sort(rng.uniform(0, span_s, n))
    came = sent + rng.uniform(0.0005, 0.01, n)
    back = came + rng.uniform(0.0005, 0.01, n)
    device = came * (1 + drift_ppm * 1e-6) + offset_s
    if tick_s:
        device = np.floor(device / tick_s) * tick_s

    def ns(x):
        return T0 + np.rint(x * 1e9).astype(np.int64)

    return ns(sent), ns(device), ns(back)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.floats(-1e8, 1e8), st.floats(-50, 50))
def test_offset_is_inside_the_network_delay(seed, offset_s, drift_ppm):
    sent, device, received = messages(np.random.default_rng(seed), offset_s, drift_ppm)
    found = exchange.fit(sent, device, received)
    assert not isinstance(found, Refusal)
    error = found.offset_ns + offset_s * 1e9 + drift_ppm * 1e-6 * (sent[0] - T0)
    assert abs(error) < 12e6
    assert found.confidence == pytest.approx(1.0, abs=0.01)


def test_a_coarse_clock_is_no_contradiction():
    sent, device, received = messages(np.random.default_rng(1), 0.043, tick_s=0.0156)
    found = exchange.fit(sent, device, received)
    assert not isinstance(found, Refusal)
    assert found.offset_ns == pytest.approx(-0.043e9 + 0.0078e9, abs=8e6)


def test_a_clock_that_was_set_in_between_is_refused():
    sent, device, received = messages(np.random.default_rng(2), 3.0)
    device[10:] += S // 2
    found = exchange.fit(sent, device, received)
    assert isinstance(found, Refusal)
    assert "contradict" in found.reason


def test_an_answer_before_its_question_is_refused():
    sent, device, received = messages(np.random.default_rng(3), 3.0)
    received[4] = sent[4] - 1
    assert isinstance(exchange.fit(sent, device, received), Refusal)


def test_alignment_takes_the_messages():
    sent, device, received = messages(np.random.default_rng(4), 3600.25, 20.0)
    key = {"recording": "r", "session": 0, "source": "ptdaemon"}
    channels = tables.conform(
        [
            {
                **key,
                "channel": "node.ac",
                "unit": "W",
                "kind": "power",
                "device": "node",
                "averaging_s": 1.0,
                "clock": "device",
                "simulated": False,
                "identity": '{"arrival": false}',
            }
        ],
        "channels",
    )
    exchanged = pd.DataFrame({**key, "sent_ns": sent, "device_ns": device, "received_ns": received})
    row = clocks.align(
        tables.empty("samples"), channels, tables.empty("marks"), {}, exchanged
    ).iloc[0]
    assert row["accepted"]
    assert row["method"] == "exchanged_epochs"
    middle = device[10]
    mono = middle + row["offset_ns"] + row["drift_ppm"] * 1e-6 * (middle - row["anchor_ns"])
    assert abs(mono - (sent[10] + received[10]) / 2) < 12e6


def test_slow_answers_prove_little():
    sent, device, received = messages(np.random.default_rng(5), 1.0)
    found = exchange.fit(sent, device, received + 5 * S)
    assert not isinstance(found, Refusal)
    assert found.confidence == 0.0


def test_whole_hours_and_the_rest_are_told_apart():
    sent, device, received = messages(np.random.default_rng(6), -7 * 3600 + 0.25)
    found = exchange.fit(sent, device, received)
    assert not isinstance(found, Refusal)
    words = far.describe(found.offset_ns)
    assert words.startswith("7 h minus 0.2")
    assert "time zone" in words


def test_one_slow_answer_does_not_widen_what_the_fast_ones_prove():
    sent, device, received = messages(np.random.default_rng(7), 0.5)
    received[3] += 20 * S
    found = exchange.fit(sent, device, received)
    assert not isinstance(found, Refusal)
    assert found.half_width_s < 0.02
    assert found.offset_ns == pytest.approx(-0.5 * S, abs=0.012 * S)
