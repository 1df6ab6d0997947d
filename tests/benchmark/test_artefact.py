"""The published folder: deterministic, self-describing, and tamper-evident."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import surrogate_campaign as synthetic
from published_artefact import make_artefact, publish_again
from said import files, sentence

import wattproof
from wattproof import tables
from wattproof.benchmark import manifest
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError
from wattproof.surrogate import layout


def refused(folder: Path) -> str:
    return sentence(wattproof.load, folder)


@pytest.fixture
def copy(artefact: Path, tmp_path: Path) -> Path:
    return shutil.copytree(artefact, tmp_path / "copy")


def test_same_inputs_give_the_same_bytes(artefact: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    publish_again(artefact.parent, out)
    assert files(out) == files(artefact)
    publish_again(artefact.parent, out)  # replaces an older benchmark
    assert files(out) == files(artefact)


def test_a_query_starts_no_threads(artefact: Path) -> None:
    """Arrow's pools may still be starting when a short process ends, which then aborts."""
    code = (
        "import os, sys, ConfigSpace, onnxruntime, pandas, pyarrow.parquet, wattproof\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = count(); bench = wattproof.load(sys.argv[1])\n"
        "bench.query(bench.sample(0)).idle_energy_j; bench.dataset; bench.curves\n"
        "print(count() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(artefact)], capture_output=True)
    assert done.stdout.decode().strip() == "0", done.stderr.decode()


def test_manifest_says_what_it_is(artefact: Path, bench: Benchmark) -> None:
    content = json.loads((artefact / "manifest.json").read_text())
    assert content["simulated"] is True
    assert content["name"] == "synthetic"
    assert content["licence"] == "CC-BY-4.0"
    assert content["created_by"] == f"wattproof {wattproof.__version__}"
    assert content["input"] == {"resolution": 32, "classes": 10}
    units = {k: v["unit"] for k, v in content["targets"].items()}
    core = {"accuracy": "1", "energy_j": "J", "time_s": "s", "power_w": "W"}
    assert {name: units[name] for name in core} == core
    assert content["targets"]["energy_j"]["meaning"] == "energy of the node, all epochs so far"
    assert set(content["files"]) == set(files(artefact)) - {"manifest.json"}
    assert bench.simulated
    assert "SIMULATED" in repr(bench)
    assert bench.name == "synthetic"
    assert set(bench.space) == set(bench.sample(seed=0))


def test_all_files_of_a_surrogate_are_required() -> None:
    assert set(layout.FILES) <= set(manifest.REQUIRED)


def test_no_pickle_is_published(artefact: Path) -> None:
    kinds = {Path(name).suffix for name in files(artefact)}
    assert kinds <= {".json", ".md", ".onnx", ".parquet"}
    assert not any(content.startswith(b"\x80") for content in files(artefact).values())


def test_card_says_how_far_to_trust_it(bench: Benchmark) -> None:
    for words in (
        "SIMULATED",
        "33 trainings of 30 distinct networks",
        "LMG450",
        "energy_j: the node by meter (33 runs)",
        "meter (33)",
        "median 4.8%",  # the synthetic campaign spends 5 % of its energy outside of epochs
        "CC-BY-4.0",
        "Kendall",
        "wattproof.load",
    ):
        assert words in bench.card, words
    scores = bench.card.partition("## Scores")[2].partition("\n## ")[0]
    for target in bench.targets:  # one row each: that of the published model
        assert scores.count(f"\n| {target} |") == 1, target


def test_a_measured_benchmark_bears_no_banner(artefact: Path, tmp_path: Path) -> None:
    for name in ("dataset", "curves", "scores"):
        path = artefact.parent / f"{name}.parquet"
        real = tables.Meta("real", simulated=False)
        tables.write(tables.read(path, name), name, tmp_path / path.name, real)
    paths = {f"{name}_path": tmp_path / f"{name}.parquet" for name in ("dataset", "curves")}
    out = tmp_path / "out"
    publish_again(artefact.parent, out, simulated=False, **paths)
    bench = wattproof.load(out)
    assert "SIMULATED" not in bench.card + str(bench.query(bench.sample(seed=0))) + repr(bench)


def test_simulated_data_cannot_be_published_as_real(artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(WattproofError, match="says that its energies are simulated"):
        publish_again(artefact.parent, tmp_path / "out", simulated=False)


def test_every_flipped_byte_is_noticed(copy: Path) -> None:
    for name, content in files(copy).items():
        for position in {0, len(content) // 3, len(content) - 1}:
            changed = bytearray(content)
            changed[position] ^= 1
            (copy / name).write_bytes(changed)
            message = refused(copy)
            assert str(copy) in message
        (copy / name).write_bytes(content)
    wattproof.load(copy)


def test_every_missing_file_is_noticed(copy: Path) -> None:
    for name, content in files(copy).items():
        (copy / name).unlink()
        message = refused(copy)
        if name != "manifest.json":
            assert name in message
            assert "missing" in message
        (copy / name).write_bytes(content)


def rewrite(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_bytes(manifest.render(content | changes))


def test_newer_schema(copy: Path) -> None:
    rewrite(copy, schema_version=99)
    assert "newer" in refused(copy)
    assert "update wattproof" in refused(copy)


def test_a_surrogate_of_another_version_is_refused_rather_than_misread(copy: Path) -> None:
    about = json.loads((copy / "surrogate.json").read_text())
    content = json.dumps(about | {"version": layout.VERSION - 1}).encode()
    (copy / "surrogate.json").write_bytes(content)
    listed = json.loads((copy / "manifest.json").read_text())["files"]
    rewrite(copy, files=listed | {"surrogate.json": manifest.entry(content)})
    assert f"surrogate.json has version {layout.VERSION - 1}" in refused(copy)


def test_a_manifest_cannot_reach_outside_of_its_folder(copy: Path) -> None:
    secret = copy.parent / "secret"
    secret.write_text("x")
    content = json.loads((copy / "manifest.json").read_text())
    listed = content["files"] | {"../secret": manifest.entry(b"x")}
    rewrite(copy, files=listed)
    assert "outside" in refused(copy)


def test_a_manifest_must_list_what_a_benchmark_needs(copy: Path) -> None:
    content = json.loads((copy / "manifest.json").read_text())
    del content["files"]["intervals.json"]
    rewrite(copy, files=content["files"])
    assert "intervals.json" in refused(copy)


@pytest.mark.parametrize("content", [b"{}", b"[]", b"not json", b"\xff\xfe"])
def test_not_a_benchmark(tmp_path: Path, content: bytes) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere")
    assert "not a wattproof benchmark" in refused(tmp_path)
    (tmp_path / "manifest.json").write_bytes(content)
    refused(tmp_path)
    file = tmp_path / "file"
    file.write_text("x")
    assert "not a wattproof benchmark" in refused(file)


def test_another_version_of_the_space_is_refused(copy: Path) -> None:
    path = copy / "configspace.json"
    content = json.loads(path.read_text())
    content["hyperparameters"][0]["sequence"].append(256)
    path.write_text(json.dumps(content))
    listed = json.loads((copy / "manifest.json").read_text())["files"]
    rewrite(copy, files=listed | {"configspace.json": manifest.entry(path.read_bytes())})
    assert "another version of the search space" in refused(copy)


def test_models_of_another_encoding_are_refused(copy: Path) -> None:
    path = copy / "surrogate.json"
    content = json.loads(path.read_text()) | {"encoding": "0" * 64}
    path.write_text(json.dumps(content))
    listed = json.loads((copy / "manifest.json").read_text())["files"]
    rewrite(copy, files=listed | {"surrogate.json": manifest.entry(path.read_bytes())})
    assert "another encoding" in refused(copy)


def test_a_foreign_folder_is_not_overwritten(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(WattproofError, match="not empty"):
        publish_again(artefact.parent, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_costs_that_the_space_does_not_give_are_refused(tmp_path: Path) -> None:
    campaign = synthetic.make(runs=4, replicates=0)
    data = campaign.dataset.assign(macs=campaign.dataset["macs"] + 1)
    with pytest.raises(WattproofError, match="not those of space 'regnet_demo'"):
        make_artefact(synthetic.Campaign(data, campaign.curves), tmp_path, trees=2)


def test_the_image_size_is_found_from_the_costs(tmp_path: Path) -> None:
    from wattproof import space

    demo = space.get("regnet_demo")
    campaign = synthetic.make(runs=4, replicates=0)
    costs = [
        demo.realise(config, resolution=28, classes=7).complexity() for config in demo.sample(4, 0)
    ]
    data = campaign.dataset.assign(
        **{name: [getattr(c, name) for c in costs] for name in ("macs", "params", "activations")}
    )
    folder = make_artefact(synthetic.Campaign(data, campaign.curves), tmp_path, trees=2)
    content = json.loads((folder / "manifest.json").read_text())
    assert content["input"] == {"resolution": 28, "classes": 7}
    assert isinstance(wattproof.load(folder).measured(), pd.DataFrame)


def test_failed_runs_are_published_without_metrics(tmp_path: Path) -> None:
    campaign = synthetic.make(runs=12, replicates=0)
    data = campaign.dataset.astype({"macs": "Int64", "params": "Int64", "activations": "Int64"})
    data.loc[2, "status"] = "failed"
    unknown = ["time_s", "val_accuracy", "node_energy_j", "gpu_energy_j", "macs", "params"]
    data.loc[2, unknown] = pd.NA
    curves = campaign.curves[campaign.curves["run_id"] != data.loc[2, "run_id"]]
    bench = wattproof.load(
        make_artefact(synthetic.Campaign(data, curves), tmp_path / "out", trees=5)
    )
    assert "11 trainings of 11 distinct networks" in bench.card
    assert "12 trainings, of which 1 failed" in bench.card
    assert len(bench.dataset) == 12
    assert bench.measured()["n"].sum() == 11
