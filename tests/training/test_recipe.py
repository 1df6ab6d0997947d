"""The parts of EA-HAS-Bench's recipe, each against its formula written out once more."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import distributed as dist
from torch import nn

from wattproof.errors import WattproofError
from wattproof.training import ema, precision, setup
from wattproof.training.batch_norm import GlobalBatchNorm2d, PreciseStatistics, make_global
from wattproof.training.recipe import Inference, Recipe, parse_recipe
from wattproof.training.schedule import learning_rate

CPU = torch.device("cpu")
CONFIG = {
    "lr": 0.1,
    "optimizer": "sgd",
    "policy": "cos",
    "cutout": 0,
    "batch_size": 32,
    "epochs": 4,
}


# ------------------------------------------------------------------------------------ schedule


@pytest.mark.parametrize("policy", ["cos", "lin", "exp"])
@pytest.mark.parametrize(("epoch", "factor"), [(0, 0.1), (1, 0.28), (2, 0.46), (4, 0.82), (5, 1.0)])
def test_warm_up_multiplies_the_schedule(policy, epoch, factor):
    plain = learning_rate(policy, 0.3, epoch, 50)
    assert learning_rate(policy, 0.3, epoch, 50, warmup=5) == pytest.approx(factor * plain)


# ----------------------------------------------------------------------------------------- EMA


@pytest.mark.parametrize(("epochs", "expected"), [(50, 0.16384), (100, 0.08192), (200, 0.04096)])
def test_weight_of_the_newest_parameters(epochs, expected):
    assert ema.alpha(1024, epochs) == pytest.approx(expected, rel=1e-12)
    assert ema.alpha(1024, 1) == 1.0


class Scalar(nn.Module):
    """One weight, and a counter as batch norm has."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))
        self.register_buffer("seen", torch.tensor(0))


def averaged(*, steps: int, warmup: int, epochs: int = 50, kept: int = 3) -> list[float]:
    """The average after each epoch of a weight that grows by one a step."""
    model = Scalar(0.0)
    in_all = (epochs - warmup) * ema.updates(steps)
    average = ema.Average(model, ema.alpha(1024, epochs, in_all), warmup, steps)
    found = []
    for epoch in range(kept):
        for step in range(steps):
            with torch.no_grad():
                model.weight += 1.0
                model.seen += 1
            if average.due(step):
                average.update(model, epoch)
        found.append(average.model.weight.item())
        assert (
            average.model.seen.item() == model.seen.item() - (steps - 1 if steps > 32 else 0) % 32
        )
    return found


def test_the_reference_updates_at_steps_0_and_32_of_48_and_copies_in_warm_up():
    a = 2.5e-4 * 1024 / 50 * 32
    first = 33.0  # epoch 0 is warm-up: the last copy is that of step 32
    second = first + a * (49 - first)
    second += a * (81 - second)
    third = second + a * (97 - second)
    third += a * (129 - third)
    assert averaged(steps=48, warmup=1) == pytest.approx([first, second, third], rel=1e-6)


def test_short_epochs_update_at_their_end():
    a = 2.5e-4 * 1024 / 200 * 32
    first = 10 * a
    second = first + a * (20 - first)
    found = averaged(steps=10, warmup=0, epochs=200)
    assert found == pytest.approx([first, second, second + a * (30 - second)])


@pytest.mark.parametrize(("epochs", "steps"), [(50, 48), (100, 48), (200, 48), (50, 97), (200, 97)])
def test_the_bound_of_memory_changes_nothing_in_the_reference(epochs, steps):
    in_all = (epochs - 5) * ema.updates(steps)
    assert ema.alpha(1024, epochs, in_all) == ema.alpha(1024, epochs)


def test_the_average_of_a_short_training_remembers_a_quarter_of_it():
    assert ema.alpha(32, 20, 20) == 0.2
    assert ema.alpha(32, 3, 3) == 1.0
    assert ema.alpha(32, 3, 0) == 1.0


# ---------------------------------------------------------------------------------- batch norm


@pytest.fixture
def one_process():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_global_batch_norm_is_batch_norm(one_process):
    """Also its gradients and its running statistics; several processes are in test_ddp.py."""
    torch.manual_seed(0)
    ours = nn.BatchNorm2d(5)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.uniform_(-1, 1)
    theirs = copy.deepcopy(ours)
    make_global(nn.Sequential(ours))
    assert type(ours) is GlobalBatchNorm2d
    for _ in range(2):
        x = (torch.randn(6, 5, 4, 3) * 3 + 10).requires_grad_()
        y = x.detach().clone().requires_grad_()
        weights = torch.randn(6, 5, 4, 3)
        for norm, into in ((ours, x), (theirs, y)):
            norm.zero_grad()
            (norm(into).square() * weights).sum().backward()
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=1e-4, atol=1e-4)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name])
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x))


