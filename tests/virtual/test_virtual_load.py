import itertools

import pytest

from wattproof.errors import WattproofError
from wattproof.space.regnet_demo import RegNetDemo
from wattproof.virtual import presets, training_load
from wattproof.virtual.model import PowerModel

# MACs, parameters, activations: complexity vectors of ea_has_bench.md, section 2.
EA_HAS = {
    "tiny smallest": (8_462_206, 86_606, 230_046),
    "tiny equal widths": (23_978_144, 192_064, 262_816),
    "tiny most points": (35_546_064, 395_248, 328_656),
    "tiny largest": (374_066_384, 5_986_672, 1_448_144),
    "cifar smallest": (120_010_502, 1_445_558, 976_678),
    "cifar most points": (122_011_082, 1_718_266, 760_890),
    "cifar largest": (129_962_420, 1_909_060, 891_732),
}


def gpu_w(preset, macs, params, activations, batch, phase="train"):
    load = training_load(macs, params, activations, batch, phase, 32)
    return float(PowerModel(presets.get(preset)).gpu_w(load.gpu_compute, load.gpu_memory))


def test_ea_has_networks_reproduce_the_published_power_range():
    watts = {name: gpu_w("paper", *network, 1024) for name, network in EA_HAS.items()}
    assert watts["tiny smallest"] == pytest.approx(146, abs=1)
    assert watts["tiny largest"] == pytest.approx(305, abs=1)
    assert all(145 <= w <= 306 for w in watts.values())


def test_demo_networks_spread_visibly_on_the_laptop():
    space = RegNetDemo()
    watts = []
    for config in space.sample(60, 1):
        c = space.realise(config).complexity()
        watts.append(gpu_w("laptop", c.macs, c.params, c.activations, config["batch_size"]))
    gpu = presets.get("laptop").gpu
    assert max(watts) - min(watts) > 0.15 * (gpu.limit_w - gpu.idle_w)
    assert gpu.idle_w + 3 < min(watts)
    assert max(watts) < gpu.limit_w


@pytest.mark.parametrize("phase", ["train", "eval"])
def test_more_work_is_more_load(phase):
    scales = (0.01, 0.1, 1.0, 10.0, 100.0, 1e6)
    for batch in (16, 64, 1024):
        loads = [
            training_load(round(s * 4e7), round(s * 4e5), round(s * 3e5), batch, phase, 32)
            for s in scales
        ]
        for a, b in itertools.pairwise(loads):
            assert 0 < a.gpu_compute < b.gpu_compute <= 1
            assert 0 < a.gpu_memory < b.gpu_memory <= 1
    small, big = (training_load(10**7, 10**5, 10**5, b, phase, 32) for b in (64, 128))
    assert small.gpu_compute < big.gpu_compute
    assert small.gpu_memory < big.gpu_memory


def test_phases_differ():
    load = {p: training_load(10**7, 10**5, 10**5, 64, p, 32) for p in ("input", "train", "eval")}
    assert load["input"].gpu_compute == load["input"].gpu_memory == 0
    assert load["input"].cpu_load > load["train"].cpu_load
    assert 0 < load["eval"].gpu_compute < load["train"].gpu_compute
    with pytest.raises(WattproofError, match="Did you mean 'train'"):
        training_load(1, 1, 1, 1, "trian", 32)
