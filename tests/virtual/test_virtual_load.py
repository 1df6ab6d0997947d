"""The roofline: kernels by hand, what it was fitted to, and what any such model must obey."""

import itertools
import re

import numpy as np
import pytest

from wattproof import space
from wattproof.errors import WattproofError
from wattproof.space import Network
from wattproof.virtual import presets, roofline, training_load
from wattproof.virtual.load import step
from wattproof.virtual.model import PowerModel

PAPER = presets.get("paper")
DENSE = Network(64, (1024, 1024), (2, 2), 1024, 10, 32)
SMALL = Network(8, (16, 24), (1, 1), 8, 10, 32)


def watts(network, batch, preset="paper", phase="train", **how):
    parameters = presets.get(preset)
    load = training_load(network, phase, batch, parameters, **how)
    return float(PowerModel(parameters).gpu_w(load.gpu_compute, load.gpu_memory))


def network_of(key, classes=200):
    found = re.fullmatch(r"regnet-s(\d+)-w([\dx]+)-d([\dx]+)-g(\d+)", key)
    stem, widths, depths, group = found.groups()
    return Network(
        int(stem),
        tuple(map(int, widths.split("x"))),
        tuple(map(int, depths.split("x"))),
        int(group),
        classes,
        32,
    )


# ---------------------------------------------------------------------------- by hand


def test_tiles_that_are_filled_in_part():
    # 128 x 64 x 32 exactly, on one unit: nothing is lost.
    assert roofline.filled(128, 64, 32, 1, 1) == 1.0
    # Half of the columns, a quarter of the depth.
    assert roofline.filled(128, 32, 8, 1, 1) == pytest.approx(1 / 2 * 1 / 4)
    # Five tiles on four units: two waves, 5 of 8 places.
    assert roofline.filled(5 * 128, 64, 32, 1, 4) == pytest.approx(5 / 8)
    # Groups are products of their own.
    assert roofline.filled(128, 64, 32, 4, 4) == 1.0


def test_arithmetic_is_that_of_the_complexity_counts():
    """Squeeze-and-excitation's tiny products are counted as launches only: 0.1 % here."""
    for network in (DENSE, SMALL, network_of("regnet-s32-w128x384-d3x12-g32")):
        macs = network.complexity().macs
        for train, passes in ((True, 3), (False, 1)):
            made = roofline.gpu_step(network, 256, PAPER.gpu, "amp", train)
            operations = made.arithmetic_s * 0.65 * 989e12
            assert operations == pytest.approx(passes * 2 * macs * 256, rel=0.02)


def test_a_small_step_is_bound_by_its_launches():
    made = roofline.gpu_step(SMALL, 1, PAPER.gpu, "fp32")
    assert made.seconds == pytest.approx(made.kernels * PAPER.gpu.launch_s)
    assert made.kernels_s < made.seconds / 3
    large = roofline.gpu_step(SMALL, 4096, PAPER.gpu, "fp32")
    assert large.kernels == made.kernels
    assert large.seconds == large.kernels_s > 3 * made.seconds


def test_large_products_run_at_the_sustained_rate_and_draw_nearly_the_limit():
    wide = Network(64, (4096,), (4,), 4096, 10, 32)
    made = roofline.gpu_step(wide, 128, PAPER.gpu, "amp")
    assert 0.85 < made.arithmetic_s / made.seconds <= 1
    assert 0.93 * 800 < watts(wide, 128, feed="device") <= 800


def test_precisions():
    amp, fp32 = (roofline.gpu_step(DENSE, 256, PAPER.gpu, p) for p in ("amp", "fp32"))
    assert fp32.arithmetic_s == pytest.approx(2 * amp.arithmetic_s, rel=0.01)
    assert fp32.bandwidth_s == pytest.approx(2 * amp.bandwidth_s, rel=0.1)
    with pytest.raises(WattproofError, match="Did you mean 'amp'"):
        roofline.gpu_step(DENSE, 256, PAPER.gpu, "amd")


def test_loaders_hold_the_gpu_up_and_data_on_the_device_do_not():
    slow = step(SMALL, "train", 1024, PAPER, "amp", "loader")
    fast = step(SMALL, "train", 1024, PAPER, "amp", "device")
    assert slow.seconds == pytest.approx(1024 * 1024 / 1.04e7 + 0.1 * slow.gpu_s)
    assert fast.seconds == fast.gpu_s == slow.gpu_s < slow.seconds / 10
    assert fast.load.gpu_compute > slow.load.gpu_compute
    assert fast.load.cpu_load < slow.load.cpu_load / 3
    # What is done is the same: time times share.
    assert fast.bandwidth * fast.seconds == pytest.approx(slow.bandwidth * slow.seconds)


