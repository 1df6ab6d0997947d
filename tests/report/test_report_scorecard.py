"""Verdicts: every grade is reachable, by hand-made tables, and names what it rests on."""

from __future__ import annotations

import json
from typing import Any

import pytest
import synthetic_campaign as made
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof.report.grades import PEARSON_MET, Grade
from wattproof.report.reliable import reliable
from wattproof.report.scorecard import holistic, judge, wide_range

NOTHING = made.empty()
GOOD = [made.health_row("nvml"), made.health_row("meter")]
CLOCKS = [made.clock_row("meter")]


def measured(*agreement: dict[str, Any], **more: Any) -> Any:
    tables: dict[str, Any] = {"agreement": list(agreement), "clocks": CLOCKS, "health": GOOD}
    return made.but(NOTHING, **(tables | more))


def nvml(**more: Any) -> dict[str, Any]:
    return made.agreement_row("NVML", "nvml", "epoch", **more)


def smi(**more: Any) -> dict[str, Any]:
    return made.agreement_row("SMI", "smi", "epoch", **({"pearson": 0.64} | more))


def refused_clock(source: str) -> dict[str, Any]:
    return made.clock_row(
        source, accepted=False, offset_ns=None, residual_ns=None, reason="flat signal"
    )


@pytest.mark.parametrize(
    ("inputs", "grade"),
    [
        (measured(nvml()), Grade.MET),
        # The paper's own outcome: a bad tool beside a good one does not spoil the campaign.
        (measured(smi(), nvml()), Grade.MET),
        (measured(nvml(pearson=0.95, error_median=-0.05)), Grade.MET),
        (measured(nvml(error_median=0.051)), Grade.PARTLY),
        (measured(nvml(error_median=-0.2)), Grade.PARTLY),
        (measured(nvml(), clocks=[refused_clock("meter")]), Grade.PARTLY),
        (measured(nvml(), clocks=[]), Grade.PARTLY),
        (measured(nvml(), health=[]), Grade.PARTLY),
        (measured(nvml(), health=[made.health_row("nvml", taken=995, failed=6)]), Grade.PARTLY),
        (measured(nvml(), health=[made.health_row("nvml", taken=990)]), Grade.MET),
        # An instrument that nothing rests on may be sick: it is named in the evidence.
        (measured(smi(), nvml(), health=[*GOOD, made.health_row("smi", taken=300)]), Grade.MET),
        (measured(nvml(), health=[*GOOD, made.health_row("nvml@ring", taken=300)]), Grade.PARTLY),
        (measured(smi()), Grade.NOT_MET),
        (measured(nvml(), smi(setting="ddp")), Grade.NOT_MET),
        # Agreement on the epochs that were sampled well is agreement on those only.
        (measured(smi(), smi(label="SMI (corrected)", pearson=0.97, n=20)), Grade.PARTLY),
        (measured(), Grade.CANNOT_TELL),
        (measured(nvml(n=9)), Grade.CANNOT_TELL),
        (measured(nvml(pearson=None, refused="constant reference")), Grade.CANNOT_TELL),
        (measured(made.agreement_row("NVML", "nvml", "run")), Grade.CANNOT_TELL),
    ],
)
def test_reliable(inputs: Any, grade: Grade) -> None:
    assert reliable(inputs).grade is grade


def test_failing_source_is_named_and_estimators_are_not_gpu_sources() -> None:
    estimator = made.agreement_row("Code Carbon", "code_carbon", "epoch", pearson=0.1)
    inputs = measured(
        smi(), nvml(), estimator, calibration=[made.calibration_row("code_carbon", "x", 0.1)]
    )
    verdict = reliable(inputs)
    assert verdict.grade is Grade.MET
    assert "SMI (single)" in verdict.summary
    assert "Code Carbon" not in verdict.summary


def test_power_is_judged_before_energy() -> None:
    inputs = measured(nvml(quantity="energy"), nvml(pearson=0.2))
    assert reliable(inputs).grade is Grade.NOT_MET


def test_refused_clock_is_named_where_nothing_can_be_told() -> None:
    none = nvml(n=0, pearson=None, error_median=None, refused="no reference: no meter")
    verdict = reliable(measured(none, clocks=[refused_clock("meter")]))
    assert verdict.grade is Grade.CANNOT_TELL
    assert "clock refused: meter" in verdict.summary
    assert "not compared (no reference: no meter)" in verdict.evidence[0].sentence


