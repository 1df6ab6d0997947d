"""Statistics against oracles from elsewhere, and the GPU comparison on a node in closed form."""

import numpy as np
import pytest
from assessment_node import load, node_powers, table, window
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from wattproof import agreement, offsocket, tables

SETTINGS = {"min_samples": 10, "alpha": 0.05, "off_socket": "load"}


def compared(values, reference, runs=None, alpha=0.05):
    runs = range(len(values)) if runs is None else runs
    return agreement.compare(values, reference, list(runs), alpha=alpha, rng=agreement.seeded(0))


@pytest.mark.parametrize(
    ("shift", "d", "p", "reject"), [(9, 0.45, 0.034, True), (8, 0.40, 0.081, False)]
)
def test_ks_critical_values_of_the_paper(shift, d, p, reject):
    """paper.md section 12: 20 against 20 rejects from D = 0.45 (p = 0.034; 0.40 gives 0.081)."""
    reference = np.arange(1.0, 21.0)
    found = compared(reference + shift, reference)
    assert found.n == 20
    assert found.ks_d == pytest.approx(d)
    assert found.ks_p == pytest.approx(p, abs=5e-4)
    assert found.ks_reject is reject


def test_constant_bias_is_seen_by_the_error_and_not_by_the_correlation():
    reference = np.linspace(1300.0, 1450.0, 20)
    found = compared(reference * (1 - 0.103), reference)
    assert found.pearson == pytest.approx(1.0)
    assert found.spearman == pytest.approx(1.0)
    for name in ("error_median", "error_q1", "error_q3", "error_max"):
        assert getattr(found, name) == pytest.approx(0.103)  # positive: underestimate
    over = compared(reference * 1.036, reference)
    assert over.error_median == pytest.approx(-0.036)
    assert over.error_max == pytest.approx(0.036)


def test_error_quartiles_by_hand():
    found = compared([90.0, 80.0, 100.0, 120.0, 70.0], [100.0] * 5)
    # errors 0.1, 0.2, 0, -0.2, 0.3: sorted -0.2, 0, 0.1, 0.2, 0.3
    assert (found.error_q1, found.error_median, found.error_q3) == pytest.approx((0.0, 0.1, 0.2))
    assert found.error_max == pytest.approx(0.3)
    assert found.pearson is None
    assert "constant reference" in found.refused


@pytest.mark.parametrize(
    ("values", "reference", "words", "nulls"),
    [
        ([1.0, 2.0], [1.0, 2.0], "n = 2, 3 are needed", ["pearson", "ks_d", "error_q1"]),
        ([1.0] * 6, [1, 2, 3, 4, 5, 6.0], "constant values", ["pearson", "spearman"]),
        ([1, 2, 3.0], [1, 2, 4.0], "cannot reject", ["ks_d", "ks_p", "ks_reject"]),
        ([1, 2, 3.0], [np.nan] * 3, "no reference", ["error_median", "pearson"]),
        ([np.nan] * 3, [1, 2, 3.0], "no window has both", ["error_median", "pearson"]),
        ([1, 2, 3, 4, 5.0], [-1, 2, 3, 4, 5.0], "1 reference(s) not above zero", []),
    ],
)
def test_what_the_data_cannot_carry_is_refused_in_words(values, reference, words, nulls):
    found = compared(values, reference)
    assert words in found.refused
    for name in nulls:
        assert getattr(found, name) is None


def test_interval_resamples_runs_not_epochs():
    """With identical epochs inside a run, more epochs a run must not narrow the interval."""
    rng = np.random.default_rng(4)
    x = rng.normal(300, 40, 12)
    y = x + rng.normal(0, 30, 12)
    once = compared(x, y, range(12))
    many = compared(np.repeat(x, 30), np.repeat(y, 30), np.repeat(np.arange(12), 30))
    assert (many.n, many.runs) == (360, 12)
    assert many.pearson_low == pytest.approx(once.pearson_low)
    assert many.pearson_high == pytest.approx(once.pearson_high)
    naive = compared(np.repeat(x, 30), np.repeat(y, 30), range(360))
    assert naive.pearson_high - naive.pearson_low < 0.5 * (many.pearson_high - many.pearson_low)
    few = compared(np.repeat(x[:4], 9), np.repeat(y[:4], 9), np.repeat(np.arange(4), 9))
    assert few.pearson_low is None
    assert "4 run(s), 5 are needed" in few.refused


