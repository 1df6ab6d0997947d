"""The data set of a campaign, joined from hand-written tables."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wattproof import config, dataset, preflight, tables
from wattproof.dataset import gate, join
from wattproof.errors import WattproofError

ROOT = Path(__file__).resolve().parents[2]
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

    def build(self, **settings: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
        names = ("plan", "runs", "windows", "marks", "energy", "estimates")
        inputs = {name: frame(getattr(self, name), name) for name in names}
        data, curves = dataset.build(**inputs, settings=settings)
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


def idle(watts: dict[str, float], session: int = 0, seconds: float = 30.0) -> list[dict[str, Any]]:
    """Energies of an idle window, by ``source/channel``."""
    at_rest = window(f"i{session}", "load", None, session, kind="idle", setting="calibration")
    return [
        energy(at_rest, *name.split("/"), power_w * seconds, duration_s=seconds)
        for name, power_w in watts.items()
    ]


def test_idle_power_of_the_recording() -> None:
    campaign = Campaign()
    campaign.energy += idle({"meter/node.ac": 50.0, "nvml/gpu0.energy": 9.0, "nvml/gpu1.energy": 7})
    data, _ = campaign.build()
    assert data.loc["a", ["idle_w", "gpu_idle_w"]].tolist() == [50.0, 9.0]
    assert data.loc["b", ["idle_w", "gpu_idle_w"]].isna().all()  # it failed
    # A run on all GPUs rests on all; a second window counts by its length.
    campaign.runs[1]["slot"] = None
    campaign.energy += idle({"meter/node.ac": 60.0}, seconds=90.0)
    data, _ = campaign.build()
    assert data.loc["a", ["idle_w", "gpu_idle_w"]].tolist() == [57.5, 16.0]


def test_a_session_without_rest_takes_that_of_another() -> None:
    campaign = Campaign()
    campaign.runs[1]["session"] = 1
    campaign.energy += idle({"meter/node.ac": 50.0, "nvml/gpu0.energy": 9.0})
    campaign.energy += idle({"nvml/gpu0.power_instant": 11.0}, session=1)
    data, _ = campaign.build()
    # The node's from session 0; the counter of session 0 goes before the integral of session 1.
    assert data.loc["a", ["idle_w", "gpu_idle_w"]].tolist() == [50.0, 9.0]


def test_an_unproven_meter_tells_no_idle_power() -> None:
    campaign = Campaign()
    campaign.energy += idle({"meter/node.ac": 50.0})
    campaign.energy[-1]["flags"] = ["clock_not_proven"]
    assert pd.isna(campaign.build()[0].loc["a", "idle_w"])
    assert pd.isna(Campaign().build()[0].loc["a", "idle_w"])


def test_the_fault_of_nvidia_smi_is_told_as_it_is() -> None:
    """Of the run's own GPU, as table energy has it; a refused epoch is unknown, never filled."""
    campaign = Campaign()
    epochs = [window("a", "epoch", e) for e in (0, 1)]
    campaign.energy += [
        energy(epochs[0], "smi", "gpu0.power", 31.0, method="mean", flags=["low_coverage"]),
        energy(epochs[0], "smi", "gpu1.power", 500.0),
        energy(epochs[1], "smi", "gpu0.power", None, flags=["no_samples"]),
        energy(epochs[1], "smi", "gpu1.power", 500.0),
    ]
    data, curves = campaign.build()
    assert data.loc["a", "smi_energy_j"] == 150.0
    assert curves["smi_energy_j"].tolist()[0] == 31.0
    assert pd.isna(curves["smi_energy_j"].tolist()[1])
    assert curves["gpu_energy_j"].tolist() == [60.0, 80.0]
    # What ails nvidia-smi does not ail the run.
    assert "low_coverage" not in data.loc["a", "flags"]
    assert data["smi_energy_j"].isna().tolist() == [False, True]


def test_all_estimators_with_their_bounds() -> None:
    a = Campaign().build()[0].loc["a"]
    for name, joules in (("code_carbon", 250.0), ("regression", 305.0), ("load_calibrated", 310.0)):
        found = [a[f"energy_{part}j_{name}"] for part in ("", "low_", "high_")]
        assert found == [joules, joules - 5, joules + 7]
    without = Campaign()
    without.estimates = [{**row, "lower_j": None, "upper_j": None} for row in without.estimates]
    data, _ = without.build()
    assert data.loc["a", "energy_j_regression"] == 305.0
    assert data[["energy_low_j_regression", "energy_high_j_regression"]].isna().all(axis=None)


