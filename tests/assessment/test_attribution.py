"""Runs that share a node: each energy against the truth, and together the energy of the node."""

import numpy as np
import pandas as pd
import pytest

from wattproof import (
    agreement,
    attribution,
    calibration,
    clocks,
    config,
    dataset,
    energy,
    offline,
    offsocket,
    plan,
    preflight,
    tables,
)
from wattproof.virtual import truth

CAMPAIGN = {
    "campaign": "shared",
    "node": {
        "kind": "virtual",
        "preset": "paper",
        "mode": "offline",
        # Boards that read true: what is left is the analysis' own error.
        "overrides": {"gpu": {"gain_spread": 0.0, "offset_spread_w": 0.0}},
    },
    "plan": {"runs": 7, "runs_per_recording": 7, "seed": 5, "setting": "packed"},
    "space": "ea_has_tinyimagenet",
    "training": {
        "dataset": "tiny_imagenet",
        "image_size": 64,
        "train_images": 20_000,
        "shorten": 25,
    },
    "calibration": {"idle_s": 5, "load_s": 8, "repeats": 2},
    "sources": {
        "nvml": {"period_s": 0.1, "ring": False},
        "rapl": {},
        "meter": {"driver": "lmg450", "range_v": 250, "range_a": 20},
    },
}


class Made:
    """A campaign of two recordings, analysed as the workflow does."""

    def __init__(self, folder):
        schema = config.load_schema(
            __file__.rsplit("/tests/", 1)[0] + "/config/schema/campaign.schema.json"
        )
        self.config = preflight.check(config.validate(CAMPAIGN, schema, "c"), "c")
        self.plan = plan.make_plan(self.config)
        parts = {name: [] for name in ("windows", "marks", "runs", "energy", "shares", "channels")}
        for name, rows in plan.by_recording(self.plan).items():
            sealed, _ = offline.record(name, rows, self.config, folder / name)
            found = clocks.align(sealed["samples"], sealed["channels"], sealed["marks"], {})
            windows = energy.cut_windows(sealed["marks"], sealed["runs"])
            pieces = attribution.parts(windows, sealed["marks"], sealed["runs"])
            cut = pd.concat([windows, pieces], ignore_index=True) if len(pieces) else windows
            table = energy.integrate(sealed["samples"], sealed["channels"], found, cut, {})
            shares = attribution.shares(windows, sealed["marks"], sealed["runs"], table)
            whole = table[table["level"] != attribution.PART].reset_index(drop=True)
            frames = {"windows": windows, "energy": whole, "shares": shares}
            frames |= {k: sealed[k].to_pandas() for k in ("marks", "runs", "channels")}
            for key, frame in frames.items():
                parts[key].append(frame)
        self.tables = {key: pd.concat(some, ignore_index=True) for key, some in parts.items()}
        self.truth = truth.load(folder / "packed-000" / "session-000")

    def window(self, run_id, level="run"):
        own = self.tables["windows"]
        return own[(own.run_id == run_id) & (own.level == level)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("shared"))


def true_share(made, start_ns, end_ns, slot):
    """The definition, summed up on a fine grid of the true power: no interval is cut."""
    runs = made.tables["windows"].query("level == 'run'")
    steps = (end_ns - start_ns) // 2_000_000
    edges = np.linspace(start_ns, end_ns, steps + 1)
    t, step_ns = ((edges[1:] + edges[:-1]) / 2).astype(np.int64), (end_ns - start_ns) / steps
    at_work = [(r.slot, (t >= r.start_ns) & (t < r.end_ns)) for r in runs.itertuples()]
    count = sum(on.astype(float) for _, on in at_work)
    busy = sum(np.where(on, made.truth.power_w(f"gpu{s}", t), 0.0) for s, on in at_work)
    own = made.truth.power_w(f"gpu{slot}", t)
    return float(np.sum(own + (made.truth.power_w("node.ac", t) - busy) / count) * step_ns / 1e9)