def test_bootstrap_interval_covers_the_true_correlation():
    rng = np.random.default_rng(11)
    rho, inside = 0.8, 0
    for _ in range(200):
        x = rng.normal(size=60)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=60)
        found = compared(x + 10, y + 10)
        inside += found.pearson_low <= rho <= found.pearson_high
    # 95 % nominal; the percentile bootstrap is known to lie a little below at n = 60.
    assert 176 <= inside <= 199


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.integers(5, 60), st.integers(0, 2**32 - 1), st.floats(0.1, 100.0))
def test_compare_agrees_with_scipy_and_scales(n, seed, scale):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(50, 400, n), rng.uniform(50, 400, n)
    found, scaled = compared(x, y), compared(scale * x, scale * y)
    assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.pearson_low <= found.pearson_high
    assert scaled.error_max == pytest.approx(found.error_max)
    assert scaled.pearson_low == pytest.approx(found.pearson_low, abs=1e-6)
    assert found == compared(x, y)  # seeded: the same numbers again


def test_bland_altman_line_and_distance_by_hand():
    """Reference = 101.2 + 1.082·value, the line of an L40 against its meter, without scatter."""
    value = np.linspace(60.0, 320.0, 30)
    found = compared(value, 101.2 + 1.082 * value)
    assert (found.slope, found.intercept) == pytest.approx((1.082, 101.2))
    assert found.rmse == pytest.approx(0.0, abs=1e-9)
    difference = 101.2 + 0.082 * value
    assert found.bias == pytest.approx(difference.mean())
    reach = 1.96 * difference.std(ddof=1)
    assert found.loa_low == pytest.approx(found.bias - reach)
    assert found.loa_high == pytest.approx(found.bias + reach)
    # All values move the same way, so the distance of the distributions is the mean difference.
    assert found.wasserstein == pytest.approx(found.bias)
    assert found.bias_low < found.bias < found.bias_high


def test_intervals_of_bias_and_rank_correlation_cover():
    rng = np.random.default_rng(21)
    inside_bias = inside_rank = 0
    rank = 6 / np.pi * np.arcsin(0.8 / 2)  # Spearman's ρ of a normal pair with r = 0.8
    for _ in range(200):
        x = rng.normal(size=60)
        y = 0.8 * x + 0.6 * rng.normal(size=60) + 0.5
        found = compared(x + 10, y + 10)
        inside_bias += found.bias_low <= 0.5 <= found.bias_high
        inside_rank += found.spearman_low <= rank <= found.spearman_high
    assert 178 <= inside_bias <= 199
    assert 174 <= inside_rank <= 199


def test_a_verdict_is_shown_at_twenty_as_well():
    """paper.md section 12: a steady 10 % bias passes with 20 runs and fails with 500."""
    reference = np.random.default_rng(5).uniform(900.0, 1900.0, 500)
    found = compared(0.9 * reference, reference)
    assert found.ks_reject
    assert found.ks20_reject < 0.2
    assert found.ks20_d == pytest.approx(found.ks_d, abs=0.12)
    far = compared(0.3 * reference, reference)
    assert (far.ks20_d, far.ks20_reject) == (1.0, 1.0)
    few = compared(reference[:19], 0.9 * reference[:19])
    assert few.ks20_d is None


def busy(socket_w: float, gpu_w: float) -> float:
    return 50.0 + 0.10 * socket_w + 0.05 * gpu_w


LOADS = {
    "idle": (70, 10, 75),
    "prime": (160, 20, 75),
    "stress": (260, 60, 75),
    "gpu": (90, 15, 600),
}
CALIBRATION = [
    load(kind, i, node_powers(p, d, [g], busy)) for kind, (p, d, g) in LOADS.items() for i in (0, 1)
]
RUNS, EPOCHS = 8, 4


def epoch_power(run: int, epoch: int) -> float:
    return 150.0 + 15.0 * run + 5.0 * epoch


def smi_power(run: int, epoch: int) -> tuple[float, int]:
    """SMI stalls in every second epoch and returns the idle power that it last saw."""
    return (75.0, 4) if epoch % 2 else (epoch_power(run, epoch), 20)


