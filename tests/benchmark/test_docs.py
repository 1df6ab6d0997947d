"""Every example of docs/benchmark.md runs, in order, in an empty folder beside an archive."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_campaign

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    shutil.copy(tiny, folder / "demo.wattproof.zip")
    return folder


def blocks(language: str) -> list[str]:
    parts = PAGE.split("```")[1::2]  # what stands between two fences
    found = [part.partition("\n") for part in parts]
    return [code for tag, _, code in found if tag == language]


def test_python_examples(folder: Path) -> None:
    code = "\n".join(blocks("python"))
    assert code.count("wattproof.load(") == 5
    out = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "SIMULATED" in out.stdout
    assert "measured, n=1" in out.stdout
    assert (folder / "mine").is_dir()


def test_commands(folder: Path) -> None:
    lines = [line for block in blocks("") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("wattproof ") and "4ba1…" not in line]
    assert len(commands) == 4
    for command in commands:
        words = command.partition("#")[0].split()
        out = subprocess.run(
            [sys.executable, "-c", "from wattproof.cli import main; main()", *words[1:]],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert out.returncode == 0, (command, out.stderr)
        assert out.stdout


def test_settings_of_the_page_are_those_of_the_schema() -> None:
    import yaml

    for block in blocks("yaml"):
        tiny_campaign.complete(**yaml.safe_load(block))


def test_files_of_the_page_are_those_of_the_archive(folder: Path) -> None:
    import zipfile

    table = PAGE.partition("## What is in it")[2].partition("\n\nParquet")[0]
    named = set(re.findall(r"`([\w./]+\.(?:json|md|onnx|parquet|MD))`", table)) | {"CARD.md"}
    with zipfile.ZipFile(folder / "demo.wattproof.zip") as packed:
        assert named == set(packed.namelist())
