"""Results that others published become a data set and a benchmark; what does not fit is refused."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import wattproof
from wattproof import audit, cli, config, ingest, space, surrogate, tables
from wattproof.audit import results
from wattproof.audit.budgets import score_budgets
from wattproof.benchmark import publish
from wattproof.errors import WattproofError
from wattproof.surrogate import models

FOUR = space.get("nasbench101_4v")
SCHEMA = config.load_schema(
    Path(__file__).resolve().parents[2] / "config" / "schema" / "campaign.schema.json"
)
EPOCHS = (4, 12)


def cells(n: int) -> list[tuple[str, str, object]]:
    """Matrix, operations and network of the first cells of the space."""
    found = []
    for key in list(FOUR.networks)[:n]:
        network = FOUR.realise(FOUR.networks[key][0])
        digits = "".join(str(value) for row in network.cell.edges for value in row)
        found.append((digits, " ".join(network.cell.ops), network))
    return found


def write(folder: Path, networks: int = 40, **benchmark: object) -> Path:
    """A published table with a known law, and its manifest."""
    rng = np.random.default_rng(1)
    rows = []
    for digits, ops, network in cells(networks):
        macs = network.complexity().macs
        for epochs in EPOCHS:
            for repeat in (1, 2):
                seconds = (20 + epochs * (5 + macs / 5e7)) * np.exp(rng.normal(0, 0.01))
                joules = 150 * seconds * np.exp(rng.normal(0, 0.01))
                start, first = 0.02 * joules, 0.3 * joules
                rows.append(
                    {
                        "net": network.key,
                        "epochs": epochs,
                        "repeat": repeat,
                        "matrix": digits,
                        "ops": ops,
                        "params": network.complexity().params,
                        "time_s": seconds,
                        "total_j": joules,
                        "gpu_j": 0.6 * joules,
                        "cpu_j": 0.2 * joules,
                        "val": 0.5 + 0.3 * (epochs == 12) + rng.normal(0, 0.01),
                        "test": 0.5,
                        "so_far": f"0:{start};1:{start + first};{epochs}:{0.9 * joules}",
                    }
                )
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    figures = {"node.total": "total_j", "gpu0.energy": "gpu_j", "cpu.energy": "cpu_j"}
    asked = {
        "set": "published",
        "space": "nasbench101_4v",
        "cell": {"edges": "matrix", "ops": "ops"},
        "costs": {"params": "params"},
        "energy": "node.total",
        "gpu_energy": "gpu0.energy",
        "accuracy": "val",
        "test_accuracy": "test",
        "points": "so_far",
        "surrogate": {"folds": 4, "trees": 10, "splits": 1, "growth": 0},
        **benchmark,
    }
    reported = {
        "run_id": ["net", "epochs", "repeat"],
        "network_key": ["net"],
        "epochs": "epochs",
        "replicate": "repeat",
        "duration": {"column": "time_s", "unit": "s"},
        "config": ["matrix", "ops", "params", "so_far"],
        "metric": ["val", "test"],
        "figures": [
            {"source": "tracker", "channel": name, "energy": {"column": column, "unit": "J"}}
            for name, column in figures.items()
        ],
    }
    log = {"format": "delimited", "path": "results.csv", "rows": "reported", "reported": reported}
    manifest = {
        "audit": "published",
        "licence": "MIT",
        "benchmark": {key: value for key, value in asked.items() if value is not None},
        "sets": {"published": {"logs": [log]}},
    }
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    return path


def built(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, audit.Audit]:
    prepared = audit.prepare(yaml.safe_load(path.read_text()), path, SCHEMA)
    reported = ingest.load_set(prepared.manifest, "published").reported.to_pandas()
    asked = prepared.manifest.benchmark
    assert asked is not None
    return *results.build(reported, asked, prepared.config["surrogate"]), prepared


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return built(write(tmp_path_factory.mktemp("published")))


def test_every_row_is_a_training_with_its_published_figures(published) -> None:
    dataset, curves, _ = published
    assert len(dataset) == 40 * 2 * 2
    assert set(dataset["network_key"]) == set(list(FOUR.networks)[:40])
    assert set(dataset["node_energy_by"]) == {"reported by tracker"}
    assert np.allclose(dataset["part_j_cpu"], 0.2 * dataset["node_energy_j"])
    assert np.allclose(dataset["gpu_energy_j"], 0.6 * dataset["node_energy_j"])
    assert set(dataset["seed"]) == {1, 2}
    # Networks are held out whole.
    assert dataset.groupby("network_key")["fold"].nunique().max() == 1
    assert dataset["fold"].nunique() == 4
    row = dataset.iloc[0]
    network = FOUR.realise({key: row[f"config_{key}"] for key in FOUR.architecture})
    assert network.key == row["network_key"]
    assert [row[f"cost_{name}"] for name in FOUR.costs] == list(network.costs())
    sums = curves.groupby("run_id")[["time_s", "gpu_energy_j", "node_energy_j"]].sum()
    wanted = dataset.set_index("run_id")[sums.columns]
    assert np.allclose(sums, wanted.loc[sums.index])


def test_published_points_shape_the_curves_and_accuracy_stands_at_the_end(published) -> None:
    _, curves, _ = published
    run = curves[curves["run_id"] == curves["run_id"].iloc[0]].sort_values("epoch")
    # From 0.02 to 0.32 in the first epoch and to 0.9 in the others: 0.30 and 0.58 of 0.88.
    shares = (run["node_energy_j"] / run["node_energy_j"].sum()).to_numpy()
    assert shares == pytest.approx([0.30 / 0.88, *[0.58 / 0.88 / 3] * 3], rel=1e-9)
    assert run["val_accuracy"].notna().tolist() == [False, False, False, True]
    assert all(flags.tolist() == ["curve_inferred"] for flags in run["flags"])


def test_without_points_all_epochs_are_alike(tmp_path: Path) -> None:
    _, curves, _ = built(write(tmp_path, networks=3, points=None))
    run = curves[curves["run_id"] == curves["run_id"].iloc[0]]
    assert run["node_energy_j"].to_numpy() == pytest.approx(run["node_energy_j"].mean())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"energy": "node.totl"}, "no figure of set 'published' has that channel.*node.total"),
        ({"accuracy": "vall"}, "'vall', which is not among reported.metric"),
        ({"points": "so_farr"}, "'so_farr', which is not among reported.config"),
        ({"costs": {"macs": "params"}}, "macs in space 'nasbench101_4v', but params says"),
        ({"points": "matrix"}, "is no list of points"),
        ({"surrogate": {"opaque": "op_1"}}, "manifest.yaml: key 'surrogate.opaque'"),
        ({"set": "publishd"}, "benchmark.set is 'publishd'.*published"),
        ({"cell": None}, "either 'parameters' or 'cell'"),
        (
            {"space": "nasbench101_4w"},
            "manifest.yaml: benchmark.space: There is no search space.*nasbench101_4v",
        ),
        ({"space": "regnet_demo"}, "for spaces of cells"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(tmp_path: Path, change, words: str) -> None:
    with pytest.raises(WattproofError, match=words):
        built(write(tmp_path, networks=2, **change))


@pytest.mark.parametrize("named", [None, [], ["op_1"]])
def test_what_models_do_not_read_is_the_manifests_to_say(tmp_path: Path, named) -> None:
    path = write(tmp_path, networks=2, surrogate={} if named is None else {"opaque": named})
    prepared = audit.prepare(yaml.safe_load(path.read_text()), path, SCHEMA)
    usual = sorted(FOUR.architecture)
    assert prepared.config["surrogate"]["opaque"] == (usual if named is None else named)


def test_points_that_do_not_rise_are_refused() -> None:
    done, energy = results.points("1:4;0:1;36:9", "here")
    assert (done, energy) == ([0.0, 1.0, 36.0], [1.0, 4.0, 9.0])
    assert results.points("1:4;2:6", "here")[0] == [0.0, 1.0, 2.0]
    with pytest.raises(WattproofError, match="no list of points"):
        results.points("0=1", "here")


@pytest.fixture(scope="module")
def benchmark(published, tmp_path_factory):
    dataset, curves, prepared = published
    folder = tmp_path_factory.mktemp("benchmark")
    meta = tables.Meta("published", simulated=False, code_version="0")
    usual = models.FAMILIES
    models.FAMILIES = ("mean", "linear")
    try:
        fitted = surrogate.fit(dataset, curves, prepared.config["surrogate"], folder / "models")
    finally:
        models.FAMILIES = usual
    frames = {"dataset": dataset, "curves": curves} | {
        name: getattr(fitted, name) for name in ("scores", "coverage", "growth", "held_out")
    }
    for name, frame in frames.items():
        tables.write(frame, name, folder / f"{name}.parquet", meta)
    findings = tables.conform(
        [
            {
                "recording": "published",
                "flag": "constant_factor",
                "severity": "warning",
                "evidence": "each joule is counted twice.",
                "principle": "",
                "source": "",
                "channel": "",
                "file": "",
                "unit": "",
                "remedy": "",
            }
        ],
        "findings",
    )
    tables.write(findings, "findings", folder / "findings.parquet", meta)
    publish.publish(
        dataset_path=folder / "dataset.parquet",
        curves_path=folder / "curves.parquet",
        scores_path=folder / "scores.parquet",
        coverage_path=folder / "coverage.parquet",
        growth_path=folder / "growth.parquet",
        surrogate_dir=folder / "models",
        space_name="nasbench101_4v",
        campaign="published",
        simulated=False,
        licence=prepared.config["benchmark"]["licence"],
        notes=results.notes(folder / "findings.parquet"),
        out_dir=folder / "benchmark",
    )
    path = folder / "benchmark"
    return wattproof.load(path), dataset, fitted, path


def test_isomorphic_cells_are_answered_alike(benchmark) -> None:
    bench, *_ = benchmark
    twice = [points for points in FOUR.networks.values() if len(points) > 3][:6]
    assert len(twice) == 6
    for points in twice:
        answers = [bench.query({**point, "epochs": 12}) for point in points[:4]]
        assert len({(a.energy_j, a.accuracy, a.time_s, a.network_key) for a in answers}) == 1


def test_accuracy_before_the_end_is_unknown_and_energy_rises(benchmark) -> None:
    bench, *_ = benchmark
    config = {**FOUR.networks[next(iter(FOUR.networks))][0], "epochs": 12}
    early = bench.query(config, epoch=5)
    assert np.isnan(early.accuracy.value)
    assert "unknown before the end" in str(early)
    many = bench.query_many(pd.DataFrame([config, config]), epoch=5)
    assert many[["accuracy", "accuracy_low", "accuracy_high"]].isna().all(axis=None)
    assert many["energy_j"].tolist() == [early.energy_j.value] * 2
    assert early.energy_j.value > 0
    curve = bench.curve(config)
    assert (np.diff(curve["energy_j"]) > 0).all()
    assert curve["accuracy"].notna().tolist() == [False] * 11 + [True]
    assert np.isfinite(bench.query(config).accuracy.value)


def test_what_is_unknown_is_so_for_every_energy_and_null_in_json(
    benchmark,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench, _, _, folder = benchmark
    asked = {**FOUR.networks[next(iter(FOUR.networks))][0], "epochs": 12}
    assert len(bench.energies) > 1
    for energy in bench.energies:
        early = wattproof.load(folder, energy=energy).query(asked, epoch=5)
        assert np.isnan(early.accuracy.value), energy
    words = [f"{name}={value}" for name, value in asked.items()]
    monkeypatch.setattr(
        "sys.argv", ["wattproof", "query", str(folder), *words, "--epoch", "5", "--json"]
    )
    with contextlib.suppress(SystemExit):
        cli.main()
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["accuracy"]["value"] is None
    assert found["energy_j"]["value"] > 0


def test_card_says_whose_figures_they_are_and_what_was_found(benchmark) -> None:
    bench, *_ = benchmark
    assert bench.licence == "MIT"
    assert "reported by tracker" in bench.card
    assert "Nothing was measured by wattproof" in bench.card
    assert "Audit, constant_factor: each joule is counted twice." in bench.card
    assert "virtual node" not in bench.card
    assert not bench.simulated


def test_scores_within_a_training_length(benchmark) -> None:
    _, dataset, fitted, _ = benchmark
    found = score_budgets(dataset, fitted.held_out).set_index(["target", "epochs"])
    assert set(found.index.get_level_values("epochs")) == set(EPOCHS)
    energy = found.loc[("energy_j", 12)]
    assert (energy["networks"], energy["runs"]) == (40, 80)
    assert energy["kendall_tau"] > 0.8
    # By hand: errors to the means of repeats.
    held = fitted.held_out[fitted.held_out["target"] == "energy_j"]
    held = held.merge(dataset[["run_id", "epochs"]]).query("epochs == 12")
    mean = held.groupby("network_key")[["measured", "predicted"]].mean()
    error = (mean["predicted"] / mean["measured"] - 1).abs().mean()
    assert energy["mape"] == pytest.approx(error)
    spread = held.groupby("network_key")["measured"].agg(lambda v: v.std() / v.mean())
    assert energy["noise"] == pytest.approx(spread.median())