def campaign(runs: int = RUNS, gpus: int = 1) -> list:
    rows = list(CALIBRATION)
    for run in range(runs):
        common = {"run_id": f"run-{run}", "recording": f"rec-{run // 3}"}
        run_smi = run_true = 0.0
        for epoch in range(EPOCHS):
            true = epoch_power(run, epoch)
            smi, taken = smi_power(run, epoch)
            powers = node_powers(100, 20, [true], busy) | {
                "gpu0.power": smi,
                "gpu0.power_average": true - 2.0,
            }
            rows.append(
                window(
                    f"r{run}e{epoch}", powers, epoch=epoch, samples={"gpu0.power": taken}, **common
                )
            )
            run_smi, run_true = run_smi + smi / EPOCHS, run_true + true / EPOCHS
        powers = node_powers(100, 20, [run_true], busy) | {
            "gpu0.power": run_smi,
            "gpu0.power_average": run_true - 2.0,
        }
        rows.append(
            window(
                f"r{run}", powers, level="run", duration_s=10.0 * EPOCHS,
                samples={"gpu0.power": 48}, **common,
            )
        )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def energy():
    return table(*campaign())


@pytest.fixture(scope="module")
def assessed(energy):
    frame = agreement.assess(energy, offsocket.fit(energy), SETTINGS)
    return frame.set_index(["level", "quantity", "label"])


def test_reference_is_the_true_gpu_energy(energy):
    found = agreement.reference_gpu(energy, offsocket.fit(energy)).set_index("window_id")
    assert list(found.columns) == ["energy_j", "mean_w"]
    assert found.loc["r3e2", "mean_w"] == pytest.approx(epoch_power(3, 2))
    assert found.loc["r3e2", "energy_j"] == pytest.approx(10.0 * epoch_power(3, 2))
    idle = agreement.reference_gpu(energy, offsocket.fit(energy), "idle").set_index("window_id")
    growth = 0.10 * (120 - 80) + 0.05 * (epoch_power(3, 2) - 75)
    assert idle.loc["r3e2", "mean_w"] == pytest.approx(epoch_power(3, 2) + growth)


def test_reference_does_not_move_with_the_reading_under_test(energy):
    off = offsocket.fit(energy)
    broken = energy.copy()
    mine = (broken["window_id"] == "r3e2") & broken["channel"].str.startswith("gpu0.")
    broken.loc[mine, "energy_j"] *= 0.5
    before = agreement.reference_gpu(energy, off).set_index("window_id")
    after = agreement.reference_gpu(broken, off).set_index("window_id")
    assert after.loc["r3e2", "energy_j"] == pytest.approx(before.loc["r3e2", "energy_j"])


def test_rows_pass_the_schema(assessed):
    rows = tables.conform(assessed.reset_index(), "agreement")
    labels = set(rows["label"].to_pylist())
    assert labels == set(agreement.LABELS)
    assert rows.num_rows == 2 * 2 * 5


def test_nvml_agrees_and_smi_does_not(assessed):
    nvml = assessed.loc[("epoch", "energy", "NVML")]
    assert (nvml["n"], nvml["runs"]) == (RUNS * EPOCHS, RUNS)
    assert nvml["pearson"] == pytest.approx(1.0)
    assert nvml["error_max"] == pytest.approx(0.0, abs=1e-9)
    assert nvml["ks_d"] == pytest.approx(0.0)
    smi = assessed.loc[("epoch", "power", "SMI")]
    # Half the epochs read 75 W, where no true power lies: the eCDFs differ by one half.
    assert smi["ks_d"] == pytest.approx(0.5)
    assert smi["ks_reject"] is True or smi["ks_reject"] == np.True_
    assert smi["few_samples"] == pytest.approx(0.5)
    assert smi["sample_ratio"] == pytest.approx((0.20 + 0.04) / 2)
    worst = epoch_power(RUNS - 1, 3)
    assert smi["error_max"] == pytest.approx((worst - 75.0) / worst)
    average = assessed.loc[("epoch", "power", "NVML average (integral)")]
    assert average["error_max"] == pytest.approx(2.0 / epoch_power(0, 0))


def test_corrected_smi_keeps_epochs_with_enough_samples(assessed):
    epochs = assessed.loc[("epoch", "energy", "SMI (corrected)")]
    assert epochs["n"] == RUNS * EPOCHS // 2
    assert epochs["error_max"] == pytest.approx(0.0, abs=1e-9)
    assert epochs["few_samples"] == 0.0
    run = assessed.loc[("run", "energy", "SMI (corrected)")]
    assert run["n"] == RUNS
    # Kept are epochs 0 and 2 (mean 150 + 15·run + 5), the run's mean is 2.5 W higher.
    first = epoch_power(0, 0) + 7.5
    assert run["error_max"] == pytest.approx(2.5 / first)
    assert run["error_median"] > 0


