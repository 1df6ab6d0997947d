"""A small made-up campaign as tables, for the tests of the report. Its numbers are an oracle:
epoch powers, errors and shares are drawn here, not by the code under test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.report import parts
from wattproof.report.inputs import ReportInputs

T0_NS = 86_400_000_000_123  # monotonic clocks do not start at 0
NS = 1_000_000_000
IDLE_W, LIMIT_W = 75.0, 300.0
BUSY_W, DRAM_W, CPU_W = 60.0, 8.0, 40.0
Rows = list[dict[str, Any]]
Rng = np.random.Generator
GPU = "GPU-SIMULATED-0000"
EPOCHS, RUNS = 6, 8


def frame(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    return tables.conform(rows, name).to_pandas() if rows else tables.empty(name)


def _window(
    level: str,
    kind: str,
    run: str | None,
    epoch: int | None,
    start_s: float,
    end_s: float,
    setting: str = "single",
) -> dict[str, Any]:
    name = f"{run or kind}-{level}-{epoch if epoch is not None else ''}-{start_s:.0f}"
    return {
        "recording": "rec-000", "session": 0, "window_id": name, "run_id": run, "level": level,
        "kind": kind, "epoch": epoch, "setting": setting, "slot": 0 if run else None,
        "start_ns": T0_NS + int(start_s * NS), "end_ns": T0_NS + int(end_s * NS),
    }  # fmt: skip


def _plan_of_windows(rng: np.random.Generator) -> tuple[list[dict[str, Any]], dict[str, float]]:
    windows = [_window("load", "idle", None, None, 2.0, 8.0, "calibration")]
    gpu_w = {windows[0]["window_id"]: IDLE_W}
    clock = 10.0
    for r in range(RUNS):
        run, start, epochs = f"run-{r:02d}", clock, []
        base = 100.0 + 22.0 * r
        for e in range(EPOCHS):
            length = 5.0 + r * 0.4
            epochs.append(_window("epoch", "epoch", run, e, clock, clock + length))
            gpu_w[epochs[-1]["window_id"]] = base + rng.normal(0, 4)
            clock += length
        whole = _window("run", "run", run, None, start, clock)
        gpu_w[whole["window_id"]] = float(np.mean([gpu_w[w["window_id"]] for w in epochs]))
        windows += [*epochs, whole]
        clock += 1.0
    return windows, gpu_w


def _energy(windows: Rows, gpu_w: dict[str, float], rng: Rng) -> Rows:
    rows = []
    for window in windows:
        own = {k: window[k] for k in window if k not in ("start_ns", "end_ns")}
        seconds = (window["end_ns"] - window["start_ns"]) / NS
        gpu = gpu_w[window["window_id"]]
        node = gpu + CPU_W + DRAM_W + BUSY_W
        # The paper's fault: the higher the power, the … fewer samples, of the low state only.
        smi_samples = int(seconds / 0.1 * rng.uniform(0.05, 0.95))
        few = smi_samples < 10
        for source, channel, device, watts, period, samples, method in (
            ("meter", "node.ac", "LMG-SIMULATED", node, 0.1, seconds / 0.1, "integral"),
            ("nvml", "gpu0.energy", GPU, gpu * 0.99, 0.05, seconds / 0.05, "counter"),
            ("nvml", "gpu0.power_instant", GPU, gpu * 0.97, 0.05, seconds / 0.05, "integral"),
            ("smi", "gpu0.power", GPU, gpu * rng.uniform(0.6, 1.0), 0.1, smi_samples, "mean"),
            ("rapl", "cpu0.package", "cpu0", CPU_W, 0.1, seconds / 0.1, "counter"),
            ("rapl", "cpu0.dram", "cpu0", DRAM_W, 0.1, seconds / 0.1, "counter"),
        ):
            refused = source == "smi" and smi_samples < 4
            rows.append(
                own | {
                    "source": source, "channel": channel, "device": device, "duration_s": seconds,
                    "energy_j": None if refused else watts * seconds,
                    "mean_w": None if refused else watts,
                    "energy_u_j": 1.0, "samples": int(samples), "expected": seconds / period,
                    "coverage": min(1.0, samples * period / seconds), "longest_gap_s": 0.2,
                    "method": method, "counter_ratio": None,
                    "flags": ["few_samples"] if source == "smi" and few else [],
                }
            )  # fmt: skip
    return rows


def _samples(windows: Rows, gpu_w: dict[str, float], rng: Rng) -> pd.DataFrame:
    end_s = max(w["end_ns"] for w in windows) / NS - T0_NS / NS

    # True power: piecewise constant by epoch, with a low state during the last fifth of each.
    def truth(t: np.ndarray) -> np.ndarray:
        watts = np.full(len(t), IDLE_W)
        for window in windows:
            if window["level"] not in ("epoch", "load"):
                continue
            a, b = ((window[k] - T0_NS) / NS for k in ("start_ns", "end_ns"))
            mean = gpu_w[window["window_id"]]
            low = mean * 0.75
            high = (mean - 0.2 * low) / 0.8
            watts = np.where((t >= a) & (t < b), np.where(t < a + 0.8 * (b - a), high, low), watts)
        return watts

    parts = []

    def add(source: str, channel: str, t: np.ndarray, value: np.ndarray) -> None:
        t_ns = T0_NS + (t * NS).astype("int64")
        values = {"value": value, "status": "ok", "t_ns": t_ns}
        parts.append(pd.DataFrame({"source": source, "channel": channel, **values}))

    t = np.arange(0, end_s, 0.1)
    add("meter", "node.ac", t, truth(t) + CPU_W + DRAM_W + BUSY_W + rng.normal(0, 0.5, len(t)))
    add("rapl", "cpu0.package", t, (CPU_W * t + 990) % 1000.0)
    add("rapl", "cpu0.dram", t, (DRAM_W * t) % 1000.0)
    t = np.arange(0, end_s, 0.05)
    add("nvml", "gpu0.power_instant", t, truth(t) * 0.99 + rng.normal(0, 1.0, len(t)))
    add("nvml", "gpu0.energy", t, np.cumsum(truth(t)) * 0.05)
    t = np.cumsum(rng.uniform(0.2, 1.4, int(2 * end_s)))
    t = t[t < end_s]
    add("smi", "gpu0.power", t, truth(t) * 0.8)
    t = np.arange(0, end_s, 0.25)
    add("host", "cpu.load", t, 55 + 10 * np.sin(t / 7))
    samples = pd.concat(parts, ignore_index=True)
    samples["t_ns"] = samples["t_ns"].astype("Int64")
    bad = samples.index[samples["source"] == "nvml"][::97]
    samples.loc[bad, "value"] = np.nan
    samples.loc[bad, "status"] = "timeout"
    return samples.assign(recording="rec-000", session=0)


def channel(source: str, name: str, unit: str, kind: str, **more: Any) -> dict[str, Any]:
    row = {
        "recording": "rec-000", "session": 0, "source": source, "channel": name, "unit": unit,
        "kind": kind, "device": "", "slot": None, "period_s": 0.1, "averaging_s": 0.0,
        "clock": "host", "simulated": True, "identity": "{}",
    }  # fmt: skip
    return row | more


def agreement_row(label: str, source: str, level: str, /, **more: Any) -> dict[str, Any]:
    row = {
        "setting": "single", "level": level, "quantity": "power", "label": label, "source": source,
        "channel": "gpu0.power", "reference": "balance (load)",
        "n": RUNS * EPOCHS if level == "epoch" else RUNS,
        "runs": RUNS, "spearman": 0.98, "pearson": 0.99, "pearson_low": 0.98, "pearson_high": 0.995,
        "ks_d": 0.05, "ks_p": 0.97, "ks_reject": False, "error_median": 0.01, "error_q1": 0.005,
        "error_q3": 0.015, "error_max": 0.03, "sample_ratio": 0.999, "few_samples": 0.0,
        "refused": "",
    }  # fmt: skip
    return row | more


def health_row(source: str, /, **more: Any) -> dict[str, Any]:
    row = {
        "recording": "rec-000", "session": 0, "source": source, "expected": 1000, "taken": 1000,
        "failed": 0, "missed": 0, "longest_gap_s": 0.11, "cpu_s": 1.5, "duration_s": 100.0,
        "restarts": 0, "hangs": 0, "outcome": "ok", "late": 3, "cpu_start_s": 0.5,
    }  # fmt: skip
    return row | more


def clock_row(source: str, /, **more: Any) -> dict[str, Any]:
    row = {
        "recording": "rec-000", "session": 0, "source": source, "clock": "device",
        "against": "nvml",
        "offset_ns": 1_700_000_000_000_000_123, "drift_ppm": 12.5, "anchor_ns": T0_NS,
        "residual_ns": 8.0e6, "confidence": 0.93, "method": "level_correlation", "accepted": True,
        "reason": "",
    }  # fmt: skip
    return row | more


def calibration_row(
    estimator: str, label: str, error: float | None, /, **more: Any
) -> dict[str, Any]:
    row = {
        "estimator": estimator, "device": "node", "label": label,
        "parameters": '{"p_busy": {"value": 60.0, "u": 0.4, "unit": "W"}}',
        "valid_range": '{"gpu": [75, 280, "W"]}', "held_out": "by network", "n": RUNS,
        "error_median": error, "error_q1": error, "error_q3": error,
        "error_max": None if error is None else abs(error) + 0.01, "coverage": 0.9, "refused": "",
    }  # fmt: skip
    return row | more


def usage_row(**more: Any) -> dict[str, Any]:
    row = {
        "setting": "single", "device": GPU, "source": "nvml", "n": RUNS * EPOCHS, "idle_w": IDLE_W,
        "limit_w": LIMIT_W, "min_w": 98.0, "q05_w": 100.0, "median_w": 175.0, "q95_w": 250.0,
        "max_w": 258.0, "span": 160 / 225, "peak_share": 258 / 300, "utilisation_min": 31.0,
        "utilisation_max": 97.0, "pearson_utilisation": 0.91, "refused": "",
    }  # fmt: skip
    return row | more


def _dataset(runs: Rows, gpu_w: dict[str, float], rng: Rng) -> Rows:
    rows = []
    for i, window in enumerate(runs):
        seconds = (window["end_ns"] - window["start_ns"]) / NS
        gpu = gpu_w[window["window_id"]] * seconds
        node = gpu + (CPU_W + DRAM_W + BUSY_W) * seconds
        rows.append({
            "run_id": window["run_id"], "network_key": f"regnet-{i // 2}", "setting": "single",
            "recording": "rec-000", "seed": i, "status": "ok", "epochs": EPOCHS, "time_s": seconds,
            "val_accuracy": 0.7 + 0.02 * i, "test_accuracy": 0.69 + 0.02 * i + rng.normal(0, 0.01),
            "macs": 1_000_000, "params": 10_000, "activations": 5_000, "gpu_energy_j": gpu,
            "node_energy_j": node, "node_energy_low_j": 0.98 * node,
            "node_energy_high_j": 1.02 * node, "node_energy_by": "meter", "flags": [],
        })  # fmt: skip
    return rows


def score_row(target: str, **more: Any) -> dict[str, Any]:
    row = {
        "target": target, "model": "trees", "curve": "line", "split": "5-fold by network", "n": 8,
        "networks": 4, "r2": 0.95, "kendall_tau": 0.91, "mae": 1234.0, "mape": 0.04,
        "coverage": 0.88, "width": 400.0, "noise": 0.02, "noise_groups": 2,
        "kendall_tau_ceiling": 0.96, "error_floor": 0.016, "operations": 381_190, "chosen": True,
        "refused": "",
    }  # fmt: skip
    return row | more


def coverage_row(target: str, **more: Any) -> dict[str, Any]:
    row = {
        "target": target, "stratum": "all", "split": "10 seeded splits by network", "level": 0.9,
        "n": 80, "networks": 40, "coverage": 0.91, "standard_error": 0.01, "width": 400.0,
        "width_ratio": 1.2, "verdict": "covers what it says",
    }  # fmt: skip
    return row | more


def published() -> parts.Published:
    """Five configurations: of the three measured ones the dear and bad one is beaten."""
    rows = [
        ("measured", 0.6, 1e3, 0.02, True), ("measured", 0.8, 2e3, 0.03, True),
        ("measured", 0.7, 3e3, 0.04, False), ("predicted", 0.62, 9e2, 0.02, True),
        ("predicted", 0.5, 2e3, 0.02, False),
    ]  # fmt: skip
    columns = ["kind", "accuracy", "energy_j", "inference_j_per_image", "front"]
    points = pd.DataFrame(rows, columns=columns)
    points["front_inference"] = points["front"]
    return parts.Published(points, "node", {"networks": "632; 4 trained", "level": "90 %"})


def full(simulated: bool = True) -> ReportInputs:
    """A campaign in which every table has rows."""
    rng = np.random.default_rng(5)
    windows, gpu_w = _plan_of_windows(rng)
    runs = [w for w in windows if w["level"] == "run"]
    epochs = [w for w in windows if w["level"] == "epoch"]
    estimates = []
    for window in runs + epochs:
        own = {k: window[k] for k in window if k not in ("start_ns", "end_ns")}
        seconds = (window["end_ns"] - window["start_ns"]) / NS
        node = (gpu_w[window["window_id"]] + CPU_W + DRAM_W + BUSY_W) * seconds
        for name, error in (("code_carbon_2x", 0.10), ("code_carbon", 0.2), ("regression", 0.0)):
            estimate = node * (1 - error - rng.normal(0, 0.008))
            estimates.append(own | {
                "estimator": name, "energy_j": estimate,
                "lower_j": None if name != "regression" else estimate * 0.97,
                "upper_j": None if name != "regression" else estimate * 1.03,
                "reference_j": node, "relative_error": (node - estimate) / node,
            })  # fmt: skip
    sources = ("nvml", "smi", "rapl", "meter", "host")
    return ReportInputs(
        simulated=simulated,
        plan=frame([
            {"run_id": w["run_id"], "setting": "single", "recording": "rec-000", "position": i,
             "network_key": f"regnet-{i // 2}", "seed": i, "spec": "{}", "digest": "d"}
            for i, w in enumerate(runs)
        ], "plan"),
        windows=frame(windows, "windows"),
        energy=frame(_energy(windows, gpu_w, rng), "energy"),
        clocks=frame(
            [clock_row(s, clock="host", method="same_clock", offset_ns=0, drift_ppm=0.0,
                       residual_ns=0.0, against="", confidence=1.0)
             for s in sources if s != "meter"]
            + [clock_row("meter"), clock_row("meter", session=1, residual_ns=11e6,
                                             offset_ns=1_700_000_000_020_000_123)], "clocks"),
        agreement=frame([
            agreement_row("SMI", "smi", "epoch", pearson=0.61, error_median=0.2, sample_ratio=0.4,
                          ks_d=0.4, ks_p=1e-7, ks_reject=True, few_samples=0.39),
            agreement_row("SMI", "smi", "run", pearson=0.97, error_median=0.2),
            agreement_row("NVML", "nvml", "epoch"),
            agreement_row("NVML", "nvml", "run", ks_d=None, ks_p=None, ks_reject=None,
                          pearson=None, pearson_low=None, pearson_high=None,
                          refused="n = 8 is too small for a correlation"),
            agreement_row("Code Carbon", "code_carbon", "epoch", reference="meter",
                          channel="node", error_median=0.2, sample_ratio=None),
        ], "agreement"),
        usage=frame([usage_row()], "usage"),
        utilisation=frame([
            {"window_id": w["window_id"], "slot": 0,
             "utilisation_percent": min(99.0, 20 + 0.25 * gpu_w[w["window_id"]]),
             "memory_utilisation_percent": 10 + 0.1 * gpu_w[w["window_id"]]} for w in epochs
        ], "utilisation"),
        calibration=frame([
            calibration_row("code_carbon_2x", "Code Carbon 2.x", 0.10, parameters="{}"),
            calibration_row("code_carbon", "Code Carbon 3.x", 0.20, parameters="{}"),
            calibration_row("idle_calibrated", "idle", None, refused="no idle window was accepted"),
            calibration_row("regression", "regression", 0.004),
        ], "calibration"),
        estimates=frame(estimates, "estimates"),
        dataset=frame(_dataset(runs, gpu_w, rng), "dataset"),
        scores=frame([
            score_row("energy_j"),
            score_row("energy_j", model="linear", kendall_tau=0.71, chosen=False, operations=90),
            score_row("accuracy", r2=None, kendall_tau=None, mae=0.01, mape=None, coverage=None,
                      width=None, noise=None, error_floor=None, kendall_tau_ceiling=None,
                      refused="no replicates, so the noise is not known"),
        ], "scores"),
        coverage=frame([
            coverage_row("energy_j"),
            coverage_row("energy_j", stratum="upper third of predicted energy_j", coverage=0.7,
                         verdict="covers less than it says, by 20.0 points"),
            coverage_row("energy_j", stratum="5 epochs"),
            coverage_row("accuracy", coverage=None, standard_error=None, width=None,
                         width_ratio=None, verdict="refused: too few networks"),
        ], "coverage"),
        growth=frame([
            {"target": "energy_j", "kind": kind, "seed": seed, "networks": networks,
             "runs": networks, "kendall_tau": tau, "r2": 0.9, "mae": 1.0, "mape": mape,
             "coverage": 0.9, "noise": 0.01, "words": words}
            for kind, seed, networks, tau, mape, words in (
                ("measured", 0, 20, 0.7, 0.1, ""), ("measured", 1, 20, 0.75, 0.09, ""),
                ("measured", 0, 80, 0.9, 0.03, ""),
                ("expected", None, 160, None, 0.02, "With 160 networks instead of 80 about 2 %."),
            )
        ], "growth"),
        held_out=frame([
            {"target": "energy_j", "run_id": w["run_id"], "network_key": f"regnet-{i // 2}",
             "measured": 1000.0 + 100 * i, "predicted": 1010.0 + 100 * i,
             "low": None if i == 0 else 990.0 + 100 * i, "high": None if i == 0 else 1990.0}
            for i, w in enumerate(runs)
        ], "held_out"),
        published=published(),
        search=parts.Search(("Searches by nvidia-smi promise what they do not keep.",)),
        health=frame([health_row(s) for s in sources if s != "smi"]
                     + [health_row("smi", expected=1000, taken=410, missed=590)], "health"),
        channels=frame([
            channel("meter", "node.ac", "W", "power", clock="device", averaging_s=0.1),
            channel("nvml", "gpu0.power_instant", "W", "power", slot=0, device=GPU, period_s=0.05),
            channel("nvml", "gpu0.energy", "J", "energy", slot=0, device=GPU, period_s=0.05),
            channel("smi", "gpu0.power", "W", "power", slot=0, device=GPU),
            channel("rapl", "cpu0.package", "J", "energy", wrap=1000.0),
            channel("rapl", "cpu0.dram", "J", "energy", wrap=1000.0),
            channel("host", "cpu.load", "%", "load"),
        ], "channels"),
        balance=pd.DataFrame([
            {"window_id": w["window_id"], "mean_w": gpu_w[w["window_id"]],
             "energy_j": gpu_w[w["window_id"]] * (w["end_ns"] - w["start_ns"]) / NS}
            for w in runs + epochs
        ]),
        example={"recording": "rec-000", "samples": _samples(windows, gpu_w, rng)},
        config={"campaign": "made-up", "results": "results", "analysis": {"min_samples": 10}},
        provenance={"code_version": "0.1.0", "python": "3.11", "host": "nowhere",
                    "instruments": {"meter": {"model": "LMG450 SIMULATED", "serial": "S-1"}}},
    )  # fmt: skip


def empty(simulated: bool = False) -> ReportInputs:
    return ReportInputs(simulated=simulated, config={"campaign": "nothing"})


def but(inputs: ReportInputs, **changes: Any) -> ReportInputs:
    """The same inputs with other tables, given as lists of rows."""
    made = {k: frame(v, k) if isinstance(v, list) else v for k, v in changes.items()}
    return replace(inputs, **made)