# ------------------------------------------------------------------------------ gate and folds


def many(count: int) -> Campaign:
    """Good runs r00 … of 300 J and 2 epochs, each of a network of its own, and a failed one."""
    campaign, names = Campaign(), [f"r{number:02d}" for number in range(count)]

    def copies(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        own = [row for row in rows if row["run_id"] == "a"]
        keys = ("run_id", "window_id", "network_key")
        return [
            {**row, **{k: row[k].replace("a", name, 1) for k in keys if k in row}}
            for row in own
            for name in names
        ]

    campaign.plan = [planned(name, depth=n) for n, name in enumerate(names)] + [
        planned("b", depth=99)
    ]
    campaign.runs = [campaign.runs[0], *copies(campaign.runs)]
    for part in ("windows", "marks", "energy", "estimates"):
        setattr(campaign, part, copies(getattr(campaign, part)))
    return campaign


def test_clean_runs_pass_the_default_gate() -> None:
    data, _ = many(3).build()
    assert data["excluded"].tolist() == ["it failed: loss is not finite", "", "", ""]
    assert gate.included(data).tolist() == [False, True, True, True]
    # Warnings are the reader's business; an error means that the figures must not be used.
    campaign = many(3)
    for row in campaign.energy:
        if row["run_id"] == "r01" and row["source"] == "meter":
            row["flags"] = ["gap", "constant_meter", "energy_outside_limits"]
    data, curves = campaign.build()
    assert data.loc["r01", "excluded"] == "flagged constant_meter, energy_outside_limits"
    assert data.loc["r01", "node_energy_j"] == 300.0  # it stays, with all its figures
    assert set(curves["run_id"]) == {"r00", "r01", "r02"}
    assert gate.included(data).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"severity": "warning"}, "flagged counter_reset, gap"),
        ({"flags": ["gap"]}, "flagged gap"),
        ({"severity": "none", "flags": ["counter_reset"]}, "flagged counter_reset"),
        ({"min_epochs": 3}, "trained for 2 epoch(s), fewer than 3"),
        ({"max_uncertainty": 0.01}, "node energy known to ±1.1%, more than ±1.0%"),
        ({"max_uncertainty": 0.012}, ""),
        ({"energy_by": ["regression"]}, "node energy by meter, not by regression"),
        ({"energy_by": ["meter", "regression"]}, ""),
        ({"known": ["test_accuracy", "time_s", "idle_w"]}, "unknown: test_accuracy, idle_w"),
        ({"min_epochs": 2, "known": ["node_energy_j"]}, ""),
        ({"settings": ["packed", "ddp"]}, "trained single, not packed or ddp"),
        ({"settings": ["single"], "min_epochs": 9}, "trained for 2 epoch(s), fewer than 9"),
    ],
)
def test_each_key_of_the_gate(keys: dict[str, Any], words: str) -> None:
    data, _ = Campaign().build(gate=keys)
    assert data.loc["a", "excluded"] == words
    assert data.loc["b", "excluded"] == "it failed: loss is not finite"


def test_energy_without_bounds_is_in_doubt() -> None:
    campaign = Campaign()
    campaign.energy[0]["energy_u_j"] = None
    data, _ = campaign.build(gate={"max_uncertainty": 0.5})
    assert data.loc["a", "excluded"] == "node energy without bounds"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"flags": ["gab"]}, "'gab', which is not a quality flag. Did you mean 'gap'?"),
        ({"energy_by": ["metre"]}, "which is not an instrument or estimator that may tell"),
        ({"known": ["node_energy"]}, "Did you mean 'node_energy_j'?"),
    ],
)
def test_a_gate_that_names_nothing_is_refused(keys: dict[str, Any], words: str) -> None:
    schema = config.load_schema(ROOT / "config/schema/campaign.schema.json")
    full = config.validate({"campaign": "t", "dataset": {"gate": keys}}, schema, "c.yaml")
    with pytest.raises(WattproofError) as caught:
        preflight.check(full, "c.yaml")
    assert str(caught.value).startswith("c.yaml: key 'dataset.gate.")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_gate_of_the_code_is_that_of_the_schema() -> None:
    schema = config.load_schema(ROOT / "config/schema/campaign.schema.json")
    full = config.validate({"campaign": "t"}, schema, "c.yaml")
    assert full["dataset"]["gate"] == gate.KEYS
    assert full["surrogate"]["folds"] == join.FOLDS
    assert full["surrogate"]["seed"] == join.SEED