def test_each_run_is_charged_with_its_gpu_and_an_equal_share_of_the_rest(made):
    shares = made.tables["shares"].query("level == 'run'").set_index("run_id")
    assert len(shares) == 7
    sizes = []
    for run_id, row in shares.iterrows():
        window = made.window(run_id).iloc[0]
        true_j = true_share(made, window.start_ns, window.end_ns, window.slot)
        assert row.energy_j == pytest.approx(true_j, rel=0.01)
        assert abs(row.energy_j - true_j) < 4 * row.energy_u_j
        node = made.truth.energy_j("node.ac", window.start_ns, window.end_ns)
        sizes.append(true_j / node)
    assert max(sizes) < 0.6, "the whole node is not charged to each of four runs"


def test_epochs_add_up_and_epochs_that_another_run_ends_in_are_cut(made):
    shares = made.tables["shares"]
    epochs = shares.query("level == 'epoch'")
    windows = made.tables["windows"].set_index(["run_id", "epoch"])
    edges = made.tables["windows"].query("level == 'run'")[["start_ns", "end_ns"]].to_numpy()
    cut = 0
    for row in epochs.itertuples():
        window = windows.query("level == 'epoch'").loc[(row.run_id, row.epoch)]
        cut += int(((edges > window.start_ns) & (edges < window.end_ns)).any())
        true_j = true_share(made, window.start_ns, window.end_ns, window.slot)
        assert row.energy_j == pytest.approx(true_j, rel=0.03)
    assert cut > 3


def test_runs_and_nobody_add_up_to_the_node(made):
    shares = made.tables["shares"]
    whole = shares.query("kind == 'whole'").iloc[0]
    nobody = shares.query("kind == 'unattributed'").iloc[0]
    runs = shares.query("level == 'run'")
    assert runs.energy_j.sum() + nobody.energy_j == pytest.approx(whole.energy_j, rel=1e-4)
    windows = made.tables["windows"].query("recording == 'packed-000'")
    begin, end = windows.start_ns.min(), windows.end_ns.max()
    assert whole.energy_j == pytest.approx(made.truth.energy_j("node.ac", begin, end), rel=0.002)
    assert nobody.energy_j > 0


def test_the_reference_of_a_packed_run_is_its_own_gpu(made):
    table = made.tables["energy"]
    fitted = offsocket.fit(table)
    reference = agreement.reference_gpu(table, fitted).set_index("window_id")["energy_j"]
    errors = []
    for window in made.tables["windows"].query("level == 'run'").itertuples():
        true_j = made.truth.energy_j(f"gpu{window.slot}", window.start_ns, window.end_ns)
        errors.append(reference[window.window_id] / true_j - 1)
    # It carries the meter's and the off-socket model's errors of the whole node.
    assert np.abs(errors).max() < 0.10


def test_the_data_set_charges_runs_with_their_shares(made):
    own = made.tables
    estimates = calibration.calibrate(
        own["energy"], own["channels"], offsocket.fit(own["energy"]), {"alpha": 0.05}
    ).estimates
    rows = tables.conform([row.as_row() for row in made.plan], "plan").to_pandas()
    args = [rows, *(own[name] for name in ("runs", "windows", "marks", "energy"))]
    runs, curves = dataset.build(*args, estimates, {}, own["shares"])
    shares = own["shares"].query("level == 'run'").set_index("run_id")
    assert len(runs) == 7
    for row in runs.itertuples():
        assert row.node_energy_by == "meter"
        assert row.node_energy_j == pytest.approx(shares.loc[row.run_id, "energy_j"])
        assert row.node_energy_low_j < row.node_energy_j < row.node_energy_high_j
        assert "shared" in row.flags
        # An estimator's figure is of the node: it is shared by the same rule.
        assert row.energy_j_regression == pytest.approx(row.node_energy_j, rel=0.1)
    whole = own["energy"].query("channel == 'node.ac' and level == 'epoch'")
    whole = whole.set_index(["run_id", "epoch"])["energy_j"]
    charged = curves.set_index(["run_id", "epoch"])["node_energy_j"]
    part = charged / whole.loc[charged.index]
    assert part.between(0.2, 1.001).all()
    assert part.median() < 0.6
    # Without a meter the best estimator stands in, and it is shared, too.
    no_meter = own["energy"][own["energy"]["source"] != "meter"]
    args[4] = no_meter
    runs_without, _ = dataset.build(*args, estimates, {}, own["shares"])
    assert set(runs_without.node_energy_by) <= set(dataset.NODE_ESTIMATORS)
    ratio = runs_without.node_energy_j.to_numpy() / runs.node_energy_j.to_numpy()
    assert np.abs(ratio - 1).max() < 0.1


