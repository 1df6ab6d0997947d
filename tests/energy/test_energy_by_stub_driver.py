"""Energy of windows through real processes: recorder, nvidia-ml-py, stub driver of known power.

The bars of issue 3, "must show" 2, once more, on what a recording of this machine brings. The
same, beside other tools and with all cores busy: ``benchmarks/recorder``.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from driver_simulation import KEY, NS, random_windows
from stub_nvml import PowerScript, StubDriver, StubGpu, compiler, loads

from wattproof import clocks, energy
from wattproof.clocks.frames import as_frame
from wattproof.recorder import Recorder, seal_session

REAL = {"kind": "real", "dir": None}
LENGTH_S = 60.0
SHORT, LONG = (1.0, 5.0), (5.0, 20.0)

STEPS = {
    "steady": loads.steady(LENGTH_S, 400.0),
    "square_1hz": loads.square(LENGTH_S, 1.0),
    "square_5hz": loads.square(LENGTH_S, 0.2),
    "burst": loads.burst(LENGTH_S, seed=1),
    "staircase": loads.staircase(LENGTH_S),
    "training": loads.training_like(LENGTH_S, seed=2),
}
FULL = list(STEPS)
PART_TIME = ["burst", "staircase", "training"]

NO_MARKS = pd.DataFrame({"recording": [], "session": [], "kind": [], "name": [], "mono_ns": []})


def boards(rng: np.random.Generator) -> list[StubGpu]:
    """One for each load, and then some whose sensor sees 25 of each 100 ms."""
    names = [(kind, 0.1) for kind in FULL] + [(kind, 0.025) for kind in PART_TIME]
    return [
        StubGpu(
            uuid=f"GPU-{i:08d}-0000-0000-0000-000000000000",
            window_s=window_s,
            phase_s=float(rng.uniform(0, 0.1)),
            counter_phase_s=float(rng.uniform(0, 0.1)),
            ring_phase_s=float(rng.uniform(0, 0.02)),
        )
        for i, (_, window_s) in enumerate(names)
    ]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Rows of ``gpuN.energy``, with the truth; gains are known, as after a calibration."""
    if compiler() is None:
        pytest.skip("no gcc here")
    rng = np.random.default_rng(9)
    folder = tmp_path_factory.mktemp("stub")
    driver = StubDriver.build(folder / "driver", boards(rng))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LD_LIBRARY_PATH", "PATH", "WATTPROOF_STUB"):
            patch.setenv(name, driver.env[name])
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        with Recorder(folder / "session", {"nvml": {}}, REAL) as running:
            time.sleep(1.5)
            start_ns = time.monotonic_ns()
            scripts = [PowerScript(start_ns, STEPS[kind], then=75.0) for kind in FULL + PART_TIME]
            for gpu, script in enumerate(scripts):
                driver.play(gpu, script)
            time.sleep(LENGTH_S + 1.5)
            running.check()
    sealed = seal_session(folder / "session", "r", 0)
    samples, as_stated = as_frame(sealed["samples"]), as_frame(sealed["channels"])
    channels = as_stated.assign(accuracy_reading=np.nan)
    drawn = [random_windows(LENGTH_S, low, high, 60, rng) for low, high in (SHORT, LONG)]
    start, end = (
        start_ns + np.rint(np.concatenate(each) * NS).astype(np.int64)
        for each in zip(*drawn, strict=True)
    )
    about = {
        **KEY, "window_id": [f"w{i}" for i in range(len(start))], "run_id": "run", "level": "epoch",
        "kind": "epoch", "epoch": 0, "setting": "single", "slot": 0, "start_ns": start,
        "end_ns": end,
    }  # fmt: skip
    clock_rows = clocks.align(samples, channels, NO_MARKS, {})
    table = energy.integrate(samples, channels, clock_rows, pd.DataFrame(about), {})
    stated = energy.integrate(samples, as_stated, clock_rows, pd.DataFrame(about), {})
    table["stated_u_j"] = stated["energy_u_j"].to_numpy()
    table = table[table["channel"].str.endswith(".energy")].copy()
    table["gpu"] = table["channel"].str.extract(r"gpu(\d+)\.", expand=False).astype(int)
    edges = dict(zip(about["window_id"], zip(start, end, strict=True), strict=True))  # type: ignore[arg-type]
    table["true_j"] = [
        scripts[row.gpu].energy_j(*map(int, edges[row.window_id])) for row in table.itertuples()
    ]
    table["error"] = (table["energy_j"] / table["true_j"] - 1).abs()
    off = (table["energy_j"] - table["true_j"]).abs()
    table["covered"] = off <= 1.645 * table["energy_u_j"] + 1e-3
    table["stated_covers"] = off <= 1.645 * table["stated_u_j"] + 1e-3
    return table


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_windows_of_a_real_recording_are_within_the_bars(found: pd.DataFrame) -> None:
    rows = found[found["gpu"] < len(FULL)]
    assert len(rows) == 120 * len(FULL)
    for (low, high), bars in ((SHORT, (0.005, 0.02)), (LONG, (0.001, 0.005))):
        part = rows[(rows["duration_s"] >= low) & (rows["duration_s"] < high)]
        median, tail = np.quantile(part["error"], (0.5, 0.95))
        assert (median <= bars[0], tail <= bars[1]) == (True, True), (low, median, tail)
    assert not any("counter_ring_mismatch" in flags for flags in rows["flags"])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_intervals_of_part_time_sensors_cover_the_truth(found: pd.DataFrame) -> None:
    rows = found[found["gpu"] >= len(FULL)]
    assert len(rows) == 120 * len(PART_TIME)
    # What a user is told: the boards' own accuracy is part of it.
    assert rows["stated_covers"].mean() >= 0.95
    # With the gain known. These 360 windows overlap on three boards of one minute, so their share
    # says little (0.78 to 0.90 in runs of this test); over many draws: test_fused_energy.py.
    assert rows["covered"].mean() >= 0.65
    assert float((1.645 * rows["energy_u_j"] / rows["true_j"]).mean()) <= 0.15
