"""One training in this process: marks, determinism, failures, activity."""

from __future__ import annotations

import pytest
import torch
from small_training import DATA, LOADS, NETWORK, FakeWriter, curve, edges, go
from torch import nn

from wattproof.training import setup
from wattproof.training.activity import STEP_INTERVAL_NS, Activity
from wattproof.training.recipe import Recipe
from wattproof.training.regnet import RegNet, build


def epoch_edges(epoch):
    return [
        ("epoch_begin", None, epoch),
        ("phase_begin", "train", epoch),
        ("phase_end", "train", epoch),
        ("phase_begin", "eval", epoch),
        ("phase_end", "eval", epoch),
        ("epoch_end", None, epoch),
    ]


def test_every_edge_is_marked_once_and_in_order(tmp_path):
    outcome, marks = go(tmp_path / "m")
    assert edges(marks) == [
        ("run_begin", None, None),
        *epoch_edges(0),
        *epoch_edges(1),
        ("phase_begin", "test", None),
        ("phase_end", "test", None),
        ("run_end", None, None),
    ]
    assert {(m["run_id"], m["slot"]) for m in marks} == {("r", 1)}
    stamps = [m["mono_ns"] for m in marks]
    assert stamps == sorted(stamps)
    assert outcome.status == "ok"
    assert outcome.reason == ""
    assert outcome.epochs == 2
    assert outcome.duration_s == pytest.approx((stamps[-1] - stamps[0]) / 1e9)
    assert outcome.complexity == NETWORK.complexity()


def test_metrics_are_on_the_marks(tmp_path):
    outcome, marks = go(tmp_path / "m")
    last = [m for m in marks if m["kind"] == "epoch_end"][-1]
    assert outcome.val_accuracy == last["val_accuracy"]
    assert marks[-1]["test_accuracy"] == outcome.test_accuracy
    # Accuracies are counts over 30 and 33 images: the right parts were looked at.
    assert outcome.val_accuracy * 30 == pytest.approx(round(outcome.val_accuracy * 30))
    assert outcome.test_accuracy * 33 == pytest.approx(round(outcome.test_accuracy * 33))
    cosine = 0.03 * (0.999999 * 0.5 + 1e-6)
    assert [row[-1] for row in curve(marks)] == pytest.approx([0.03, cosine])


def test_it_learns(tmp_path):
    recipe = Recipe(0.03, "sgd", "cos", cutout=0, batch_size=8, epochs=6)
    outcome, _ = go(tmp_path / "m", recipe=recipe)
    assert outcome.val_accuracy > 0.9
    assert outcome.test_accuracy > 0.9


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_seeds_decide(tmp_path, optimizer):
    recipe = Recipe(0.01, optimizer, "lin", cutout=3, batch_size=16, epochs=2)
    first, again, other = (
        curve(go(tmp_path / f"m{i}", recipe=recipe, seed=seed)[1])
        for i, seed in enumerate((5, 5, 6))
    )
    assert first == again
    assert first != other


def test_one_step_by_hand_gives_the_same_losses(tmp_path):
    """Also proves that warm-up leaves weights and batch-norm statistics alone."""
    everything = Recipe(0.03, "sgd", "cos", cutout=0, batch_size=96, epochs=1)
    _, marks = go(tmp_path / "m", recipe=everything, seed=4)
    [[train_loss, train_accuracy, val_loss, val_accuracy, _]] = curve(marks)

    model = build(NETWORK, seed=4)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    norm_ids = {id(p) for m in norms for p in m.parameters()}
    x = torch.from_numpy(DATA.train.images).repeat(1, 3, 1, 1)
    y = torch.from_numpy(DATA.train.labels)
    scores = model(x)
    log_p = scores.log_softmax(1)
    # Label smoothing 0.1, written out: 0.9 on the class and 0.1 spread evenly over all.
    loss = -(0.9 * log_p[torch.arange(96), y] + 0.1 * log_p.mean(1)).mean()
    assert train_loss == pytest.approx(loss.item(), rel=1e-4)
    assert train_accuracy == pytest.approx((scores.argmax(1) == y).float().mean().item())
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            gradient = p.grad + (0 if id(p) in norm_ids else 5e-4) * p
            # First Nesterov step with momentum 0.9: g + 0.9·g.
            p -= 0.03 * 1.9 * gradient
    model.eval()
    scores = model(torch.from_numpy(DATA.validation.images).repeat(1, 3, 1, 1))
    y = torch.from_numpy(DATA.validation.labels)
    assert val_loss == pytest.approx(nn.functional.cross_entropy(scores, y).item(), rel=1e-3)
    assert val_accuracy == pytest.approx((scores.argmax(1) == y).float().mean().item())


def test_divergence_ends_the_run_as_failed(tmp_path):
    wild = Recipe(1e30, "sgd", "lin", cutout=0, batch_size=16, epochs=3)
    outcome, marks = go(tmp_path / "m", recipe=wild)
    assert outcome.status == "failed"
    assert "loss became nan in epoch 0" in outcome.reason
    assert outcome.epochs == 0
    assert outcome.val_accuracy is None
    assert outcome.test_accuracy is None
    assert outcome.duration_s > 0
    # The phase it failed in stays open; the run does not.
    assert edges(marks)[-2:] == [("phase_begin", "train", 0), ("run_end", None, None)]


