"""The data set of a campaign, joined from hand-written tables."""

from typing import Any

import pandas as pd
import pytest

from wattproof import dataset, tables
from wattproof.errors import WattproofError

S = 1_000_000_000
BIG = 2**60  # instants that a float cannot hold


def window(run_id: str | None, level: str, epoch: int | None, session: int = 0, **more: Any):
    name = f"{run_id}/{session}/{level}/{epoch}"
    return {
        "recording": "r",
        "session": session,
        "window_id": name,
        "run_id": run_id,
        "level": level,
        "kind": "epoch" if level == "epoch" else "run",
        "epoch": epoch,
        "setting": "single",
        "slot": 0,
        **more,
    }


def energy(window_: dict[str, Any], source: str, channel: str, joules: float | None, **more: Any):
    return {
        **{k: v for k, v in window_.items() if k not in ("start_ns", "end_ns")},
        "source": source,
        "channel": channel,
        "device": "d",
        "duration_s": 1.0,
        "energy_j": joules,
        "energy_u_j": 2.0,
        "samples": 10,
        "coverage": 1.0,
        "longest_gap_s": 0.1,
        "method": "integral",
        "flags": [],
        **more,
    }


def run(run_id: str, status: str = "ok", session: int = 0, setting: str = "single"):
    good = status == "ok"
    return {
        "recording": "r",
        "session": session,
        "run_id": run_id,
        "setting": setting,
        "slot": 0,
        "status": status,
        "reason": "" if good else "loss is not finite",
        "epochs": 2 if good else 1,
        "duration_s": 9.0 if good else 4.0,
        "val_accuracy": 0.5 if good else 0.1,
        "macs": 10,
        "params": 20 if good else None,
        "activations": 30,
    }


def planned(run_id: str, setting: str = "single", **config: Any):
    return {
        "run_id": run_id,
        "setting": setting,
        "recording": "r",
        "position": 0,
        "network_key": None if setting == "calibration" else f"net-{run_id}",
        "seed": 3,
        "spec": "{}",
        "digest": "x",
        **{f"config_{key}": value for key, value in config.items()},
    }


