"""Groups of a plan: the paper's 500 + 3 × 20, old plans unchanged, what cannot be planned."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from wattproof import config, plan, preflight
from wattproof.errors import WattproofError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config/schema/campaign.schema.json")

OLD: dict[str, Any] = {
    "campaign": "c",
    "plan": {"runs": 5, "replicates": 1, "runs_per_recording": 3, "seed": 3},
    "training": {"image_size": 16, "train_images": 128},
    "sources": {"nvml": {"period_s": 0.05}, "meter": {"driver": "lmg450", "port": "auto"}},
}
OFFLINE = {"kind": "virtual", "preset": "paper", "mode": "offline"}


def complete(raw: dict[str, Any]) -> config.Config:
    return config.validate(raw, SCHEMA, "c.yaml")


def twin(**changes: Any) -> config.Config:
    raw = config.read_yaml(ROOT / "config/campaigns/paper_twin.yaml")
    return complete({**raw, **changes})


def with_plan(**changes: Any) -> config.Config:
    return complete({**OLD, "node": OFFLINE, "plan": {**OLD["plan"], **changes}})


def test_plans_from_before_there_were_groups_keep_every_name_and_digest() -> None:
    """Else a campaign that is half trained would train everything anew.

    Of version 2 of the training code: they change only with `plan.TRAINING_VERSION`, or by
    mistake.
    """
    rows = plan.make_plan(complete(OLD))
    parts = plan.by_recording(rows)
    assert {name: plan.recording_digest(part) for name, part in parts.items()} == {
        "calibration-000": "d12d201d376d6254",
        "single-000": "31d16416df93979d",
        # Replicates stood here, too, until campaigns could grow.
        "single-001": "090f533e6f27a2f3",
        "single-r000": "c47c3d332226f03e",
    }
    names = [row.run_id for row in rows if row.config]
    assert names[:3] == ["single-00000-090e1d2b", "single-00001-4124b4e3", "single-00002-233f477d"]


def test_the_papers_trainings_are_planned() -> None:
    settings = preflight.check(twin(), "twin")
    rows = [row for row in plan.make_plan(settings) if row.config]
    named = Counter((row.run_id.split("-")[0], row.setting) for row in rows)
    assert named == {
        ("smi", "single"): 500,
        ("nvml", "single"): 20,
        ("codecarbon", "single"): 20,
        ("multi", "ddp"): 20,
    }
    assert len({row.run_id for row in rows}) == 560
    assert len({row.recording for row in rows}) == 28
    for group in ("smi", "nvml", "codecarbon", "multi"):
        keys = [row.network_key for row in rows if row.run_id.startswith(group)]
        assert len(set(keys)) == len(keys)  # each network once


def test_planning_stays_fast() -> None:
    settings = twin()
    plan.make_plan(settings)  # enumerates the space
    begin = time.process_time()
    plan.make_plan(settings)
    assert time.process_time() - begin < 3.0


def test_a_group_appended_or_grown_keeps_the_others() -> None:
    def digests(groups: list[dict[str, Any]]) -> dict[str, str]:
        parts = plan.by_recording(plan.make_plan(with_plan(groups=groups)))
        return {name: plan.recording_digest(part) for name, part in parts.items()}

    one = {"name": "one", "runs": 3}
    two = {"name": "two", "runs": 3, "setting": "packed"}
    before = digests([one])
    after = digests([one, two])
    # Its load of the GPU is played on all slots from now on; other loads and trainings stay.
    assert before.pop("calibration-000") != after.pop("calibration-000")
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"two-000", "two-r000"}
    grown = digests([{**one, "runs": 5}, two])
    assert grown["one-000"] == after["one-000"]
    assert grown["two-000"] == after["two-000"]


def test_what_a_group_does_not_say_is_the_plans() -> None:
    groups = plan.groups(
        with_plan(
            replicates=2,
            recipe={"policy": "cos"},
            groups=[
                {"name": "a", "runs": 4},
                {"name": "b", "runs": 4, "seed": 9, "replicates": 0, "recipe": {}},
            ],
        )
    )
    own = groups[0].seed
    assert groups[0] == plan.Group("a", "single", 4, 2, own, 3, {"policy": "cos"})
    assert groups[1] == plan.Group("b", "single", 4, 0, 9, 3, {})


def test_the_seed_of_a_group_is_its_names_wherever_it_stands() -> None:
    def seeds(*names: str, **more: Any) -> dict[str, int]:
        listed = [{"name": name, "runs": 1} for name in names]
        return {group.name: group.seed for group in plan.groups(with_plan(groups=listed, **more))}

    found = seeds("a", "b", "c")
    assert len(set(found.values())) == 3
    assert seeds("c", "a", "b") == found
    assert not set(found.values()) & set(seeds("a", "b", "c", seed=4).values())


def test_a_recipe_is_fixed_or_restricted_and_the_networks_stay() -> None:
    def trained(**more: Any) -> list[plan.PlanRow]:
        planned = {"runs": 30, "seed": 4, **more}
        raw = {"campaign": "c", "node": OFFLINE, "space": "ea_has_tinyimagenet", "plan": planned}
        return [row for row in plan.make_plan(complete(raw)) if row.config]

    free, rows = trained(), trained(recipe={"lr": 0.1, "epochs": [50, 100], "optimizer": "sgd"})
    assert {row.config["lr"] for row in rows} == {0.1}
    assert {row.config["epochs"] for row in rows} == {50, 100}
    assert {row.config["cutout"] for row in rows} == {0, 16}  # still drawn
    assert [row.network_key for row in rows] == [row.network_key for row in free]
    assert len({row.config["lr"] for row in free}) > 5
    assert trained(recipe={}) == free


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"lr": 7}, ["'lr'", "7", "choose one"]),
        ({"depth": 6}, ["'depth'", "shapes the network"]),
        ({"momentum": 0.9}, ["'momentum'", "is not in it"]),
        ({"lr": []}, ["no value of 'lr'"]),
    ],
)
def test_a_recipe_that_the_space_lacks_is_one_sentence(recipe, words) -> None:
    settings = complete(
        {
            "campaign": "c",
            "node": OFFLINE,
            "space": "ea_has_cifar10",
            "training": {"dataset": "cifar10"},
            "plan": {"runs": 2, "recipe": recipe},
        }
    )
    with pytest.raises(WattproofError) as caught:
        preflight.check(settings, "c.yaml")
    text = str(caught.value)
    assert text.startswith("c.yaml: key 'plan.recipe'")
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_more_runs_than_a_recipe_leaves() -> None:
    recipe = {"lr": 0.1, "epochs": 50, "optimizer": "sgd", "policy": "cos", "cutout": 0}
    settings = complete(
        {
            "campaign": "c",
            "node": OFFLINE,
            "space": "ea_has_cifar10",
            "plan": {"runs": 335, "recipe": recipe},
        }
    )
    with pytest.raises(WattproofError, match="only 334 distinct ones with this recipe"):
        preflight.check(settings, "c.yaml")


LIVE = {"kind": "virtual", "preset": "paper"}  # four GPUs


def live(**planned: Any) -> config.Config:
    return complete({**OLD, "node": LIVE, "plan": {**OLD["plan"], **planned}})


@pytest.mark.parametrize(
    ("planned", "words"),
    [
        ({"setting": "packed", "slots": 5}, ("plan.slots' is 5", "'paper' has 4 GPU(s)")),
        ({"setting": "ddp", "slots": 2}, ("plan.slots' is 2", "takes all GPUs")),
        (
            {"groups": [{"name": "m", "runs": 1, "setting": "packed", "slots": 9}]},
            ("plan.groups.slots' is 9", "lower it"),
        ),
    ],
)
def test_more_slots_than_the_virtual_node_has(planned, words) -> None:
    with pytest.raises(WattproofError) as caught:
        preflight.check(live(**planned), "c.yaml")
    text = str(caught.value)
    assert text.startswith("c.yaml: ")
    assert all(word in text for word in words), text


@pytest.mark.parametrize("setting", ["packed", "ddp"])
def test_live_trainings_on_several_gpus_can_be_planned(setting) -> None:
    settings = preflight.check(live(setting=setting), "c.yaml")
    parts = plan.by_recording(plan.make_plan(settings))
    training = parts[f"{setting}-000"]
    assert plan.slots(settings, training) == 4
    assert plan.cpu_threads(settings, training) == 5
    loads = {row.spec["load"]: row for row in parts["calibration-000"]}
    assert "everywhere" in loads["gpu"].spec  # what trainings do at once, the load does
    assert "everywhere" not in loads["stress"].spec
    single = plan.by_recording(plan.make_plan(live()))
    assert all(plan.slots(settings, rows) == 1 for rows in single.values())


def test_slots_that_are_asked_for_are_in_every_row_of_a_group() -> None:
    settings = preflight.check(live(setting="packed", slots=3), "c.yaml")
    parts = plan.by_recording(plan.make_plan(settings))
    assert {row.spec["gpus"] for row in parts["packed-000"] if row.config} == {3}
    assert [plan.slots(settings, rows) for rows in parts.values()] == [3] * len(parts)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([{"name": "a", "runs": 1}, {"name": "a", "runs": 1}], "two groups"),
        ([{"name": "calibration", "runs": 1}], "calibration loads"),
    ],
)
def test_names_of_groups(groups, words) -> None:
    with pytest.raises(WattproofError, match=words):
        preflight.check(with_plan(groups=groups), "c.yaml")
