"""Off-socket power: balance, power by load, load-matched model, refusals."""

import numpy as np
import pytest
from assessment_node import load, node_powers, table, window
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof import offsocket, tables
from wattproof.errors import WattproofError


def busy(socket_w: float, gpu_w: float) -> float:
    return 50.0 + 0.10 * socket_w + 0.05 * gpu_w


LOADS = {  # packages, DRAM, GPU
    "idle": (60.0, 10.0, 70.0),
    "prime": (160.0, 20.0, 72.0),
    "stress": (260.0, 60.0, 75.0),
    "gpu": (90.0, 15.0, 600.0),
}


def calibration(law=busy, gain: float = 1.0, kinds=tuple(LOADS), repeats: int = 2):
    return [
        load(kind, repeat, node_powers(*LOADS[kind][:2], [LOADS[kind][2]], law, gain))
        for kind in kinds
        for repeat in range(repeats)
    ]


def test_known_node_is_recovered_exactly():
    found = offsocket.fit(table(*calibration()))
    assert found.refused == found.model_refused == ""
    for kind, (packages, dram, gpu) in LOADS.items():
        assert found.power_w(kind) == pytest.approx(busy(packages + dram, gpu))
    assert found.by_kind["idle"].n == 2
    assert found.by_kind["idle"].sd_w == pytest.approx(0.0, abs=1e-9)
    model = found.model
    assert model is not None
    assert (model.b0_w, model.b1, model.b2) == pytest.approx((50.0, 0.10, 0.05))
    assert model.b3 == pytest.approx(0.10)  # this node's memory costs as much as its CPUs
    assert model.socket_range_w == pytest.approx((70.0, 320.0))
    assert found.load_matched_w(200.0, 300.0, 30.0) == pytest.approx(50 + 20 + 15)


def test_spread_and_uncertainty_of_the_mean():
    rows = [load("idle", i, node_powers(60, 10, [70], b)) for i, b in enumerate((90.0, 96.0, 99.0))]
    power = offsocket.fit(table(*rows)).by_kind["idle"]
    # mean 95; deviations -5, 1, 4: sum of squares 42, variance 21
    assert (power.mean_w, power.sd_w, power.n) == pytest.approx((95.0, 21**0.5, 3))
    assert power.u_w == pytest.approx(7**0.5)
    single = offsocket.fit(table(rows[0])).by_kind["idle"]
    assert (single.mean_w, single.sd_w, single.u_w, single.n) == (90.0, None, None, 1)


@settings(max_examples=40, deadline=None)
@given(
    b0=st.floats(10, 500), b1=st.floats(0, 0.5), b2=st.floats(0, 0.3),
    socket=st.floats(70, 320), gpu=st.floats(70, 600),
)  # fmt: skip
def test_reference_solves_the_balance(b0, b1, b2, socket, gpu):
    found = offsocket.fit(table(*calibration(lambda s, g: b0 + b1 * s + b2 * g)))
    meter = socket + gpu + b0 + b1 * socket + b2 * gpu
    assert found.gpu_total_w(meter, socket, 40.0) == pytest.approx(gpu, rel=1e-6)


def test_slopes_are_never_negative():
    model = offsocket.fit(table(*calibration(lambda s, g: 200.0 - 0.3 * s + 0.1 * g))).model
    assert model is not None
    assert model.b1 == 0.0
    assert model.b2 > 0.0


def memory_law(packages_w: float, dram_w: float, gpu_w: float) -> float:
    """A board on which memory costs much more beside itself than CPUs do."""
    return 50.0 + 0.05 * packages_w + 1.5 * dram_w + 0.1 * gpu_w


def test_memory_has_a_slope_of_its_own_where_the_loads_tell_it():
    rows = [
        load(kind, repeat, node_powers(p, d, [g], memory_law(p, d, g)))
        for kind, (p, d, g) in LOADS.items()
        for repeat in range(2)
    ]
    found = offsocket.fit(table(*rows))
    model = found.model
    assert model is not None
    assert (model.b0_w, model.b1, model.b2, model.b3) == pytest.approx((50.0, 0.05, 0.1, 1.5))
    assert model.residual_w == pytest.approx(0.0, abs=1e-6)
    # A training that loads memory more than CPUs: no calibration load is like it.
    packages, dram, gpu = 90.0, 50.0, 250.0
    busy_w = memory_law(packages, dram, gpu)
    socket = packages + dram
    assert found.load_matched_w(socket, gpu, dram) == pytest.approx(busy_w)
    assert found.gpu_total_w(socket + gpu + busy_w, socket, dram) == pytest.approx(gpu)
    assert np.isnan(found.gpu_total_w(socket + gpu + busy_w, socket, np.nan))

    # Idle, prime and gpu alone leave memory where CPUs are: one slope for both, and no guess.
    few = {kind: rows[2 * i : 2 * i + 2] for i, kind in enumerate(LOADS)}
    lumped = offsocket.fit(table(*few["idle"], *few["prime"], *few["gpu"])).model
    assert lumped is not None
    assert lumped.b3 == lumped.b1

    # Without a DRAM domain memory is a part of what is sought.
    bare = table(*rows)
    blind = offsocket.fit(bare[bare["channel"] != "cpu0.dram"])
    assert blind.model is not None
    assert np.isfinite(blind.load_matched_w(120.0, 250.0, np.nan))