def test_other_gpus_are_taken_off_and_ddp_uses_all():
    def two(g0, g1):
        return node_powers(100, 20, [g0, g1], busy) | {"gpu0.power": g0, "gpu1.power": g1}

    rows = [load(k, i, node_powers(p, d, [g, g], busy))
            for k, (p, d, g) in LOADS.items() for i in (0, 1)]  # fmt: skip
    for i in range(6):
        powers = two(200.0 + i, 300.0 + 2 * i)
        common = {"run_id": f"p{i}", "duration_s": 10.0}
        rows.append(window(f"a{i}", powers, setting="packed", slot=0, **common))
        rows.append(window(f"b{i}", powers, setting="packed", slot=1, **common))
        rows.append(window(f"d{i}", powers, setting="ddp", slot=None, **common))
    frame = table(*rows)
    off = offsocket.fit(frame)
    found = agreement.reference_gpu(frame, off).set_index("window_id")["mean_w"]
    assert (found["a3"], found["b3"], found["d3"]) == pytest.approx((203.0, 306.0, 509.0))
    rows_by = agreement.assess(frame, off, SETTINGS).set_index(["setting", "quantity", "label"])
    for setting, n in (("packed", 12), ("ddp", 6)):
        for label in ("SMI", "NVML"):
            row = rows_by.loc[(setting, "power", label)]
            assert row["n"] == n
            assert row["error_max"] == pytest.approx(0.0, abs=1e-9)
    # A run on two GPUs of which one was not read has no energy, not half of it.
    lost = frame[~((frame["window_id"] == "d3") & (frame["channel"] == "gpu1.power"))]
    rows_by = agreement.assess(lost, off, SETTINGS).set_index(["setting", "quantity", "label"])
    assert rows_by.loc[("ddp", "power", "SMI"), "n"] == 5


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        ("node.ac", "no energy from the meter"),
        ("cpu0.package", "CPU packages"),
        ("calibration", "no calibration windows"),
    ],
)
def test_without_a_reference_rows_say_so(energy, drop, words):
    frame = energy[energy["channel"] != drop]
    frame = frame[frame["setting"] != drop]
    found = agreement.assess(frame, offsocket.fit(frame), SETTINGS)
    tables.conform(found, "agreement")
    assert len(found) == 20
    assert found["refused"].str.contains(words).all()
    assert found[["spearman", "pearson", "ks_d", "error_median"]].isna().all(axis=None)
    assert found["sample_ratio"].notna().all()  # needs no reference


def test_meter_missing_in_trainings_only(energy):
    frame = energy[(energy["channel"] != "node.ac") | (energy["setting"] == "calibration")]
    found = agreement.assess(frame, offsocket.fit(frame), SETTINGS)
    assert found["refused"].str.contains("no energy from the meter").all()


def test_training_beyond_the_calibrated_range_is_refused(energy):
    frame = energy[energy["kind"] != "gpu"]
    found = agreement.assess(frame, offsocket.fit(frame), SETTINGS)
    assert found["refused"].str.contains("outside the range of the calibration loads").all()
    idle = agreement.assess(frame, offsocket.fit(frame), {**SETTINGS, "off_socket": "idle"})
    assert idle["error_median"].notna().all()


def test_windows_with_unproven_clock_are_not_compared(energy):
    frame = energy.copy()
    meter = (frame["channel"] == "node.ac") & frame["window_id"].isin(["r0e0", "r1e1"])
    frame["flags"] = [["clock_not_proven"] if m else [] for m in meter]
    found = agreement.assess(frame, offsocket.fit(frame), SETTINGS)
    rows = found.set_index(["level", "quantity", "label"])
    assert rows.loc[("epoch", "energy", "NVML"), "n"] == RUNS * EPOCHS - 2


def test_rows_do_not_depend_on_order_of_the_table(energy, assessed):
    shuffled = energy.sample(frac=1.0, random_state=3)
    again = agreement.assess(shuffled, offsocket.fit(shuffled), SETTINGS)
    again = again.set_index(["level", "quantity", "label"]).loc[assessed.index]
    numbers = ["n", "spearman", "pearson", "ks_d", "error_median", "error_max"]
    np.testing.assert_allclose(
        again[numbers].to_numpy(float), assessed[numbers].to_numpy(float), atol=1e-9
    )


def test_no_trainings_gives_an_empty_table():
    frame = table(*CALIBRATION)
    assert agreement.assess(frame, offsocket.fit(frame), SETTINGS).empty
