"""What measuring itself costs: start-up apart, and no share where it would mean nothing."""

from wattproof.measure.summary import _cost

HOST = {"cpu_s": 0.5, "cpu_start_s": 0.3, "duration_s": 10.0}
NEVER_UP = {"cpu_s": 0.25, "cpu_start_s": None, "duration_s": None}


def test_a_source_that_never_came_up_cost_its_start_only() -> None:
    found = _cost([HOST, NEVER_UP], {"ended": {"own_cpu_s": 0.1}})
    assert round(found["cpu_s"], 9) == 0.3
    assert round(found["cpu_start_s"], 9) == 0.55
    assert round(found["share_of_a_core"], 9) == 0.03


def test_a_share_of_a_moment_is_not_told() -> None:
    assert _cost([{**HOST, "duration_s": 0.3}], {})["share_of_a_core"] is None
    assert _cost([], {})["share_of_a_core"] is None