def test_precise_statistics_are_those_of_the_batches():
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)) for _ in range(2)]
    batches = [torch.randn(size, 3, 5, 5) + 2 for size in (8, 4)]
    weights = [model[0].weight.clone() for model in models]
    PreciseStatistics(models).compute((images, len(images)) for images in batches)
    for model, weight in zip(models, weights, strict=True):
        outs = [model[0](images) for images in batches]
        mean = sum(len(o) * o.mean((0, 2, 3)) for o in outs) / 12
        variance = sum(len(o) * o.var((0, 2, 3)) for o in outs) / 12
        torch.testing.assert_close(model[1].running_mean, mean)
        torch.testing.assert_close(model[1].running_var, variance)
        assert model[1].momentum == 0.1
        assert torch.equal(model[0].weight, weight)


# ----------------------------------------------------------------------------------- precision


def linear() -> tuple[nn.Linear, torch.optim.SGD]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def test_mixed_precision_computes_in_16_bits_and_keeps_weights_in_32():
    model, optimizer = linear()
    kind = precision.Precision("amp", CPU)
    with kind.autocast():
        scores = model(torch.ones(2, 4))
        assert scores.dtype is torch.bfloat16
        loss = nn.functional.cross_entropy(scores, torch.tensor([0, 1]))
    before = model.weight.clone()
    kind.descend(loss, optimizer)
    assert model.weight.dtype is torch.float32
    assert not torch.equal(before, model.weight)
    with precision.Precision("fp32", CPU).autocast():
        assert model(torch.ones(2, 4)).dtype is torch.float32


def test_fp16_leaves_out_a_step_that_overflows(monkeypatch):
    """On GPUs without bf16; the scaler works on the CPU, too."""
    monkeypatch.setattr(precision, "half_type", lambda device: torch.float16)
    model, optimizer = linear()
    kind = precision.Precision("amp", CPU)
    before = model.weight.clone()
    kind.descend((model(torch.ones(2, 4)) * 1e37).sum(), optimizer)
    assert torch.equal(before, model.weight)
    optimizer.zero_grad()
    kind.descend(model(torch.ones(2, 4)).sum(), optimizer)
    # The gradient of each weight is 2: scaled up before it was taken, and down again.
    torch.testing.assert_close(model.weight, before - 0.2)


def test_gpus_without_bf16_get_fp16(monkeypatch):
    cuda = torch.device("cuda")
    for there, kind in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation, there=there: there
        )
        assert precision.half_type(cuda) is kind
    assert precision.half_type(CPU) is torch.bfloat16


def test_determinism_is_a_wish():
    try:
        setup.prepare(1, exactly=False)
        assert torch.backends.cudnn.benchmark
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        setup.prepare(1)
    assert not torch.backends.cudnn.benchmark
    assert torch.are_deterministic_algorithms_enabled()


# ------------------------------------------------------------------------------------- parsing


def test_what_a_campaign_does_not_say_has_its_default():
    assert parse_recipe(CONFIG) == Recipe(0.1, "sgd", "cos", 0, 32, 4)
    found = parse_recipe(CONFIG, {"ema": True, "inference": {"seconds": 2}, "threads": 1})
    assert found == Recipe(0.1, "sgd", "cos", 0, 32, 4, ema=True, inference=Inference(2.0))


def test_a_configuration_wins_over_its_campaign():
    assert parse_recipe({**CONFIG, "precision": "amp"}, {"precision": "fp32"}).precision == "amp"
    assert parse_recipe(CONFIG, {"precision": "amp"}).precision == "amp"


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"precision": "fp8"}, "'precision' is 'fp8', which is none of fp32, amp"),
        ({"ema": 1}, "'ema' must be true or false, but is 1"),
        ({"warmup_epochs": -1}, "'warmup_epochs' must be at least 0"),
        ({"label_smoothing": 1}, "'label_smoothing' must be below 1"),
        ({"eval_batch_size": 0}, "'eval_batch_size' must be at least 1"),
        ({"inference": 3}, "'inference' must be a group of keys"),
        ({"inference": {"seconds": -1}}, "'seconds' must be at least 0"),
    ],
)
def test_wrong_recipes_are_refused_in_one_sentence(training: dict[str, Any], words: str):
    with pytest.raises(WattproofError, match=words) as error:
        parse_recipe(CONFIG, training)
    assert "\n" not in str(error.value)


def test_defaults_are_those_of_the_schema():
    import json
    from pathlib import Path

    schema = Path(__file__).parents[2] / "config/schema/campaign.schema.json"
    keys = json.loads(schema.read_text())["properties"]["training"]["properties"]
    usual = parse_recipe(CONFIG)
    for key in ("warmup_epochs", "label_smoothing", "ema", "precise_bn_images", "precision"):
        assert getattr(usual, key) == keys[key]["default"]
    for key in ("drop_last", "eval_batch_size", "deterministic"):
        assert getattr(usual, key) == keys[key]["default"]
    for key, rule in keys["inference"]["properties"].items():
        assert getattr(usual.inference, key) == rule["default"]
