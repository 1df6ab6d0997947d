"""The whole recipe in one training: which phases there are, and what they change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_training import DATA, LOADS, FakeWriter, curve, edges, go

from wattproof.training import epoch as parts
from wattproof.training.activity import Activity
from wattproof.training.recipe import Inference, Recipe
from wattproof.training.schedule import learning_rate

PLAIN = Recipe(lr=0.03, optimizer="sgd", policy="cos", cutout=0, batch_size=16, epochs=3)
WHOLE = replace(
    PLAIN,
    epochs=3,
    warmup_epochs=2,
    ema=True,
    precise_bn_images=48,
    precision="amp",
    drop_last=True,
    eval_batch_size=7,
    deterministic=True,
    inference=Inference(seconds=0.2, latency_seconds=0.1, batch_size=40),
)


def test_the_whole_recipe_has_its_phases_in_order(tmp_path):
    writer = FakeWriter()
    outcome, marks = go(tmp_path / "m", recipe=WHOLE, activity=Activity(writer, 1, LOADS))
    assert (outcome.status, outcome.reason) == ("ok", "")
    expected = [("run_begin", None, None)]
    for epoch in range(3):
        expected.append(("epoch_begin", None, epoch))
        for name in ("train", "precise_bn", "eval"):
            expected += [("phase_begin", name, epoch), ("phase_end", name, epoch)]
        expected.append(("epoch_end", None, epoch))
    expected += [("phase_begin", "test", None), ("phase_end", "test", None)]
    # Inference is no part of the training's window, so none of its energy.
    expected += [("run_end", None, None)]
    for name in ("throughput", "latency"):
        expected += [("phase_begin", name, None), ("phase_end", name, None)]
    assert edges(marks) == expected
    rates = [row[-1] for row in curve(marks)]
    assert rates == [learning_rate("cos", 0.03, e, 3, warmup=2) for e in range(3)]
    assert rates[0] == pytest.approx(0.003)
    assert {level for _, _, level in writer.records} == {0, 0.1, 0.8, 0.6, 0.5, 0.9, 0.2}
    assert writer.records[-1][1] == "idle"


def test_inference_counts_its_images_and_lasts_as_long_as_asked(tmp_path):
    _, marks = go(tmp_path / "m", recipe=WHOLE)
    found = {}
    for begin, end in zip(marks[-4::2], marks[-3::2], strict=True):
        assert begin.get("images") is None
        found[end["name"]] = end["images"], (end["mono_ns"] - begin["mono_ns"]) / 1e9
    images, seconds = found["throughput"]
    assert images % 40 == 0
    assert images > 0
    assert 0.2 <= seconds < 2
    images, seconds = found["latency"]
    assert images > 0
    assert 0.1 <= seconds < 1


def test_equal_seeds_give_equal_runs_with_all_of_it(tmp_path):
    runs = [go(tmp_path / f"m{i}", recipe=WHOLE, seed=seed)[1] for i, seed in enumerate((4, 4, 5))]
    curves = [curve(marks) for marks in runs]
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


def test_accuracies_are_those_of_the_average(tmp_path):
    """An average that copies is the network itself; one that remembers is not."""
    copying = replace(PLAIN, ema=True, warmup_epochs=3)
    rates = replace(PLAIN, warmup_epochs=3)
    with_copy = curve(go(tmp_path / "b", recipe=copying)[1])
    assert with_copy == curve(go(tmp_path / "c", recipe=rates)[1])
    remembering = curve(go(tmp_path / "d", recipe=replace(PLAIN, epochs=8, ema=True))[1])
    plain = curve(go(tmp_path / "e", recipe=replace(PLAIN, epochs=8))[1])
    # The network is trained as without; its average lags behind it.
    assert [row[:2] for row in remembering] == [row[:2] for row in plain]
    assert all(a[2] != b[2] for a, b in zip(plain, remembering, strict=True))
    assert remembering[-1][3] > 0.8


def test_precise_statistics_change_the_score_and_not_the_training(tmp_path):
    plain = curve(go(tmp_path / "a", recipe=PLAIN)[1])
    precise = curve(go(tmp_path / "b", recipe=replace(PLAIN, precise_bn_images=96))[1])
    assert [row[:2] for row in precise] == [row[:2] for row in plain]
    assert all(a[2] != b[2] for a, b in zip(plain, precise, strict=True))
    # After one epoch the running statistics are mostly those that they began with.
    assert precise[0][2] < plain[0][2]


@pytest.mark.parametrize(("images", "batches"), [(1, 1), (16, 1), (48, 3), (10_000, 6)])
def test_precise_statistics_see_as_many_images_as_asked(tmp_path, monkeypatch, images, batches):
    seen = []
    compute = parts.PreciseStatistics.compute

    def count(self, given):
        compute(self, (seen.append(pair[1]) or pair for pair in given))

    monkeypatch.setattr(parts.PreciseStatistics, "compute", count)
    go(tmp_path / "m", recipe=replace(PLAIN, epochs=1, precise_bn_images=images))
    assert seen == [16] * batches


def test_the_last_step_is_left_out_if_asked(tmp_path, monkeypatch):
    sizes = []
    step = parts.step

    def watch(learner, batch, *rest):
        sizes.append(len(batch.labels))
        return step(learner, batch, *rest)

    monkeypatch.setattr(parts, "step", watch)
    odd = replace(PLAIN, epochs=1, batch_size=40)
    for drop_last, expected in ((False, [40, 40, 16]), (True, [40, 40])):
        sizes.clear()
        go(tmp_path / "m", recipe=replace(odd, drop_last=drop_last))
        assert sizes[1:] == expected  # the first is warm-up


def test_label_smoothing_is_for_learning_only(tmp_path):
    sharp, smooth = (
        curve(go(tmp_path / f"{s}", recipe=replace(PLAIN, lr=0, epochs=1, label_smoothing=s))[1])[0]
        for s in (0.0, 0.5)
    )
    assert sharp[0] != smooth[0]
    assert sharp[2] == smooth[2]
    assert len(DATA.train.labels) == 96