def test_time_limit_ends_the_run_as_failed(tmp_path):
    outcome, marks = go(tmp_path / "m", limit_s=0.0)
    assert outcome.status == "failed"
    assert outcome.reason == "the time limit of 0 s was reached"
    assert marks[-1]["kind"] == "run_end"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to …"), "out of memory: CUDA"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of mem"),
        (MemoryError(), "out of memory"),
        (RuntimeError("cuDNN error\nmore"), "PyTorch: cuDNN error"),
    ],
)
def test_errors_of_the_machine_end_the_run_as_failed(tmp_path, monkeypatch, error, words):
    forward = RegNet.forward
    calls = []

    def fail_later(self, x):
        calls.append(x)
        if len(calls) == 12:
            raise error
        return forward(self, x)

    monkeypatch.setattr(RegNet, "forward", fail_later)
    writer = FakeWriter()
    outcome, marks = go(tmp_path / "m", activity=Activity(writer, 1, LOADS))
    assert outcome.status == "failed"
    assert words in outcome.reason
    assert outcome.epochs == 1
    assert outcome.val_accuracy == curve(marks)[0][3]
    assert marks[-1]["kind"] == "run_end"
    assert writer.records[-1] == (1, "idle", 0.0)


def test_a_run_that_fails_in_warm_up_never_began(tmp_path, monkeypatch):
    def fail(self, x):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(RegNet, "forward", fail)
    outcome, marks = go(tmp_path / "m")
    assert outcome.status == "failed"
    assert outcome.duration_s is None
    assert marks == []


def test_activity_follows_the_phases(tmp_path):
    writer = FakeWriter()
    go(tmp_path / "m", activity=Activity(writer, 1, LOADS))
    assert {slot for slot, _, _ in writer.records} == {1}
    levels = {"input": 0.1, "train": 0.8, "eval": 0.5, "idle": 0.0}
    assert all(level == levels[kind] for _, kind, level in writer.records)
    kinds = [kind for _, kind, _ in writer.records]
    # Warm-up, then for each epoch: input and train in turn, idle, eval, idle; then the test.
    assert kinds[:3] == ["train", "eval", "idle"]
    phases = [list(group) for group in split_at_idle(kinds[3:])]
    assert [group[0] for group in phases] == ["input", "eval", "input", "eval", "eval"]
    for group in phases:
        if group[0] == "input":
            assert group == ["input", "train"] * (len(group) // 2)


def split_at_idle(kinds):
    group = []
    for kind in kinds:
        if kind == "idle":
            if group:
                yield group
            group = []
        else:
            group.append(kind)
    assert group == []


def test_fast_steps_are_not_all_published(monkeypatch):
    now = [0]
    monkeypatch.setattr("time.monotonic_ns", lambda: now[0])
    activity = Activity(FakeWriter(), 0)
    due = []
    for _ in range(100):
        due.append(activity.step_due())
        now[0] += 3_000_000
    assert due[0]
    # Steps of 3 ms: at most one in 10 ms, so one of every four.
    assert sum(due) == 25
    assert STEP_INTERVAL_NS == 10_000_000


def test_each_epoch_is_reported(tmp_path):
    seen = []
    _, marks = go(tmp_path / "m", on_epoch=lambda *args: seen.append(args))
    assert seen == [(0, curve(marks)[0][3]), (1, curve(marks)[1][3])]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_batch_norm_is_free_of_weight_decay(optimizer):
    model = build(NETWORK, seed=0)
    recipe = Recipe(0.1, optimizer, "cos", 0, 16, 1)
    decay = {
        id(p): group["weight_decay"]
        for group in setup.make_optimizer(model, recipe).param_groups
        for p in group["params"]
    }
    assert len(decay) == len(list(model.parameters()))
    for module in model.modules():
        for p in module.parameters(recurse=False):
            assert decay[id(p)] == (0.0 if isinstance(module, nn.BatchNorm2d) else 5e-4)


def test_no_cuda_is_said_clearly():
    if torch.cuda.is_available():
        assert setup.pick_device("auto").type == "cuda"
    else:
        assert setup.pick_device("auto").type == "cpu"
        with pytest.raises(setup.WattproofError, match="no CUDA device"):
            setup.pick_device("cuda")
    assert setup.pick_device("cpu").type == "cpu"


def test_a_shortened_training_takes_few_epochs_of_the_whole_schedule(tmp_path):
    recipe = Recipe(0.01, "sgd", "lin", cutout=0, batch_size=48, epochs=50)
    outcome, marks = go(tmp_path / "m", recipe=recipe, shorten=25)
    assert outcome.epochs == 2
    # Epochs 0 and 49 of 50: 0.999999·(1 − 49/50) + 0.000001 of the base.
    assert [row[-1] for row in curve(marks)] == pytest.approx([0.01, 0.01 * 0.02000098])
    assert [m["epoch"] for m in marks if m["kind"] == "epoch_end"] == [0, 1]
