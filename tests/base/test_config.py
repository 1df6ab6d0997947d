"""A mistake in a campaign file gives one sentence that names file, key and remedy."""

from pathlib import Path

import pytest

from wattproof import config, preflight
from wattproof.errors import WattproofError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config/schema/campaign.schema.json")


def complete(**changes: object) -> config.Config:
    return config.validate({"campaign": "t", **changes}, SCHEMA, "c.yaml")


def test_demo_campaign_is_valid_and_spelled_out() -> None:
    raw = config.read_yaml(ROOT / "config/config.yaml")
    full = config.validate(raw, SCHEMA, "config/config.yaml")
    preflight.check(full, "config/config.yaml")
    for section in ("node", "plan", "training", "calibration", "analysis", "dataset", "surrogate"):
        assert set(raw[section]) == set(full[section]), f"{section}: a key is not explained"


def test_defaults_are_filled_and_input_is_left_alone() -> None:
    raw = {"campaign": "t", "sources": {"nvml": {}}}
    full = config.validate(raw, SCHEMA, "c.yaml")
    nvml = {"period_s": 0.047, "counter_period_s": 0.1, "ring": True, "gpus": "all"}
    assert full["sources"] == {"nvml": nvml}
    assert full["plan"]["runs"] == 24
    assert raw == {"campaign": "t", "sources": {"nvml": {}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"analyses": {}}, ["unknown key 'analyses'", "Did you mean 'analysis'?"]),
        (
            {"analysis": {"min_sample": 3}},
            ["unknown key 'analysis.min_sample'", "Did you mean 'min_samples'?"],
        ),
        ({"plan": {"runs": 0}}, ["key 'plan.runs'", "at least 1", "is 0"]),
        ({"plan": {"runs": "many"}}, ["key 'plan.runs'", "a whole number", "'many'"]),
        ({"plan": {"runs": True}}, ["key 'plan.runs'", "a whole number"]),
        ({"node": {"kind": "cloud"}}, ["key 'node.kind'", "virtual, real", "'cloud'"]),
        ({"sources": {}}, ["key 'sources'", "at least 1"]),
        ({"sources": {"meter": {}}}, ["key 'sources.meter.driver' is missing"]),
        ({"sources": {"nvml": {"period_s": 0}}}, ["'sources.nvml.period_s'", "at least 0.001"]),
        ({"campaign": "a/b"}, ["key 'campaign'", "letters, digits"]),
        ({"node": None}, ["key 'node'", "a group of keys", "None"]),
    ],
)
def test_schema_mistakes(changes: config.Config, words: list[str]) -> None:
    with pytest.raises(WattproofError) as caught:
        complete(**changes)
    message = str(caught.value)
    assert message.startswith("c.yaml")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": "regnet_dmeo"}, ["'space'", "Did you mean 'regnet_demo'?"]),
        (
            {"sources": {"meter": {"driver": "lgm450"}}},
            ["sources.meter.driver", "Did you mean 'lmg450'?"],
        ),
        ({"training": {"dataset": "digit"}}, ["training.dataset", "Did you mean 'digits'?"]),
        (
            {"training": {"dataset": "fashion_mnist", "data_dir": "/nowhere"}},
            ["training.dataset", "/nowhere"],
        ),
        ({"training": {"train_images": 5000}}, ["training.dataset", "5000"]),
        ({"plan": {"runs": 10**8}}, ["plan.runs", "regnet_demo", "distinct"]),
        ({"node": {"overrides": {"smi": {"hold": 1}}}}, ["node.overrides.smi", "hold_s"]),
        (
            {"sources": {"meter": {"driver": "lmg450", "channels": [9]}}},
            ["sources.meter.channels.0", "at most 4"],
        ),
        (
            {"sources": {"meter": {"driver": "lmg450", "bauds": 9600}}},
            ["unknown key 'sources.meter.bauds'", "Did you mean 'baud'?"],
        ),
        (
            {"node": {"kind": "real"}, "sources": {"meter": {"driver": "lmg450"}}},
            ["sources.meter.port", "/dev/ttyUSB0"],
        ),
    ],
)
def test_mistakes_beyond_the_schema(changes: config.Config, words: list[str]) -> None:
    with pytest.raises(WattproofError) as caught:
        preflight.check(complete(**changes), "c.yaml")
    message = str(caught.value)
    assert message.startswith("c.yaml")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_yaml_mistakes(tmp_path: Path) -> None:
    with pytest.raises(WattproofError, match="does not exist"):
        config.read_yaml(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("campaign: [")
    with pytest.raises(WattproofError, match="not valid YAML"):
        config.read_yaml(broken)
    broken.write_text("just text")
    with pytest.raises(WattproofError, match="must hold keys"):
        config.read_yaml(broken)