def test_left_out_runs_are_in_no_fit_and_no_table() -> None:
    from surrogate_campaign import make

    from wattproof.benchmark import measured
    from wattproof.surrogate.curves import tabulate

    campaign = make(runs=8, replicates=0)
    data = campaign.dataset.assign(excluded=["flagged gap", *[""] * 7])
    gone = data["run_id"][0]
    assert gone not in tabulate(data, campaign.curves).run_ids
    assert len(tabulate(data, campaign.curves).run_ids) == 7
    assert measured.table(data, campaign.curves, "node")["n"].sum() == 7
    # Older tables have no such column; a null is no reason.
    assert len(tabulate(campaign.dataset.drop(columns="excluded"), campaign.curves).run_ids) == 8
    assert len(tabulate(campaign.dataset.assign(excluded=None), campaign.curves).run_ids) == 8


def test_folds_are_by_network_even_and_repeatable() -> None:
    campaign = many(10)
    for number, row in enumerate(campaign.plan):
        row["network_key"] = f"net-{number // 2}" if row["run_id"] != "b" else "net-failed"
    data, _ = campaign.build(folds=3, seed=4)
    folds = data.groupby("network_key")["fold"].agg(["nunique", "first", "size"])
    assert pd.isna(data.loc["b", "fold"])  # no included run of its network
    of_good = folds.drop("net-failed")
    assert (of_good["nunique"] == 1).all()
    assert sorted(of_good["first"].value_counts().tolist()) == [1, 2, 2]
    again, _ = campaign.build(folds=3, seed=4)
    assert again["fold"].equals(data["fold"])
    others = [campaign.build(folds=3, seed=seed)[0]["fold"].tolist()[1:] for seed in range(5)]
    assert len({tuple(some) for some in others}) > 1
    assert set(campaign.build(folds=50)[0]["fold"].dropna()) == set(range(5))


@given(
    st.lists(st.text("abcd", min_size=1, max_size=3), min_size=1, max_size=40),
    st.integers(2, 8),
    st.integers(0, 5),
)
def test_folds_depend_on_the_set_of_networks_alone(keys: list[str], wanted: int, seed: int) -> None:
    found = dataset.deal(keys, wanted, seed)
    assert found == dataset.deal(reversed([*keys, *keys]), wanted, seed)
    sizes = np.bincount(list(found.values()))
    assert len(sizes) == min(wanted, len(set(keys)))
    assert sizes.max() - sizes.min() <= 1


# -------------------------------------------------------------------------------------- facts


def test_facts_of_a_set() -> None:
    campaign = many(4)
    for row in campaign.energy:
        if row["run_id"] == "r03":
            row["flags"] = ["constant_meter"]
    facts = dataset.facts(*with_index(campaign.build()))
    assert (facts.runs, facts.failed, facts.included, facts.networks) == (5, 1, 3, 3)
    assert facts.excluded == {"flagged constant_meter": 1}
    assert facts.lengths == {2: 3}
    assert facts.node_energy_by == {"meter": 3}
    assert facts.uncertainty == pytest.approx((1.645 * 2 / 300, 1.645 * 2 / 300))
    assert facts.smi_to_gpu == pytest.approx((0.75, 0.75, 0.75))
    assert facts.estimators["code_carbon"].median_error == pytest.approx(50 / 300)
    assert facts.estimators["code_carbon"].covered == 0.0
    assert facts.estimators["regression"].covered == 1.0
    assert facts.known["time_s"] == 1.0
    assert facts.known["idle_w"] == 0.0
    assert facts.noise == {}
    assert facts.node_hours == pytest.approx(3 * 10 / 3600)
    assert facts.node_kwh == pytest.approx(3 * 300 / 3.6e6)
    json.dumps(facts.as_dict(), allow_nan=False)
    text = " ".join(facts.sentences())
    assert "5 trainings, of which 1 failed and 1 were left out" in text
    assert "noise is unknown" in text