def test_a_run_that_failed_was_at_work_until_its_last_mark(made):
    """Else the others would be charged with what it drew."""
    own = {key: frame.query("recording == 'packed-000'") for key, frame in made.tables.items()}
    runs = own["runs"].copy()
    victim = runs.query("setting == 'packed'").run_id.iloc[2]
    runs.loc[runs.run_id == victim, "status"] = "failed"
    marks = own["marks"]
    marks = marks[~((marks.run_id == victim) & (marks.kind == "run_end"))]
    windows = energy.cut_windows(marks, runs)
    assert victim not in set(windows.run_id)
    pieces = attribution.parts(windows, marks, runs)
    before = attribution.parts(own["windows"], own["marks"], own["runs"])
    # Its last mark is that of its last phase, at the same instant.
    spans = [set(zip(p.start_ns, p.end_ns, strict=True)) for p in (pieces, before)]
    assert spans[0] <= spans[1]
    assert (pieces.window_id.str.contains("/part:")).sum() == (
        before.window_id.str.contains("/part:")
    ).sum()


def test_nothing_is_shared_where_runs_are_alone(made):
    own = made.tables
    alone = own["runs"].assign(setting="single")
    windows = own["windows"].assign(setting="single")
    assert attribution.parts(windows, own["marks"], alone).empty
    assert attribution.shares(windows, own["marks"], alone, own["energy"]).empty


def test_a_run_on_all_gpus_owns_them_all():
    """Issue 5, "must show" 5: gpu0 alone had been taken for a run without a slot."""
    window = {
        "recording": "r",
        "session": 0,
        "window_id": "a/run",
        "run_id": "a",
        "level": "run",
        "kind": "run",
        "epoch": None,
        "setting": "ddp",
        "slot": None,
    }
    timed = pd.DataFrame([{**window, "start_ns": 0, "end_ns": 10**10}])
    seen = [
        {
            **window,
            "source": "nvml",
            "channel": f"gpu{k}.{what}",
            "energy_j": value,
            "energy_u_j": 1.0,
            "flags": [],
        }
        for k, what, value in (
            (0, "energy", 10.0),
            (1, "energy", 20.0),
            (2, "power_instant", 30.0),
            (3, "energy", 40.0),
        )
    ]
    runs = pd.DataFrame([{"run_id": "a", "setting": "ddp", "session": 0}])
    lookup = dataset.Lookup(
        {"a": 0},
        timed,
        tables.empty("marks"),
        pd.DataFrame(seen),
        tables.empty("estimates"),
        None,
    )
    assert len(runs) == 1
    assert lookup.gpus(("a", None), None) == (100.0, [])
    assert lookup.gpus(("a", None), 1) == (20.0, [])
    lost = pd.DataFrame(
        [{**row, "energy_j": None} if row["energy_j"] == 40.0 else row for row in seen]
    )
    lookup = dataset.Lookup(
        {"a": 0}, timed, tables.empty("marks"), lost, tables.empty("estimates"), None
    )
    assert lookup.gpus(("a", None), None)[0] is None, "unknown is not 0"
