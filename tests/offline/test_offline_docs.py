"""The page on the offline mode: its examples work as they stand."""

import re
from pathlib import Path

import yaml

from wattproof import config, preflight

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "offline.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_python_example_runs():
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, "docs/offline.md", "exec"), names)
    made = names["made"]
    assert set(made.tables) == {"samples", "channels", "health", "marks", "runs"}
    run = names["run"]
    joules = made.truth.energy_j("node.ac", run.mono_ns, run.mono_ns + 10**9)
    assert 1000 < joules < 3000


def test_the_campaign_keys_are_those_of_the_schema():
    (text,) = blocks("yaml")
    schema = config.load_schema(ROOT / "config" / "schema" / "campaign.schema.json")
    complete = config.validate({"campaign": "x", **yaml.safe_load(text)}, schema, "offline.md")
    assert config.is_offline(preflight.check(complete, "offline.md"))
