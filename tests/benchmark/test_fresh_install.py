"""A consumer's machine: a new environment with the core alone, an empty folder, one archive."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import wattproof

ROOT = Path(__file__).resolve().parents[2]

CODE = """
import importlib.util, json, sys, time
heavy = ("torch", "snakemake", "lightgbm", "sklearn", "polars", "matplotlib", "onnx", "jinja2")
assert not [name for name in heavy if importlib.util.find_spec(name)]
import wattproof, wattproof.benchmark.api
begin = time.perf_counter()
bench = wattproof.load(sys.argv[1])
load_s = time.perf_counter() - begin
config = bench.sample(seed=3)
result = bench.query(config, seed=5)
bench.query_many(bench.sample(seed=1, n=50))
bench.curve(config)
bench.pareto()
row = bench.measured().iloc[0]
table = wattproof.load(sys.argv[1], kind="table")
table.query({name: row[name] for name in table.space})
print(json.dumps([result.energy_j.value, result.energy_j.low, load_s]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_archive_in_an_empty_folder_needs_the_core_only(packed: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"  # what is built is not written into the repository
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "workflow" / "wattproof",
        source / "workflow" / "wattproof",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    folder = tmp_path / "empty"
    folder.mkdir()
    archive = shutil.copy(packed, folder / "mine.wattproof.zip")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([python, "-m", "pip", "install", "--quiet", source], check=True, env=environment)

    def run(*words: object) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    value, low, _ = json.loads(run(python, "-c", CODE, archive))
    here = wattproof.load(packed)
    result = here.query(here.sample(seed=3), seed=5)
    assert (value, low) == pytest.approx((result.energy_j.value, result.energy_j.low), rel=1e-6)
    command = python.with_name("wattproof")
    assert "SIMULATED" in run(command, "query", archive, "--sample", 0)
    assert "all as they were published" in run(command, "benchmark", "verify", archive)
    assert list(folder.iterdir()) == [Path(archive)]
