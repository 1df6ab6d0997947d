import dataclasses
import json
import re
from pathlib import Path

import pytest

from wattproof.errors import WattproofError
from wattproof.virtual import NodeSpec, create_node, endpoints, presets, truth
from wattproof.virtual.node import draw


def test_same_seeds_same_node_and_other_seeds_another(tmp_path: Path):
    def make(seed, session):
        parameters = presets.get("paper")
        return draw("paper", parameters, seed, session, 123, tmp_path / "a")

    assert make(1, [2, 3]) == make(1, [2, 3])
    one, other_session, other_machine = make(1, [2]), make(1, [4]), make(2, [2])
    # Another session of one machine: same boards and crystal, other phases, counters and faults.
    assert one.gpu_uuids == other_session.gpu_uuids
    assert [b.gain for b in one.boards] == [b.gain for b in other_session.boards]
    assert one.meter.rate_ppm == other_session.meter.rate_ppm
    assert [b.phase_ns for b in one.boards] != [b.phase_ns for b in other_session.boards]
    assert one.meter.sctc_start != other_session.meter.sctc_start
    assert one.smi_seed != other_session.smi_seed
    assert not set(one.gpu_uuids) & set(other_machine.gpu_uuids)
    assert one.meter.rate_ppm != other_machine.meter.rate_ppm


def test_board_gains(tmp_path: Path):
    gains = {}
    for preset in ("laptop", "paper"):
        p = presets.get(preset)
        specs = [draw(preset, p, seed, [], 0, tmp_path / "a") for seed in range(50)]
        gains[preset] = [b.gain for spec in specs for b in spec.boards]
    assert set(gains["laptop"]) == {1.0}
    assert 0.95 <= min(gains["paper"]) < 0.96
    assert 1.04 < max(gains["paper"]) <= 1.05


def test_written_and_read_again(tmp_path: Path):
    node, aside = tmp_path / "node", tmp_path / "truth"
    spec = create_node(node, aside, "laptop", 7, {"smi": {"stall_s": [1.2, 1.3]}}, [1])
    assert NodeSpec.load(node) == NodeSpec.load(aside) == spec
    assert spec.parameters.smi.stall_s == (1.2, 1.3)
    assert spec.activity_path == aside / "activity.bin"
    assert spec.activity_path.stat().st_size == 0
    assert (spec.slots, spec.memory_gib) == (2, 64.0)
    text = json.loads((node / "node.json").read_text())
    assert text["simulated"] is True
    assert "Injected" in text["injected"]["smi"]
    assert all(re.match("GPU-SIMULATED-", uuid) for uuid in spec.gpu_uuids)
    assert all(b.serial.startswith("SIM-") for b in spec.boards)
    assert spec.meter.serial.startswith("SIM-")


def test_truth_can_be_moved(tmp_path: Path):
    create_node(tmp_path / "node", tmp_path / "truth", "laptop", 7)
    (tmp_path / "truth").rename(tmp_path / "elsewhere")
    moved = truth.load(tmp_path / "elsewhere")
    assert moved.energy_j("gpu0", moved.spec.t0_ns, moved.spec.t0_ns + 10**9) == pytest.approx(15)
    with pytest.raises(WattproofError, match=r"no virtual node in .*truth"):
        truth.load(tmp_path / "truth")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"smi": {"stall_probabilty": 0}}, r"node\.overrides\.smi .*Did you mean 'stall_prob"),
        ({"mater": {}}, "Did you mean 'meter'"),
        ({"smi": 3}, r"node\.overrides\.smi must be a mapping"),
        ({"gpu": {"idle_w": "15"}}, r"gpu\.idle_w must be a number"),
        ({"gpu": {"count": 1.5}}, "whole number"),
        ({"gpu": {"idle_w": -1}}, "at least 0"),
        ({"gpu": {"idle_w": 500}}, "above the power at full load"),
        ({"smi": {"stall_s": [2, 1]}}, "shortest and longest"),
        ({"smi": {"stall_probability": 1.5}}, "from 0 to 1"),
        ({"smi": {"hold_s": 0}}, "more than 0"),
    ],
)
def test_bad_overrides_are_named(overrides, message):
    with pytest.raises(WattproofError, match=message):
        presets.get("laptop", overrides)


def test_overrides_leave_the_rest_alone():
    base, changed = presets.get("paper"), presets.get("paper", {"dram": {"memory_gib": 512}})
    assert changed.dram.memory_gib == 512.0
    assert dataclasses.replace(changed, dram=base.dram) == base
    with pytest.raises(WattproofError, match="Did you mean 'paper'"):
        presets.get("papers")


def test_endpoints_stand_where_the_driver_stands(tmp_path: Path):
    create_node(tmp_path / "node", tmp_path / "truth", "laptop", 7)
    ends = endpoints(tmp_path / "node")
    assert set(ends) == {"nvml", "smi_command", "powercap_root", "meter_port", "simulated"}
    assert ends["simulated"] is True
    assert isinstance(ends["powercap_root"], Path)
    assert ends["meter_port"] == str(tmp_path / "node" / "lmg450")
    with pytest.raises(WattproofError, match="no virtual node"):
        endpoints(tmp_path / "nowhere")
