"""The page on training: its examples work as they stand, and it names every data set."""

import re
from pathlib import Path

import yaml

from wattproof import config
from wattproof.training import datasets

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_python_examples_run(capsys):
    assert blocks("python")
    for code in blocks("python"):
        exec(compile(code, "docs/training.md", "exec"), {})
    assert "images for comparing" in capsys.readouterr().out


def test_keys_are_those_of_the_schema():
    schema = config.load_schema(ROOT / "config" / "schema" / "campaign.schema.json")
    assert blocks("yaml")
    for text in blocks("yaml"):
        config.validate({"campaign": "x", **yaml.safe_load(text)}, schema, "training.md")


def test_every_data_set_has_its_row():
    for name in datasets.names():
        assert f"| `{name}` |" in PAGE


def test_every_key_of_the_recipe_is_explained():
    from dataclasses import fields

    from wattproof.training.recipe import Recipe

    for field in fields(Recipe):
        assert f"`{field.name}`" in PAGE or f"{field.name}: {{" in PAGE, field.name
