"""Trainings that do not take place: durations, power and marks of the paper's twin."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from wattproof import config, plan, space
from wattproof.offline import timeline
from wattproof.virtual import presets, training_load
from wattproof.virtual.model import PowerModel

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config/schema/campaign.schema.json")
PAPER = presets.get("paper")
START_NS = 5_000_000_000


def twin(**changes: object) -> config.Config:
    raw = config.read_yaml(ROOT / "config/campaigns/paper_twin.yaml")
    raw["training"] |= changes
    return config.validate(raw, SCHEMA, "twin")


@pytest.fixture(scope="module")
def trainings() -> list[plan.PlanRow]:
    return [row for row in plan.make_plan(twin()) if row.config]


def played(row: plan.PlanRow, seed: int = 0, preset: str = "paper") -> timeline.RunTimeline:
    rng = np.random.default_rng(seed)
    return timeline.run_events(row, presets.get(preset), START_NS, rng)


def epochs_s(run: timeline.RunTimeline) -> list[float]:
    begins = [m["mono_ns"] for m in run.marks if m["kind"] == "epoch_begin"]
    ends = [m["mono_ns"] for m in run.marks if m["kind"] == "epoch_end"]
    return [(end - begin) / 1e9 for begin, end in zip(begins, ends, strict=True)]


def test_the_mean_epoch_on_one_gpu_is_the_papers(trainings) -> None:
    single = [row for row in trainings if row.setting == "single"][:150]
    seconds = [s for row in single for s in epochs_s(played(row))]
    assert np.mean(seconds) == pytest.approx(11.8, abs=1.0)


def test_four_gpus_gain_little_where_one_pipeline_feeds_them(trainings) -> None:
    ratios = []
    for row in [row for row in trainings if row.setting == "ddp"]:
        alone = dataclasses.replace(row, setting="single")
        ratios.append(np.mean(epochs_s(played(alone))) / np.mean(epochs_s(played(row))))
    assert min(ratios) >= 0.97
    assert 1.01 < np.mean(ratios) < 1.5


def test_four_gpus_with_their_data_on_them_are_much_faster(trainings) -> None:
    for loaded in [row for row in trainings if row.setting == "ddp"][:5]:
        fed = loaded.spec["training"] | {"feed": "device"}
        row = dataclasses.replace(loaded, spec=loaded.spec | {"training": fed})
        alone = dataclasses.replace(row, setting="single")
        ratio = np.mean(epochs_s(played(alone))) / np.mean(epochs_s(played(row)))
        assert 1.5 < ratio < 4


def test_power_of_the_drawn_networks_spans_the_papers_range(trainings) -> None:
    """The load model was set by ends and middle of the space; 500 draws fill what is between."""
    model = PowerModel(PAPER)
    watts = []
    for row in [row for row in trainings if row.setting == "single"][:500]:
        network = space.get("ea_has_tinyimagenet").realise(row.config, 32, 200)
        load = training_load(network, "train", 1024, PAPER)
        watts.append(float(model.gpu_w(load.gpu_compute, load.gpu_memory)))
    assert len(watts) == 500
    low, middle, high = np.percentile(watts, [0, 50, 100])
    assert 145 <= low < 165
    assert 285 < high <= 306
    assert 205 < middle < 245
    # Not two heaps at the ends: each quarter of the range has some.
    assert min(np.histogram(watts, 4, (146, 305))[0]) >= 10


def test_marks_nest_and_activity_covers_the_run(trainings) -> None:
    row = next(row for row in trainings if row.setting == "single")
    run = played(row)
    at = [m["mono_ns"] for m in run.marks]
    assert at == sorted(at)
    kinds = [m["kind"] for m in run.marks]
    assert kinds[0] == "run_begin"
    assert kinds[-1] == "run_end"
    assert at[0] > START_NS
    assert run.end_ns >= at[-1]
    one = ["epoch_begin", *["phase_begin", "phase_end"] * 2, "epoch_end"]
    epochs = round(row.config["epochs"] / 10)
    assert kinds[1:-1] == one * epochs + ["phase_begin", "phase_end"]
    names = [m["name"] for m in run.marks if m["kind"] == "phase_begin"]
    assert names == ["train", "eval"] * epochs + ["test"]
    for m in run.marks:
        if m["kind"] == "epoch_end":
            assert 0 <= m["val_accuracy"] <= 1
            assert m["train_loss"] > 0

    activity = run.activity
    stamps = activity["mono_ns"].astype(np.int64)
    assert (np.diff(stamps) >= 0).all()
    assert START_NS <= stamps[0] < at[0]
    assert activity[-1]["gpu_compute"] == activity[-1]["cpu_load"] == 0
    # Within a training phase the log is never silent for longer than a few published steps.
    begin, end = at[kinds.index("phase_begin")], at[kinds.index("phase_end")]
    inside = stamps[(stamps >= begin) & (stamps <= end)]
    assert max(b - a for a, b in pairwise(inside.tolist())) < 0.25e9


def test_equal_draws_are_equal_and_another_differs(trainings) -> None:
    row = trainings[0]
    first, same, other = played(row, 1), played(row, 1), played(row, 2)
    assert first.marks == same.marks
    assert (first.activity == same.activity).all()
    assert first.marks != other.marks
    # The same training again is some percent longer or shorter at most.
    assert other.end_ns - START_NS == pytest.approx(first.end_ns - START_NS, rel=0.06)


def test_larger_networks_and_images_take_longer() -> None:
    rows = [row for row in plan.make_plan(twin()) if row.config and row.setting == "single"][:60]
    runs = [played(row) for row in rows]
    seconds = np.array([np.mean(epochs_s(run)) for run in runs])
    # The longest and the shortest are so by the work, not by the jitter.
    activations = np.array([run.result["activations"] for run in runs])
    order = np.argsort(activations)
    assert np.mean(seconds[order[-10:]]) > 1.1 * np.mean(seconds[order[:10]])
    large = [row for row in plan.make_plan(twin(image_size=64)) if row.config][:10]
    for small, big in zip(rows, large, strict=False):
        assert np.mean(epochs_s(played(big))) > 1.5 * np.mean(epochs_s(played(small)))


def test_shortening_changes_how_many_epochs_there_are_and_not_what_they_are(trainings) -> None:
    whole = [row for row in plan.make_plan(twin(shorten=1)) if row.config][:6]
    for short, full in zip(trainings, whole, strict=False):
        a, b = played(short), played(full)
        assert len(epochs_s(b)) == full.config["epochs"] == 10 * len(epochs_s(a))
        assert np.mean(epochs_s(a)) == pytest.approx(np.mean(epochs_s(b)), rel=0.02)
        rates = [
            [m["learning_rate"] for m in run.marks if m["kind"] == "epoch_end"] for run in (a, b)
        ]
        assert rates[0][0] == rates[1][0]
        assert rates[0][-1] == rates[1][-1]  # the whole schedule, thinned


def test_inference_phases_follow_the_run_and_say_how_many_images(trainings) -> None:
    wanted = {"seconds": 2.0, "latency_seconds": 1.0, "batch_size": 200}
    for setting in ("single", "ddp"):
        row = next(row for row in trainings if row.setting == setting)
        training = row.spec["training"] | {"inference": wanted}
        run = played(dataclasses.replace(row, spec=row.spec | {"training": training}))
        kinds = [m["kind"] for m in run.marks]
        after = run.marks[kinds.index("run_end") + 1 :]
        assert [(m["kind"], m["name"]) for m in after] == [
            (kind, name)
            for name in ("throughput", "latency")
            for kind in ("phase_begin", "phase_end")
        ]
        lasted = [
            (b["mono_ns"] - a["mono_ns"]) / 1e9
            for a, b in zip(after[::2], after[1::2], strict=True)
        ]
        assert lasted == pytest.approx([2.0, 1.0], abs=0.1)
        images = [m["images"] for m in after[1::2]]
        assert images[0] % (200 * (4 if setting == "ddp" else 1)) == 0
        each = [s / n for s, n in zip(lasted, images, strict=True)]
        # One image at a time is slow: its kernels are shorter than the gaps between launches.
        assert each[1] > 3 * each[0]
        busy = run.activity[run.activity["mono_ns"] > after[2]["mono_ns"]]
        assert set(busy["slot"][busy["gpu_compute"] > 0]) <= {0}
        assert run.end_ns >= after[-1]["mono_ns"]


def test_runs_differ_only_where_the_preset_says_so(trainings) -> None:
    """The spreads are of runs as wholes; without them every number is as it always was."""
    asked = {"seconds": 5.0, "latency_seconds": 2.0, "batch_size": 1000}
    first = trainings[0]
    of_row = first.spec["training"] | {"inference": asked}
    row = dataclasses.replace(first, spec=first.spec | {"training": of_row})

    def made(seed: int, **spread: float) -> timeline.RunTimeline:
        parameters = presets.get("paper", {"runs": spread})
        return timeline.run_events(row, parameters, START_NS, np.random.default_rng(seed))

    plain, hot = made(1), made(1, power_spread=0.03)
    assert hot.marks == plain.marks  # durations are untouched
    busy = plain.activity["gpu_compute"] > 0
    factors = hot.activity["gpu_compute"][busy] / plain.activity["gpu_compute"][busy]
    assert np.ptp(factors) < 1e-6  # one factor a run, whatever the phase
    assert abs(factors[0] - 1.0) > 1e-4
    assert (hot.activity["cpu_load"] == plain.activity["cpu_load"]).all()
    drawn = [
        np.log(
            made(s, power_spread=0.03).activity["gpu_compute"].max()
            / plain.activity["gpu_compute"].max()
        )
        for s in range(100)
    ]
    assert np.std(drawn) == pytest.approx(0.03, rel=0.2)

    def step_s(run: timeline.RunTimeline) -> float:
        """Time of an image, one at a time."""
        ends = [m for m in run.marks if m["name"] == "latency"]
        return float(ends[1]["mono_ns"] - ends[0]["mono_ns"]) / ends[1]["images"]

    def of_training(run: timeline.RunTimeline) -> list[dict[str, object]]:
        end = next(i for i, m in enumerate(run.marks) if m["kind"] == "run_end")
        return run.marks[: end + 1]

    slow = made(1, inference_spread=0.005)
    assert of_training(slow) == of_training(plain)
    assert (slow.activity["gpu_compute"].max()) == plain.activity["gpu_compute"].max()
    drawn = [np.log(step_s(made(s, inference_spread=0.005)) / step_s(plain)) for s in range(100)]
    assert np.std(drawn) == pytest.approx(0.005, rel=0.2)
