"""Built torch modules against the exact counts, which have vectors of their own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from wattproof import space
from wattproof.space.regnet import Network, generate
from wattproof.training.regnet import RegNet, build


def measured(network, model):
    """MACs, parameters and activations of one image, by watching every layer of a module work.

    On the meta device nothing is computed: shapes pass through the real modules.
    """
    totals = {"macs": 0, "activations": 0}

    def watch(layer, inputs, output):
        totals["activations"] += output[0].numel()
        taps = layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else layer.in_features
        totals["macs"] += output[0].numel() * (taps + (layer.bias is not None))

    for layer in model.eval().modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(watch)
    side = network.resolution
    with torch.inference_mode():
        scores = model(torch.zeros(1, 3, side, side, device=model.head.weight.device))
    assert scores.shape == (1, network.classes)
    params = sum(p.numel() for p in model.parameters())
    return totals["macs"], params, totals["activations"]


@settings(deadline=None, max_examples=25)
@given(
    w_a=st.integers(0, 240).map(lambda i: i / 10),
    w_0=st.sampled_from([8, 16, 24, 40]),
    w_m=st.integers(15, 30).map(lambda i: i / 10),
    depth=st.integers(1, 6),
    group_width=st.sampled_from([1, 2, 8, 16, 24, 32]),
    stem=st.sampled_from([8, 16, 30]),
    resolution=st.sampled_from([8, 15, 32]),
    classes=st.sampled_from([2, 10]),
)
def test_modules_have_the_counted_costs(
    w_a, w_0, w_m, depth, group_width, stem, resolution, classes
):
    stages = generate(w_a, w_0, w_m, depth, group_width)
    network = Network(stem, stages.widths, stages.depths, stages.group_width, classes, resolution)
    costs = network.complexity()
    model = build(network, seed=0)
    assert measured(network, model) == (costs.macs, costs.params, costs.activations)


@pytest.mark.parametrize("name", ["ea_has_cifar10", "ea_has_tinyimagenet"])
def test_100_random_networks_of_each_space_have_the_counted_costs(name, monkeypatch):
    """Formula against modules on 200 networks in all, each of its space a different one."""
    for initialise in ("normal_", "zeros_", "ones_", "kaiming_uniform_", "uniform_"):
        # Costs do not depend on weights, and drawing none saves most of the time.
        monkeypatch.setattr(nn.init, initialise, lambda tensor, *_args, **_more: tensor)
    of = space.get(name)
    networks = [of.realise(config, resolution=32) for config in of.sample(100, seed=5)]
    assert len({network.key for network in networks}) == 100
    for network in networks:
        costs = network.complexity()
        with torch.device("meta"):
            model = RegNet(network)
        assert measured(network, model) == (costs.macs, costs.params, costs.activations)


def test_weights_follow_the_initialisation_rules():
    network = Network(32, (128, 256), (2, 2), 32, 200, 32)
    for layer in build(network, seed=1).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 10_000:
            fan_out = layer.kernel_size[0] ** 2 * layer.out_channels
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
            assert abs(layer.weight.mean().item()) < 0.05 * math.sqrt(2 / fan_out)
        elif isinstance(layer, nn.BatchNorm2d):
            assert torch.all(layer.weight == 1)
        elif isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert torch.all(layer.bias == 0)


def test_the_stride_sits_on_the_grouped_convolution():
    model = build(Network(8, (16, 24), (1, 2), 8, 10, 32), seed=0)
    strided = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    # One 3×3 and one shortcut for each of the two stages.
    assert sorted(m.kernel_size[0] for m in strided) == [1, 1, 3, 3]
    assert [m.groups for m in strided if m.kernel_size == (3, 3)] == [2, 3]


def test_seeds_decide_the_weights_and_the_global_generator_is_left_alone():
    network = Network(8, (8, 16), (1, 1), 8, 10, 16)
    state = torch.random.get_rng_state()
    first, again, other = (build(network, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [model.stem[0].weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
