"""Commands `wattproof query` and `wattproof benchmark`: friendly words, one sentence a mistake."""

import io
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import wattproof
from wattproof import cli
from wattproof.benchmark import overview
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Call the command as the shell would; a process of its own would import all anew."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["wattproof", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def mistake(*words: object) -> str:
    out = command(*words)
    assert out.returncode == 1
    assert out.stdout == ""
    assert out.stderr.startswith("wattproof: ")
    assert out.stderr.count("\n") == 1
    return out.stderr


def test_query_as_json_is_the_query(packed: Path, bench: Benchmark) -> None:
    out = command("query", packed, "--sample", 3, "lr=0.01", "--epoch", 1, "--seed", 5, "--json")
    found = json.loads(out.stdout)
    config = bench.sample(seed=3) | {"lr": 0.01}
    result = bench.query(config, epoch=1, seed=5)
    assert found["config"] == config
    assert found["seed"] == 5
    assert found["energy_j"]["value"] == result.energy_j.value
    assert found["energy_j"]["unit"] == "J"
    assert found["simulated"] is True
    assert found["provenance"] == "surrogate"


def test_query_of_the_other_kinds_and_energies(packed: Path) -> None:
    gpu = command("query", packed, "--sample", 3, "--energy", "gpu").stdout
    assert " J" in gpu
    assert ", gpu" in gpu
    assert "was not trained" in mistake("query", packed, "--sample", 3, "--kind", "table")
    assert "Did you mean" in mistake("query", packed, "--sample", 3, "--kind", "tabel")
    assert "none that this benchmark answers" in mistake(
        "query", packed, "--sample", 3, "--energy", "rapl"
    )


def test_info_says_what_matters(packed: Path, bench: Benchmark) -> None:
    text = overview.text(overview.describe(packed))
    for words in (
        "SIMULATED",
        "benchmark 'synthetic'",
        "33 trainings of 30 distinct networks",
        "kWh of the node",
        "Kendall τ",
        "Limits:",
        "CC-BY-4.0",
        json.loads(bench._files["card.json"])["citation"],
    ):
        assert words in text
    card = command("benchmark", "info", packed, "--card").stdout
    assert card.strip() == bench.card.strip()
    found = json.loads(command("benchmark", "info", packed, "--json").stdout)
    assert found["card"]["simulated"] is True
    assert found["manifest"]["schema_version"] == 2


def test_verify(artefact: Path, packed: Path, tmp_path: Path) -> None:
    digest = json.loads((artefact / "manifest.json").read_text())["digest"]
    for path in (artefact, packed):
        assert digest in overview.verify(path)
        assert "the digest given" in overview.verify(path, digest.upper())
        with pytest.raises(WattproofError, match="not the benchmark with that digest"):
            overview.verify(path, "0" * 64)
    copy = shutil.copytree(artefact, tmp_path / "copy")
    (copy / "curves.parquet").unlink()
    assert "curves.parquet is missing" in mistake("benchmark", "verify", copy)
    assert "does not exist" in mistake("benchmark", "info", tmp_path / "nowhere")


def test_cost_is_that_of_all_runs(bench: Benchmark) -> None:
    cost = json.loads(bench._files["card.json"])["cost"]
    assert cost["node_kwh"] == pytest.approx(bench.dataset["node_energy_j"].sum() / 3.6e6)
    assert cost["hours"] == pytest.approx(bench.dataset["time_s"].sum() / 3600)
    assert cost["node_runs"] == len(bench.dataset)


def test_what_a_forger_changes_shows_in_the_digest(artefact: Path, tmp_path: Path) -> None:
    from wattproof.benchmark import manifest

    copy = shutil.copytree(artefact, tmp_path / "copy")
    (copy / "CARD.md").write_text("All is well.")
    about = json.loads((copy / "manifest.json").read_text())
    before = about["digest"]
    about["files"]["CARD.md"] = manifest.entry(b"All is well.")
    (copy / "manifest.json").write_bytes(manifest.render(about))
    assert wattproof.load(copy).card == "All is well."
    with pytest.raises(WattproofError, match="not the benchmark with that digest"):
        overview.verify(copy, before)