def test_setting_that_cannot_be_judged_is_named_and_does_not_decide() -> None:
    verdict = reliable(measured(nvml(), nvml(setting="packed", pearson=None, refused="shared")))
    assert verdict.grade is Grade.MET
    assert "packed" in verdict.summary


@pytest.mark.parametrize(
    ("span", "grade"),
    [
        (0.60, Grade.MET),
        (0.59, Grade.PARTLY),
        (0.30, Grade.PARTLY),
        (159 / 725, Grade.NOT_MET),  # the paper's space on its H100
        (None, Grade.CANNOT_TELL),
    ],
)
def test_wide_range(span: float | None, grade: Grade) -> None:
    row = made.usage_row(span=span, refused="" if span else "the limit is not known")
    verdict = wide_range(made.but(NOTHING, usage=[row]))
    assert verdict.grade is grade
    assert verdict.evidence[0].value == span


def test_range_is_not_judged_by_smi_where_nvml_is_nor_on_few_epochs() -> None:
    narrow, wide = made.usage_row(span=0.1), made.usage_row(span=0.9, source="smi")
    assert wide_range(made.but(NOTHING, usage=[wide, narrow])).grade is Grade.NOT_MET
    few = made.usage_row(span=0.9, n=9)
    assert wide_range(made.but(NOTHING, usage=[few])).grade is Grade.CANNOT_TELL
    assert wide_range(NOTHING).grade is Grade.CANNOT_TELL


@pytest.mark.parametrize(
    ("error_max", "grade"),
    [
        (0.05, Grade.MET),
        (0.066, Grade.PARTLY),
        (0.10, Grade.PARTLY),
        (0.103, Grade.NOT_MET),
        (None, Grade.CANNOT_TELL),
    ],
)
def test_holistic(error_max: float | None, grade: Grade) -> None:
    rows = [
        made.calibration_row("regression", "regression", 0.01, error_max=error_max, refused=""),
        made.calibration_row("code_carbon", "Code Carbon", 0.2),
    ]
    rows = rows if error_max is not None else rows[:1]
    assert holistic(made.but(made.full(), calibration=rows)).grade is grade


def test_holistic_needs_the_parts() -> None:
    good = [made.calibration_row("regression", "regression", 0.01)]
    assert holistic(made.but(NOTHING, calibration=good)).grade is Grade.PARTLY


def test_parts_add_up_to_the_node_and_match_the_drawn_powers() -> None:
    shares = {
        e.sentence.split(":")[0]: e.value
        for e in holistic(made.full()).evidence
        if e.table == "energy"
    }
    assert sum(shares.values()) == pytest.approx(1.0)  # type: ignore[arg-type]
    # CPU and DRAM have constant power, so their shares are in the ratio of their powers.
    assert shares["CPU"] / shares["DRAM"] == pytest.approx(made.CPU_W / made.DRAM_W)  # type: ignore[operator]


@settings(max_examples=30, deadline=None)
@given(
    pearson=st.floats(-1, 1),
    better=st.floats(0, 0.5),
    error=st.floats(-1, 1),
    shrink=st.floats(0, 1),
)
def test_a_better_source_never_lowers_the_grade(
    pearson: float, better: float, error: float, shrink: float
) -> None:
    order = [Grade.NOT_MET, Grade.PARTLY, Grade.MET]
    worse = reliable(measured(nvml(pearson=pearson, error_median=error)))
    improved = nvml(pearson=min(1.0, pearson + better), error_median=error * shrink)
    assert order.index(reliable(measured(improved)).grade) >= order.index(worse.grade)


def test_json_has_no_nan_and_says_simulated() -> None:
    for inputs in (made.full(), NOTHING):
        text = json.dumps(judge(inputs).as_dict(), allow_nan=False)
        back = json.loads(text)
        assert back["simulated"] is inputs.simulated
        assert [v["principle"] for v in back["verdicts"]] == ["i", "ii", "iii"]
        assert back["thresholds"]["pearson_met"] == PEARSON_MET
        for verdict in back["verdicts"]:
            for item in verdict["evidence"]:
                assert item["table"]
                assert item["unit"]
