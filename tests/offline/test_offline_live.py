"""A live recording and an offline one of the same plan: same channels, same model behind them."""

import json
from pathlib import Path

import numpy as np
import pytest

from wattproof import config, offline, plan, preflight, session
from wattproof.offline.rapl import RAPL_CHANNELS
from wattproof.units import s_to_ns
from wattproof.virtual import truth
from wattproof.virtual.meter import MeterModel
from wattproof.virtual.metered import printed
from wattproof.virtual.node import SCTC_HZ
from wattproof.virtual.sensors import GpuSensor, rapl_uj

ROOT = Path(__file__).resolve().parents[2]

CAMPAIGN = {
    "campaign": "both",
    "node": {"kind": "virtual", "preset": "laptop"},
    "plan": {"runs": 1, "seed": 5},
    "calibration": {"idle_s": 1, "load_s": 2, "repeats": 1, "loads": ["gpu"], "sync": False},
    "sources": {
        "nvml": {},
        "smi": {},
        "rapl": {},
        "host": {},
        "meter": {"driver": "lmg450", "range_v": 250, "range_a": 2},
    },
}
RECORDING = "calibration-000"
PLACES = ("path", "port", "command")
"""Where something stands differs, and nothing else."""


def complete(mode):
    schema = config.load_schema(ROOT / "config" / "schema" / "campaign.schema.json")
    raw = {**CAMPAIGN, "node": {**CAMPAIGN["node"], "mode": mode}}
    return preflight.check(config.validate(raw, schema, "test"), "test")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Tables of the live and of the offline recording, and the live one's truth."""
    folder = tmp_path_factory.mktemp("both")
    found = {}
    for mode in ("live", "offline"):
        campaign = complete(mode)
        rows = plan.by_recording(plan.make_plan(campaign))[RECORDING]
        if mode == "live":
            paths = session.Paths(folder / "raw" / RECORDING, folder / "truth" / RECORDING)
            session.record(RECORDING, rows, campaign, paths, lambda _line: None)
            found[mode], _ = session.seal(RECORDING, rows, paths)
        else:
            place = folder / "offline" / RECORDING
            found[mode], _ = offline.record(RECORDING, rows, campaign, place)
    frames = {mode: {n: t.to_pandas() for n, t in own.items()} for mode, own in found.items()}
    return frames, truth.load(folder / "truth" / RECORDING / "session-000")


def test_channels_and_what_they_say_of_themselves(both):
    frames, _ = both
    tables = {mode: frames[mode]["channels"] for mode in frames}
    # The host of a live recording is this machine; offline it is simulated, and says so.
    node = {m: t[t.source != "host"].set_index(["source", "channel"]) for m, t in tables.items()}
    columns = [c for c in node["live"].columns if c != "identity"]
    live, made = (node[m][columns].sort_index() for m in ("live", "offline"))
    assert live.equals(made)
    for key, text in node["live"].identity.items():
        one, other = json.loads(text), json.loads(node["offline"].identity[key])
        assert one.keys() == other.keys(), key
        assert {k: v for k, v in one.items() if k not in PLACES} == {
            k: v for k, v in other.items() if k not in PLACES
        }, key
    hosts = {m: t[t.source == "host"] for m, t in tables.items()}
    assert set(hosts["offline"].channel) <= set(hosts["live"].channel)
    assert hosts["offline"].simulated.all()
    assert not hosts["live"].simulated.any()


def test_lanes_marks_and_runs_are_of_one_form(both):
    frames, _ = both
    live, made = frames["live"], frames["offline"]
    assert sorted(live["health"].source) == sorted(made["health"].source)
    for name in ("kind", "name", "slot"):
        assert live["marks"][name].tolist() == made["marks"][name].tolist()
    # The mode is in a run's digest: what was never trained is another run.
    assert not set(live["runs"].run_id) & set(made["runs"].run_id)
    columns = ["setting", "slot", "status", "reason", "epochs"]
    assert live["runs"][columns].equals(made["runs"][columns])
    for name in live:
        assert live[name].dtypes.equals(made[name].dtypes), name
    nulls = {
        mode: frames[mode]["samples"].groupby(["source", "channel"])[["scheduled_ns", "device_ns"]]
        .agg(lambda column: column.notna().any())
        for mode in frames
    }  # fmt: skip
    shared = nulls["offline"].index.intersection(nulls["live"].index)
    assert len(shared) == len(nulls["offline"])
    assert nulls["live"].loc[shared].equals(nulls["offline"].loc[shared])


def test_live_samples_are_what_the_offline_model_says(both):
    """Each live value is the model's at the instant of the read, from the live activity log."""
    frames, known = both
    samples, spec, trace = frames["live"]["samples"], known.spec, known.trace
    samples = samples[samples.status == "ok"]

    def rows(source, channel):
        return samples[(samples.source == source) & (samples.channel == channel)]

    sensor = GpuSensor(spec, 0)
    for channel, of in (
        ("power_instant", lambda t: sensor.instant_mw(trace, t) / 1e3),
        ("power_average", lambda t: sensor.average_mw(trace, t) / 1e3),
        ("energy", lambda t: sensor.counter_mj(trace, t) / 1e3),
        ("utilisation", lambda t: sensor.utilisation_percent(trace, t)),
        ("clock_sm", lambda t: sensor.clock_sm_mhz(trace, t) * 1e6),
        ("temperature", lambda t: sensor.temperature_c(trace, t)),
    ):
        own = rows("nvml", f"gpu0.{channel}")
        early, late = of(own.start_ns.to_numpy()), of(own.end_ns.to_numpy())
        # The value is of some instant within the read; the sensor may update in the middle.
        assert ((own.value == early) | (own.value == late)).all(), channel
        assert own.value.nunique() > 1, channel

    model = MeterModel(spec)
    own = rows("meter", "node.ac")
    counts = np.rint(own.device_ns.to_numpy() / 1e9 * SCTC_HZ).astype(np.int64)
    expected = printed(model.shown_w(trace, counts, model.cycle_counts(0.1), 500.0))
    np.testing.assert_allclose(own.value, expected, rtol=1e-4)
    assert (np.abs(own.value / expected - 1) < 1e-9).mean() > 0.9  # but for rounded counts

    period_ns = s_to_ns(spec.parameters.rapl.update_period_s)
    for domain, channel in enumerate(RAPL_CHANNELS):
        own = rows("rapl", channel)
        # Written at most a period (and a busy machine's delay) before it was read.
        newest = rapl_uj(spec, trace, domain, own.end_ns.to_numpy()) / 1e6
        oldest = rapl_uj(spec, trace, domain, own.start_ns.to_numpy() - 50 * period_ns) / 1e6
        assert ((own.value <= newest) & (own.value >= oldest)).all()
