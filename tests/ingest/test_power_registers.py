"""Two registers of one node: what their energies and single samples tell."""

from __future__ import annotations

import numpy as np
import pytest
from audit_manifest import load
from mlperf_synthetic import power_log, write_set

from wattproof import ingest
from wattproof.ingest import registers

S = 10**9


def test_ratios_are_taken_at_equal_stamps_inside_the_run():
    first = np.array([0, 1, 2, 3, 4]) * S, np.array([10.0, 10.0, 0.0, 10.0, 10.0])
    second = np.array([1, 2, 3, 5]) * S, np.array([9.0, 9.0, 8.0, 7.0])
    found = registers.sample_ratios(first, second, 1 * S, 4 * S)
    assert found.tolist() == [0.9, 0.8]


def test_scatter_of_samples_is_told_from_scatter_of_energies():
    rng = np.random.default_rng(0)
    energies = [(100.0, 97.0 + 0.1 * i) for i in range(5)]
    noisy = [0.97 + 0.06 * rng.standard_normal(200) for _ in range(5)]
    quiet = [0.97 + 0.001 * rng.standard_normal(200) for _ in range(5)]
    scattered, calm = registers.compare(energies, noisy), registers.compare(energies, quiet)
    assert scattered is not None
    assert scattered.scatters
    assert scattered.energy_ratio == pytest.approx(0.972)
    assert scattered.sample_spread == pytest.approx(0.06, rel=0.1)
    assert calm is not None
    assert not calm.scatters


def test_registers_whose_energies_differ_as_much_as_their_samples_do_not_count():
    rng = np.random.default_rng(1)
    energies = [(100.0, 90.0 + 4 * i) for i in range(5)]
    found = registers.compare(energies, [0.97 + 0.06 * rng.standard_normal(200)])
    assert found is not None
    assert not found.scatters


@pytest.mark.parametrize(
    ("energies", "ratios"),
    [([(1.0, 1.0)] * 2, [np.ones(100)]), ([(1.0, 1.0)] * 5, [np.ones(3)]), ([], [])],
)
def test_too_little_is_no_agreement(energies, ratios):
    assert registers.compare(energies, ratios) is None


@pytest.fixture
def small(tmp_path):
    """Three runs of 8 s at 1000 W in logs of 10 s: the rule gives 6.56 kJ, the run takes 8 kJ."""
    return write_set(
        tmp_path / "set",
        [(f"r{i}", 8.0 + 0.001 * i, 1000, "success") for i in range(3)],
        published="6.56082",
        channels=("ac", "dc"),
    )


def findings(tmp_path):
    data = load(tmp_path, [{"format": "mlperf_training", "path": "set"}])
    return {(r["flag"], r["channel"]): r for r in data.findings.to_pylist()}


def test_idle_time_in_a_published_figure_is_said_with_numbers(tmp_path, small):
    found = findings(tmp_path)
    assert ("published_reproduced", "node.ac") in found
    row = found["idle_in_published_figure", "node.ac"]
    # Mean of the log: (2·100 + 8·1000)/10 = 820 W, times 8 s; inside the run: 8 kJ less its edge.
    manifest = ingest.read_manifest(tmp_path / "manifest.yaml")
    data = ingest.load_set(manifest, "s")
    published = ingest.published_table(manifest, "s", data).to_pylist()
    ac = next(r for r in published if r["channel"] == "node.ac")
    assert ac["recomputed_j"] == pytest.approx(820 * 8.001)
    assert row["value"] == pytest.approx(100 * (ac["integrated_j"] / ac["recomputed_j"] - 1))
    assert "idle time" in row["evidence"]
    # DC has no published figure, which is said.
    assert found["published_not_checked", ""]["severity"] == "note"


def test_a_factor_that_no_file_explains(tmp_path, small):
    text = (small / "published.csv").read_text().replace("6.56082", "13.12164")
    (small / "published.csv").write_text(text)
    row = findings(tmp_path)["published_not_reproduced", "node.ac"]
    assert row["severity"] == "error"
    assert "a factor of 2.0000" in row["evidence"]


def test_samples_that_scatter_while_energies_agree(tmp_path, small):
    rng = np.random.default_rng(3)
    for run in ("r0", "r1", "r2"):
        clock = [(100 * i, 1000.0) for i in range(1, 101)]
        noise = 1 + 0.05 * np.resize([1, -1], 100) * rng.uniform(0.9, 1.1)
        other = [(t, float(900 * k)) for (t, _), k in zip(clock, noise, strict=True)]
        (small / "resnet" / "ac" / run / "node_0.txt").write_text(power_log(clock))
        (small / "resnet" / "dc" / run / "node_0.txt").write_text(power_log(other))
    row = findings(tmp_path)["samples_scatter", ""]
    assert "DC/AC energy is 0.900" in row["evidence"]
    assert row["value"] == pytest.approx(4.5, abs=0.5)


def test_a_set_without_published_figures(tmp_path, small):
    (small / "published.csv").unlink()
    assert not any(flag.startswith("published") for flag, _ in findings(tmp_path))