def test_noise_is_that_between_equal_configurations() -> None:
    data, curves = with_index(many(4).build())
    data.loc[1:, "config_depth"] = [7, 7, 8, 9]
    data.loc[1:, "time_s"] = [9.0, 11.0, 30.0, 50.0]
    data.loc[1:, "val_accuracy"] = [0.4, 0.5, 0.1, 0.9]
    noise = dataset.facts(data, curves).noise
    assert noise["time_s"].groups == 1
    assert noise["time_s"].std == pytest.approx(np.sqrt(2) / 10)
    assert noise["val_accuracy"].std == pytest.approx(0.1 / np.sqrt(2))
    assert noise["node_energy_j"].std == 0.0


def test_facts_of_an_older_set_and_of_nothing() -> None:
    data, curves = with_index(many(3).build())
    new = ["excluded", "fold", "smi_energy_j", "idle_w", "gpu_idle_w"]
    facts = dataset.facts(data.drop(columns=new), curves)
    assert (facts.included, facts.smi_to_gpu, facts.idle_w) == (3, None, None)
    empty = Campaign()
    empty.runs = []
    facts = dataset.facts(*with_index(empty.build()))
    assert (facts.runs, facts.included, facts.uncertainty) == (0, 0, None)
    json.dumps(facts.as_dict(), allow_nan=False)


def with_index(built: tuple[pd.DataFrame, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return built[0].reset_index(), built[1]


def test_a_consumer_knows_the_length_of_a_shortened_training() -> None:
    """Without torch, and equal to what is trained."""
    code = (
        "import sys; from wattproof.training.schedule import kept_epochs, trained_epochs\n"
        "for s in range(1, 30):\n"
        "    for e in range(1, 210):\n"
        "        assert trained_epochs(e, s) == len(kept_epochs(e, s)) >= 1, (e, s)\n"
        "print(trained_epochs(50, 10), trained_epochs(200, 10), trained_epochs(4, 10))\n"
        "print([m for m in ('torch', 'pandas', 'snakemake') if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split("\n")[:2] == ["5 20 1", "[]"]


def test_what_the_page_shows_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from surrogate_campaign import META, make

    page = (ROOT / "docs/dataset.md").read_text(encoding="utf-8")
    campaign = make(runs=12, replicates=2)
    fold = campaign.dataset["network_key"].map(dataset.deal(campaign.dataset["network_key"], 5, 0))
    data = campaign.dataset.assign(excluded="", fold=fold)
    tables.write(data, "dataset", tmp_path / "dataset.parquet", META)
    tables.write(campaign.curves, "curves", tmp_path / "curves.parquet", META)
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = "\n".join(blocks).replace("results/demo/tables", str(tmp_path))
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["train"]) + len(names["test"]) == len(campaign.dataset)
    assert not set(names["train"]["network_key"]) & set(names["test"]["network_key"])
    assert "14 trainings, of which 0 failed" in capsys.readouterr().out
    assert names["about"]["simulated"] is True
    (gates,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    schema = config.load_schema(ROOT / "config/schema/campaign.schema.json")
    full = config.validate({"campaign": "t", **yaml.safe_load(gates)}, schema, "page")
    preflight.check(full, "page")
    assert set(full["dataset"]["gate"]) == set(gate.KEYS)
    for name in [
        column.name for part in ("dataset", "curves") for column in tables.TABLES[part].columns
    ]:
        assert name in page, f"{name} is not explained"


def test_scores_are_held_out_by_the_folds_of_the_data_set() -> None:
    from surrogate_campaign import make

    from wattproof.surrogate import scoring
    from wattproof.surrogate.curves import tabulate

    campaign = make(runs=17, replicates=3)
    table = tabulate(campaign.dataset, campaign.curves)
    dealt = dataset.deal(campaign.dataset["network_key"], 4, 9)
    key_of = campaign.dataset.set_index("run_id")["network_key"]
    mine = [dealt[key_of[run_id]] for run_id in table.run_ids]
    assert scoring.assign_folds(table.networks, 4, 9)[0].tolist() == mine
