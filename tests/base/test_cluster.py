"""What jobs ask a cluster for, by a campaign's key ``cluster``."""

from pathlib import Path
from typing import Any

import pytest

from wattproof import cluster, config, plan
from wattproof.errors import WattproofError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config" / "schema" / "campaign.schema.json")


def complete(**keys: Any) -> config.Config:
    return config.validate({"campaign": "c", **keys}, SCHEMA, "c.yaml")


def rows(of: config.Config) -> list[plan.PlanRow]:
    recordings = plan.by_recording(plan.make_plan(of))
    return next(rows for name, rows in recordings.items() if not name.startswith("calibration"))


def test_what_a_campaign_leaves_open_is_left_to_the_profile() -> None:
    plain = complete(sources={"nvml": {}})
    assert cluster.recording(plain) == {}
    assert cluster.analysis(plain) == {}
    assert not cluster.is_local(plain)


def test_every_key_has_its_resource() -> None:
    asked = complete(
        sources={"nvml": {}},
        cluster={
            "account": "a1",
            "partition": "gpu",
            "qos": "long",
            "runtime_min": 90,
            "mem_mb": 64000,
            "constraint": "meter&h100",
            "extra": "--nodelist=gpu07",
            "analysis": "local",
            "analysis_partition": "cpu",
        },
    )
    assert cluster.recording(asked) == {
        "mem_mb": 64000,
        "runtime": 90,
        "slurm_account": "a1",
        "slurm_partition": "gpu",
        "constraint": "meter&h100",
        "qos": "long",
        "slurm_extra": "--nodelist=gpu07",
    }
    assert cluster.analysis(asked) == {"slurm_account": "a1", "slurm_partition": "cpu"}
    assert cluster.is_local(asked)


@pytest.mark.parametrize("source", ["meter", "rapl", "host", "codecarbon"])
def test_a_source_that_sees_the_whole_node_takes_it_exclusively(source: str) -> None:
    settings = {"driver": "lmg450"} if source == "meter" else {}
    wide = complete(sources={"nvml": {}, source: settings})
    assert cluster.recording(wide)["slurm_extra"] == "--exclusive"
    also = complete(sources={source: settings}, cluster={"extra": "--nice=5"})
    assert cluster.recording(also)["slurm_extra"] == "--exclusive --nice=5"
    shared = complete(sources={source: settings}, cluster={"exclusive": False})
    assert "slurm_extra" not in cluster.recording(shared)
    offline = complete(sources={source: settings}, node={"mode": "offline"})
    assert "slurm_extra" not in cluster.recording(offline)


def test_gpus_only_shared_unless_asked_otherwise() -> None:
    assert cluster.recording(complete(sources={"nvml": {}, "smi": {}})) == {}
    alone = complete(sources={"nvml": {}}, cluster={"exclusive": True})
    assert cluster.recording(alone) == {"slurm_extra": "--exclusive"}


@pytest.mark.parametrize(
    ("keys", "gres"),
    [
        ({"node": {"preset": "paper"}}, "gpu:1"),
        ({"node": {"preset": "paper"}, "plan": {"setting": "packed"}}, "gpu:4"),
        ({"node": {"preset": "paper"}, "plan": {"setting": "ddp"}}, "gpu:4"),
        ({"node": {"kind": "real"}}, "gpu:1"),
        ({"node": {"kind": "real"}, "cluster": {"gpus": 2, "gpu_type": "h100"}}, "gpu:h100:2"),
        ({"node": {"preset": "paper"}, "plan": {"setting": "packed", "slots": 2}}, "gpu:2"),
    ],
)
def test_slots_are_asked_for_by_gres(keys: dict[str, Any], gres: str) -> None:
    asked = complete(**keys)
    assert cluster.gres(asked, plan.slots(asked, rows(asked))) == gres


def test_all_gpus_of_a_real_node_must_be_a_number() -> None:
    packed = {"setting": "packed"}
    for known in (
        complete(node={"preset": "paper"}, plan=packed),
        complete(node={"kind": "real"}),
        complete(node={"kind": "real"}, plan={**packed, "slots": 4}),
        complete(node={"kind": "real"}, plan=packed, cluster={"gpus": 4}),
    ):
        cluster.check(known, "c.yaml")
    with pytest.raises(
        WattproofError, match=r"c\.yaml: key 'plan\.slots' is null.*'cluster\.gpus'"
    ):
        cluster.check(complete(node={"kind": "real"}, plan=packed), "c.yaml")


def test_cores_for_all_trainings_at_work_at_once() -> None:
    packed = complete(node={"preset": "paper"}, training={"threads": 3}, plan={"setting": "packed"})
    assert cluster.cpus(packed, plan.cpu_threads(packed, rows(packed))) == 13
    assert cluster.cpus(complete(cluster={"cpus": 32}), 2) == 32
