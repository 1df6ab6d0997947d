"""What the figures are drawn from: selections and series, against values known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic_campaign as made

from wattproof.report import draw_all, figures_run, select, series, text
from wattproof.report.series import Series, counter_power


def test_figures_without_data_exist_and_say_why(tmp_path: Path) -> None:
    for info in draw_all(made.empty(), tmp_path):
        assert info.missing.endswith(".")
        assert info.png.exists()
        assert info.svg.exists()


def test_gpu_windows_prefers_the_counter() -> None:
    inputs = made.full()
    epochs = select.gpu_windows(inputs, "nvml").set_index("window_id")["mean_w"]
    truth = inputs.balance.set_index("window_id")["mean_w"].reindex(epochs.index)
    assert len(epochs) == made.RUNS * made.EPOCHS
    np.testing.assert_allclose(epochs, 0.99 * truth)  # instant would be 0.97


def test_gpu_windows_takes_only_the_gpu_of_the_slot_and_sums_where_there_is_none() -> None:
    inputs = made.full()
    one = inputs.energy[
        (inputs.energy["source"] == "nvml") & (inputs.energy["level"] == "run")
    ].head(1)
    other = one.assign(channel="gpu1.energy", device="GPU-OTHER", mean_w=1000.0)
    energy = pd.concat([one, other])
    with_slot = select.gpu_windows(made.but(inputs, energy=energy), "nvml", "run")
    assert with_slot["mean_w"].tolist() == one["mean_w"].tolist()
    without = select.gpu_windows(
        made.but(inputs, energy=energy.assign(slot=pd.NA, setting="ddp")), "nvml", "run"
    )
    assert without["mean_w"].tolist() == [one["mean_w"].iloc[0] + 1000.0]
    gap = energy.assign(slot=pd.NA, mean_w=[one["mean_w"].iloc[0], None])
    unknown = select.gpu_windows(made.but(inputs, energy=gap), "nvml", "run")
    assert unknown["mean_w"].isna().all()  # an unknown GPU is not a GPU of 0 W


def test_refused_clock_gives_no_power() -> None:
    inputs = made.full()
    energy = inputs.energy.assign(flags=[["clock_not_proven"]] * len(inputs.energy))
    assert select.gpu_windows(made.but(inputs, energy=energy), "smi")["mean_w"].isna().all()


def test_counter_power_corrects_wraps_and_leaves_resets_out() -> None:
    counter = Series(np.arange(6.0), np.array([980.0, 990.0, 0.0, 10.0, 20.0, 30.0]))
    wrapped = counter_power(counter, 1000.0)
    np.testing.assert_allclose(wrapped.value, 10.0)
    np.testing.assert_allclose(wrapped.t_s, [0.5, 1.5, 2.5, 3.5, 4.5])
    reset = counter_power(counter, None)
    np.testing.assert_allclose(reset.t_s, [0.5, 2.5, 3.5, 4.5])


def test_balance_by_sample_is_the_drawn_power() -> None:
    inputs = made.full()
    run = select.run_of_example(inputs)
    assert run is not None
    assert run["run_id"] == f"run-{made.RUNS - 1:02d}"  # the longest
    balance = series.gpu_balance(inputs, run, int(run["start_ns"]))
    assert balance is not None
    length_s = (run["end_ns"] - run["start_ns"]) / 1e9
    inside = balance.series.between(0, length_s)
    truth = inputs.balance.set_index("window_id")["mean_w"][run["window_id"]]
    # Noise of 0.5 W on some 460 samples, and two edges a sample wide of up to 200 W.
    assert inside.value.mean() == pytest.approx(truth, abs=1.5)
    assert "60.6" in balance.how or "60.0" in balance.how  # off-socket as drawn: 60 W


def test_balance_without_rapl_says_that_it_is_shifted() -> None:
    inputs = made.full()
    samples = inputs.example["samples"]
    example = {**inputs.example, "samples": samples[samples["source"] != "rapl"]}
    run = select.run_of_example(inputs)
    assert run is not None
    balance = series.gpu_balance(made.but(inputs, example=example), run, int(run["start_ns"]))
    assert balance is not None
    assert "only its shape is independent" in balance.how


def test_refused_meter_clock_leaves_the_balance_out() -> None:
    inputs = made.full()
    samples = inputs.example["samples"].copy()
    samples.loc[samples["source"] == "meter", "t_ns"] = pd.NA
    drawing = figures_run.time_series(
        made.but(inputs, example={**inputs.example, "samples": samples})
    )
    assert "not available" in drawing.caption
    assert drawing.missing == ""


def test_instants_survive_as_integers() -> None:
    """Nanoseconds since the epoch do not fit a float: neighbours 100 ns apart must stay apart."""
    samples = pd.DataFrame(
        {
            "source": "meter",
            "channel": "node.ac",
            "value": [1.0, 2.0],
            "status": "ok",
            "t_ns": pd.array([1_764_000_000_000_000_100, 1_764_000_000_000_000_200], "Int64"),
        }
    )
    inputs = made.but(made.empty(), example={"recording": "r", "samples": samples})
    found = series.channel_series(inputs, "meter", "node.ac", 1_764_000_000_000_000_000)
    np.testing.assert_allclose(found.t_s, [1e-7, 2e-7], rtol=1e-9)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "not known"),
        (float("nan"), "not known"),
        (pd.NA, "not known"),
        (0, "0.00"),
        (1234.5, "1\u202f234"),
        (-0.0001, "\u22120.000100"),
        (0.103, "0.103"),
        (99.96, "100.0"),
    ],
)
def test_number(value: object, said: str) -> None:
    assert text.number(value) == said


def test_percent_and_p() -> None:
    assert text.percent(0.103) == "10.3\u202f%"
    assert text.percent(-0.036) == "\u22123.6\u202f%"
    assert text.percent(-1e-9) == "0.0\u202f%"
    assert text.p_value(1e-7) == "< 0.001"
    assert text.listed(["a", "b", "c"]) == "a, b and c"


def test_refused_alignments_are_told_with_their_reason() -> None:
    from wattproof.report.style import look

    refused = made.clock_row(
        "meter", accepted=False, offset_ns=None, residual_ns=None, reason="the signal is flat"
    )
    with look():
        drawing = figures_run.clock(made.but(made.empty(), clocks=[refused]))
        mixed = figures_run.clock(made.but(made.empty(), clocks=[refused, made.clock_row("meter")]))
    assert "Every clock was refused (1 alignments)" in drawing.missing
    assert "the signal is flat" in drawing.missing
    assert mixed.missing == ""
    assert "Refused alignments: 1 of 2" in mixed.caption