def test_a_batch_split_over_gpus():
    alone = step(DENSE, "train", 512, PAPER, feed="device")
    four = step(DENSE, "train", 512, PAPER, feed="device", gpus=4)
    quarter = step(DENSE, "train", 128, PAPER, feed="device")
    assert four.seconds == pytest.approx(1.15 * quarter.seconds)
    assert 2.5 < alone.seconds / four.seconds < 4


# ---------------------------------------------------------------------------- what was fitted


@pytest.fixture(scope="module")
def tiny() -> list[Network]:
    """Every 97th network of the space (prime: all group widths are met), and both ends."""
    keys = list(space.get("ea_has_tinyimagenet").networks)
    ends = ["regnet-s32-w48x64-d2x4-g16", "regnet-s32-w128x384-d5x10-g4"]
    return [network_of(key) for key in (*keys[::97], *ends)]


def test_ea_has_networks_reproduce_the_published_power_range(tiny):
    found = [watts(network, 1024) for network in tiny]
    assert found[-2] == pytest.approx(146, abs=1)
    assert found[-1] == pytest.approx(305, abs=1)
    assert found[-2] <= min(found) + 0.5
    assert max(found) <= found[-1] + 0.5
    assert np.median(found) == pytest.approx(225, abs=3)


@pytest.mark.slow
def test_no_ea_has_network_at_all_is_outside_of_it():
    found = [watts(network_of(k), 1024) for k in space.get("ea_has_tinyimagenet").networks]
    assert len(found) == 38_516
    assert min(found) == pytest.approx(146, abs=1)
    assert max(found) == pytest.approx(305, abs=1)


# ---------------------------------------------------------------------------- what was not


@pytest.mark.parametrize("feed", ["loader", "device"])
def test_demo_networks_spread_visibly_on_the_laptop(feed):
    demo = space.get("regnet_demo")
    found = [
        watts(demo.realise(c), c["batch_size"], "laptop", precision="fp32", feed=feed)
        for c in demo.sample(60, 1)
    ]
    gpu = presets.get("laptop").gpu
    assert max(found) - min(found) > 0.15 * (gpu.limit_w - gpu.idle_w)
    assert gpu.idle_w + 3 < min(found)
    assert max(found) < gpu.limit_w


@pytest.mark.parametrize("preset", list(presets.PRESETS))
@pytest.mark.parametrize("phase", ["train", "eval"])
def test_power_is_between_idle_and_limit_whatever_is_trained(preset, phase):
    gpu = presets.get(preset).gpu
    for width, depth, batch, precision, feed in itertools.product(
        (8, 512, 4096), (1, 6), (1, 2048), roofline.PRECISIONS, ("device", "loader")
    ):
        network = Network(8, (width, width), (depth, depth), min(width, 64), 10, 32)
        for group in (network, Network(8, (width, width), (depth, depth), width, 10, 32)):
            found = watts(group, batch, preset, phase, precision=precision, feed=feed)
            assert gpu.idle_w < found <= gpu.limit_w


@pytest.mark.parametrize("phase", ["train", "eval"])
def test_larger_batches_keep_a_gpu_busier(phase):
    for network in (SMALL, DENSE):
        steps = [step(network, phase, batch, PAPER, feed="device") for batch in (4, 16, 64, 256)]
        for a, b in itertools.pairwise(steps):
            assert a.seconds <= b.seconds
            assert a.busy <= b.busy <= 1
            assert a.arithmetic < b.arithmetic <= 1
            assert a.load.gpu_compute < b.load.gpu_compute <= 1


def test_phases_differ():
    load = {p: training_load(SMALL, p, 64, PAPER) for p in ("input", "train", "eval")}
    assert load["input"].gpu_memory == 0
    assert 0 < load["input"].gpu_compute < load["eval"].gpu_compute
    assert load["input"].cpu_load > load["train"].cpu_load
    with pytest.raises(WattproofError, match="Did you mean 'train'"):
        training_load(SMALL, "trian", 1, PAPER)
    with pytest.raises(WattproofError, match="Did you mean 'loader'"):
        training_load(SMALL, "train", 1, PAPER, feed="loder")