@pytest.mark.parametrize("gain", [0.95, 1.05])
def test_constant_nvml_gain_is_absorbed_by_load_matching_as_documented(gain):
    found = offsocket.fit(table(*calibration(gain=gain)))
    socket, gpu = 150.0, 300.0
    meter = socket + gpu + busy(socket, gpu)
    # What is derived follows NVML's reading, not the truth.
    assert found.gpu_total_w(meter, socket, 25.0) == pytest.approx(gain * gpu, abs=1e-6)
    # The idle variant shows the gain, mixed with 0.1·(150 − 70) + 0.05·(300 − 70) W of growth.
    idle = found.gpu_total_w(meter, socket, 25.0, "idle")
    assert idle == pytest.approx(gpu + 8.0 + 11.5 + (gain - 1) * 70.0)


def test_out_of_range_is_unknown_not_extrapolated():
    found = offsocket.fit(table(*calibration(kinds=("idle", "prime", "stress"))))
    assert found.model is not None
    assert np.isfinite(found.load_matched_w(100.0, 72.0, 15.0))
    assert np.isnan(found.load_matched_w(100.0, 400.0, 15.0))  # GPU never worked in the calibration
    assert np.isnan(found.load_matched_w(np.nan, 72.0, 15.0))


def test_refusals_say_what_is_missing():
    full = table(*calibration())
    cases = {
        "node.ac": "the meter",
        "cpu0.package": "CPU packages (rapl)",
    }
    for channel, words in cases.items():
        found = offsocket.fit(full[full["channel"] != channel])
        assert words in found.refused
        with pytest.raises(WattproofError, match="Off-socket power under 'idle' is unknown"):
            found.power_w("idle")
        with pytest.raises(WattproofError, match="No load-matched"):
            found.load_matched_w(1.0, 1.0, 1.0)
    assert "no usable idle window" in offsocket.fit(full[full["kind"] != "idle"]).refused
    assert "no calibration windows" in offsocket.fit(tables.empty("energy")).refused
    only_idle = offsocket.fit(full[full["kind"] == "idle"])
    assert only_idle.refused == ""
    assert "only 2 usable" in only_idle.model_refused
    assert (
        "vary by less"
        in offsocket.fit(table(*calibration(kinds=("idle",), repeats=4))).model_refused
    )
    with pytest.raises(WattproofError, match=r"'prime' is unknown.*calibration\.loads"):
        only_idle.power_w("prime")
    negative = offsocket.fit(table(load("idle", 0, node_powers(60, 10, [70], -20.0))))
    assert "-20.0 W" in negative.refused
    with pytest.raises(WattproofError, match="must be 'load' or 'idle'"):
        offsocket.fit(full).gpu_total_w(1.0, 1.0, 1.0, "prime")


def test_sync_windows_and_unproven_clocks_do_not_count():
    odd = node_powers(60, 10, [70], 5000.0)
    rows = [*calibration(), load("sync", 0, odd)]
    rows.append(load("idle", 9, odd, flags={"node.ac": ["clock_not_proven"]}))
    found = offsocket.fit(table(*rows))
    assert found.by_kind["idle"].n == 2
    assert found.power_w("idle") == pytest.approx(busy(70, 70))


def test_missing_parts_never_count_as_zero():
    good = node_powers(100, 20, [200, 50], 100.0)
    rows = [
        window("good", good),
        window("no-dram", {**good, "cpu0.dram": None}),
        window("no-gpu1", {k: v for k, v in good.items() if not k.startswith("gpu1")}),
        window("no-counter", {**good, "gpu0.energy": None, "gpu0.power_instant": 210.0}),
    ]
    balance = offsocket.node_balance(table(*rows))
    assert balance.loc["good", "busy_w"] == pytest.approx(100.0)
    assert balance.loc["good", "others_w"] == pytest.approx(50.0)
    assert np.isnan(balance.loc["no-dram", "busy_j"])
    assert np.isnan(balance.loc["no-gpu1", "gpu_j"])
    assert np.isnan(balance.loc["no-gpu1", "others_j"])
    assert balance.loc["no-counter", "gpu_w"] == pytest.approx(260.0)  # the integral stands in


def test_packed_windows_see_the_other_gpu_each():
    powers = node_powers(100, 20, [200, 50], 100.0)
    balance = offsocket.node_balance(
        table(
            window("a", powers, slot=0), window("b", powers, slot=1), window("c", powers, slot=None)
        )
    )
    assert balance["others_w"].to_dict() == pytest.approx({"a": 50.0, "b": 200.0, "c": 0.0})


def test_node_without_dram_domain_counts_memory_as_off_socket():
    powers = {k: v for k, v in node_powers(100, 20, [200], 100.0).items() if k != "cpu0.dram"}
    balance = offsocket.node_balance(table(window("a", powers)))
    assert balance.loc["a", "busy_w"] == pytest.approx(120.0)
    assert np.isnan(balance.loc["a", "dram_j"])
