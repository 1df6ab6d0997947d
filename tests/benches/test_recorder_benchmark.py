"""The parts of ``benchmarks/recorder`` that decide what its numbers mean."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "recorder"
S = 1_000_000_000


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK))


@pytest.fixture
def _forget() -> object:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARK)):
            del sys.modules[name]


pytestmark = pytest.mark.usefixtures("_forget")


def test_windows_lie_inside_their_load_and_chains_do_not_overlap() -> None:
    import scenario

    made = scenario.make(load_s=12.0, windows_each=6, seed=3)
    assert sum(step[0] for step in made.steps) <= made.duration_s
    assert len(made.windows) == 6 * 6 * 2
    edges = sorted(t for w in made.windows for t in (w.start_s, w.end_s))
    assert min(np.diff(edges)) >= scenario.EDGES_APART_S - 1e-9
    names = list(scenario.load_steps(12.0, 3))
    for window in made.windows:
        begin_s = scenario.LEAD_S + scenario.BETWEEN_S + names.index(window.load) * 13.0
        assert begin_s <= window.start_s < window.end_s <= begin_s + 12.0
        least_s, most_s = scenario.CLASSES[window.length]
        assert least_s <= window.end_s - window.start_s <= most_s
    by_id = {window.id: window for window in made.windows}
    for chain in made.chains:
        for a, b in itertools.pairwise(chain):
            assert by_id[a].end_s < by_id[b].start_s
    used = [i for chain in made.chains for i in chain]
    assert len(used) == len(set(used)) > len(made.windows) / 2


def test_errors_are_against_the_edges_that_a_tool_really_had() -> None:
    import figures
    import scenario

    made = scenario.make(load_s=6.0, windows_each=1, seed=1)
    script = made.script(1000 * S)
    window = made.windows[0]
    start, end = (1000 * S + round(t * S) for t in (window.start_s, window.end_s))
    truth_j = script.energy_j(start + 5_000_000, end)
    result = {"id": 0, "energy_j": truth_j * 1.01, "start_ns": start + 5_000_000, "end_ns": end}
    columns = ["channel", "id", "energy_j", "energy_u_j", "flags", "start_ns", "end_ns"]
    ours = pd.DataFrame(
        [["gpu0.energy", 0, None, None, ["no_samples"], start, end]], columns=columns
    )
    rows = figures.rows(made, script, {"codecarbon-2": {"windows": [result]}}, ours)
    assert rows["tool"].tolist() == ["codecarbon", "wattproof"]
    assert rows["error"][0] == pytest.approx(0.01)
    table = figures.summary(rows, ["tool"]).set_index("tool")
    assert table.loc["codecarbon", "median"] == pytest.approx(0.01)
    assert (table.loc["wattproof", "n"], table.loc["wattproof", "refused"]) == (0, 1)


def test_intervals_count_what_they_hold() -> None:
    import figures

    rows = pd.DataFrame(
        {
            "tool": "wattproof",
            "energy_j": [100.0, 100.0, 100.0, None],
            "energy_u_j": [1.0, 1.0, None, 1.0],
            "true_j": [101.6, 101.7, 100.0, 100.0],
        }
    )
    found = figures.intervals(rows)
    assert (found["n"], found["without_interval"], found["coverage"]) == (2, 2, 0.5)


def test_peers_rules() -> None:
    """jpwr's rectangles and nvidia-smi's mean, on samples written down by hand."""
    import peer_worker

    plan = {"windows": [], "chains": [], "duration_s": 1.0}
    rows = [(0, 100.0), (1 * S, 200.0), (2 * S, 300.0), (3 * S, 400.0)]
    jpwr = peer_worker.JpwrStyle(plan, None)
    jpwr.first = {S // 2: (S // 2, 150.0)}
    assert jpwr.energy_j(rows, S // 2, 5 * S // 2) == 0.5 * 200.0 + 300.0
    perun = peer_worker.PerunStyle(plan, None)
    assert perun.energy_j(rows, S // 2, 5 * S // 2) == pytest.approx(500.0)
    smi = peer_worker.SmiProcesses(plan, None)
    assert smi.energy_j(rows, S // 2, 5 * S // 2) == 500.0
    assert smi.energy_j(rows, 10 * S, 11 * S) is None


def test_sampling_counts_missed_and_drift() -> None:
    import sampling

    ticks = np.delete(np.arange(300) * 10_000_000, 150)
    late = np.where(ticks >= 2 * S, 3_000_000, 1_000_000)
    samples = pd.DataFrame(
        {
            "source": "nvml",
            "channel": "gpu0.power_instant",
            "scheduled_ns": pd.array(ticks, "Int64"),
            "start_ns": ticks + late,
            "end_ns": ticks + late + 1000,
            "device_ns": pd.array([None] * len(ticks), "Int64"),
            "status": "ok",
        }
    )
    about = {"source": "nvml", "cpu_s": 1.06, "cpu_start_s": 1.0, "duration_s": 3.0}
    (row,) = sampling.assess({"samples": samples, "health": pd.DataFrame([about])}, 0, 3 * S, 0)
    assert (row["taken"], row["expected"]) == (299, 300)
    assert row["drift_ms"] == pytest.approx(2.0)
    assert row["cpu_percent"] == pytest.approx(2.0)
    assert row["late_max_ms"] == pytest.approx(3.0)