def frame(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """As `tables.read_frame` gives it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/t.parquet"
        if rows:
            tables.write(rows, name, path, tables.Meta("t", simulated=True))
            return tables.read_frame(path, name)
    return tables.empty(name)


class Campaign:
    """Runs a (good), b (failed), and a calibration load; a's meter is 300 J a run."""

    def __init__(self) -> None:
        self.plan = [
            planned("a", depth=3, lr=0.1, optimizer="sgd"),
            planned("b", depth=4, lr=0.01, optimizer="adam"),
            planned("c", setting="calibration"),
        ]
        self.runs = [run("b", "failed"), run("a"), run("c", setting="calibration")]
        whole = window("a", "run", None)
        epochs = [window("a", "epoch", e) for e in (0, 1)]
        self.windows = [
            {**whole, "start_ns": BIG + 1, "end_ns": BIG + 1 + 10 * S},
            {**epochs[0], "start_ns": BIG + 1, "end_ns": BIG + 1 + 4 * S},
            {**epochs[1], "start_ns": BIG + 1 + 4 * S, "end_ns": BIG + 1 + 9 * S},
            {**window("b", "run", None), "start_ns": 1, "end_ns": 1 + 4 * S},
        ]
        self.marks = [
            {
                "recording": "r",
                "session": 0,
                "run_id": "a",
                "kind": kind,
                "epoch": e,
                "slot": 0,
                "mono_ns": 1,
                "wall_ns": 1,
                "train_loss": 1.0 - e / 10 if kind == "epoch_end" else None,
                "val_accuracy": 0.4 + e / 10 if kind == "epoch_end" else None,
            }
            for e in (0, 1)
            for kind in ("epoch_begin", "epoch_end")
        ]
        self.energy = [
            energy(whole, "meter", "node.ac", 300.0, flags=["gap"]),
            energy(whole, "nvml", "gpu0.energy", 200.0, flags=["counter_reset"]),
            energy(whole, "nvml", "gpu0.power_instant", 190.0, flags=["few_samples"]),
            energy(whole, "smi", "gpu0.power", 150.0, flags=["not_used"]),
            energy(window("b", "run", None), "meter", "node.ac", 100.0),
        ]
        for e, joules in ((0, 120.0), (1, 160.0)):
            self.energy += [
                energy(epochs[e], "meter", "node.ac", joules),
                energy(epochs[e], "nvml", "gpu0.energy", joules / 2),
            ]
        self.estimates = [
            {
                **whole,
                "estimator": name,
                "energy_j": joules,
                "lower_j": joules - 5,
                "upper_j": joules + 7,
            }
            for name, joules in (
                ("code_carbon", 250.0),
                ("regression", 305.0),
                ("load_calibrated", 310.0),
            )
        ] + [
            {**epochs[e], "estimator": "regression", "energy_j": joules}
            for e, joules in ((0, 125.0), (1, 165.0))
        ]

    def build(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        names = ("plan", "runs", "windows", "marks", "energy", "estimates")
        inputs = {name: frame(getattr(self, name), name) for name in names}
        data, curves = dataset.build(**inputs, settings={})
        tables.conform(data, "dataset")
        tables.conform(curves, "curves")
        return data.set_index("run_id"), curves

    def without(self, source: str) -> "Campaign":
        self.energy = [row for row in self.energy if row["source"] != source]
        return self


def test_a_run_with_all_instruments() -> None:
    data, curves = Campaign().build()
    assert data.index.tolist() == ["a", "b"]  # the calibration load is left out
    a = data.loc["a"]
    assert a["time_s"] == 10.0
    assert (a["node_energy_j"], a["node_energy_by"]) == (300.0, "meter")
    assert a["node_energy_low_j"] == pytest.approx(300 - 1.645 * 2)
    assert a["node_energy_high_j"] == pytest.approx(300 + 1.645 * 2)
    assert a["gpu_energy_j"] == 200.0
    assert list(a["flags"]) == ["counter_reset", "gap"]
    assert (a["energy_j_code_carbon"], a["energy_j_regression"]) == (250.0, 305.0)
    assert (a["config_depth"], a["config_lr"], a["config_optimizer"]) == (3, 0.1, "sgd")
    assert a["network_key"] == "net-a"
    assert curves["epoch"].tolist() == [0, 1]
    assert curves["node_energy_j"].tolist() == [120.0, 160.0]
    assert curves["gpu_energy_j"].tolist() == [60.0, 80.0]
    assert curves["time_s"].tolist() == [4.0, 5.0]
    assert curves["node_power_w"].tolist() == [30.0, 32.0]
    assert curves["train_loss"].tolist() == [1.0, 0.9]
    assert curves["val_accuracy"].tolist() == [0.4, 0.5]


def with_inference() -> Campaign:
    """400 images in 5 s for 80 J (meter) and 100 J (regression), then 50 one by one in 2 s."""
    campaign = Campaign()
    for name, images, seconds, joules in (("throughput", 400, 5, 80.0), ("latency", 50, 2, 9.0)):
        phase = window("a", "phase", None, kind=name, window_id=f"a/{name}")
        start = BIG + 20 * S
        campaign.windows.append({**phase, "start_ns": start, "end_ns": start + seconds * S})
        campaign.energy.append(energy(phase, "meter", "node.ac", joules))
        campaign.estimates.append({**phase, "estimator": "regression", "energy_j": joules * 1.25})
        for kind, count in (("phase_begin", None), ("phase_end", images)):
            mark = {k: v for k, v in campaign.marks[0].items() if not k.endswith(("loss", "acy"))}
            campaign.marks.append(
                {**mark, "kind": kind, "name": name, "epoch": None, "images": count}
            )
    return campaign


def test_energy_and_time_of_inference() -> None:
    data, _ = with_inference().build()
    found = ["inference_j_per_image", "inference_images_hz", "latency_s"]
    assert data.loc["a", found].tolist() == [0.2, 80.0, 0.04]
    assert data.loc["b", found].isna().all()
    # Nothing of it goes into the training's figures.
    assert data.loc["a", ["node_energy_j", "time_s"]].tolist() == [300.0, 10.0]
    estimated, _ = with_inference().without("meter").build()
    assert estimated.loc["a", found].tolist() == [0.25, 80.0, 0.04]
    assert Campaign().build()[0].loc["a", found].isna().all()


def test_failed_runs_stay_without_metrics() -> None:
    data, curves = Campaign().build()
    b = data.loc["b"]
    assert (b["status"], b["config_depth"], b["macs"]) == ("failed", 4, 10)
    empty = ["time_s", "val_accuracy", "gpu_energy_j", "node_energy_j", "node_energy_low_j"]
    assert b[[*empty, "params", "energy_j_regression"]].isna().all()
    assert b["node_energy_by"] == ""
    assert set(curves["run_id"]) == {"a"}


@pytest.mark.parametrize("fault", ["absent", "clock", "refused"])
def test_the_best_estimator_stands_in_for_the_meter(fault: str) -> None:
    campaign = Campaign()
    if fault == "absent":
        campaign.without("meter")
    elif fault == "clock":
        campaign.energy[0]["flags"] = ["clock_not_proven"]
    else:
        campaign.energy[0]["energy_j"] = None
    data, curves = campaign.build()
    a = data.loc["a"]
    assert (a["node_energy_by"], a["node_energy_j"]) == ("regression", 305.0)
    assert (a["node_energy_low_j"], a["node_energy_high_j"]) == (300.0, 312.0)
    assert "clock_not_proven" not in a["flags"]
    # No curve mixes instruments, though the meter knows the epochs.
    assert curves["node_energy_j"].tolist() == [125.0, 165.0]


def test_uncalibrated_estimators_never_stand_in() -> None:
    campaign = Campaign().without("meter")
    campaign.estimates = campaign.estimates[:1]
    data, curves = campaign.build()
    assert data.loc["a", "node_energy_by"] == ""
    assert pd.isna(data.loc["a", "node_energy_j"])
    assert data.loc["a", "energy_j_code_carbon"] == 250.0
    assert curves["node_energy_j"].isna().all()


def test_without_a_counter_the_integral_serves() -> None:
    campaign = Campaign()
    campaign.energy[1]["energy_j"] = None
    a = campaign.build()[0].loc["a"]
    assert a["gpu_energy_j"] == 190.0
    assert list(a["flags"]) == ["few_samples", "gap"]


def test_only_the_session_of_the_run_counts() -> None:
    """A run cut off in session 0 was trained again in session 1: the first part is no data."""
    campaign = Campaign()
    campaign.runs[1]["session"] = 1
    cut = list(campaign.energy)
    for rows in (campaign.windows, campaign.marks, campaign.energy, campaign.estimates):
        rows[:] = [{**row, "session": 1} if row["run_id"] == "a" else row for row in rows]
    campaign.energy += [{**row, "energy_j": 1.0} for row in cut]
    data, curves = campaign.build()
    assert data.loc["a", "node_energy_j"] == 300.0
    assert curves["node_energy_j"].tolist() == [120.0, 160.0]


def test_an_epoch_that_the_meter_missed_is_unknown() -> None:
    campaign = Campaign()
    campaign.energy = [
        row for row in campaign.energy if (row["source"], row["epoch"]) != ("meter", 1)
    ]
    _, curves = campaign.build()
    assert curves["node_energy_j"].isna().tolist() == [False, True]
    assert curves["node_power_w"].isna().tolist() == [False, True]


def test_a_run_without_a_plan_is_refused() -> None:
    campaign = Campaign()
    campaign.plan.pop(0)
    with pytest.raises(WattproofError, match="Run a is in table 'runs' but not in the plan"):
        campaign.build()


def test_an_empty_campaign_gives_empty_tables() -> None:
    campaign = Campaign()
    campaign.runs = []
    data, curves = campaign.build()
    assert len(data) == len(curves) == 0
