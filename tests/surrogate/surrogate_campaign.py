"""A campaign with a known law: the oracle of the surrogate's and the benchmark's tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from wattproof import space, tables

IMAGES = 1024
NOISE = 0.02
ACCURACY_NOISE = 0.01


@dataclass(frozen=True)
class Campaign:
    dataset: pd.DataFrame
    curves: pd.DataFrame


def law(config: dict[str, Any]) -> tuple[float, float]:
    """True joules and seconds of an epoch, without noise."""
    costs = space.get("regnet_demo").realise(config).complexity()
    macs, activations, batch = costs.macs, costs.activations, config["batch_size"]
    time_s = 0.3 + 3e-9 * IMAGES * macs**0.9 * (1 + 8 / batch) + 2e-9 * IMAGES * activations
    power_w = 60 + 25 * (macs / 2e6) ** 0.3 + 4 * np.log2(batch / 16)
    return float(power_w * time_s), float(time_s)


def true_accuracy(config: dict[str, Any], epoch: int) -> float:
    """True validation accuracy after `epoch` epochs, without noise."""
    params = space.get("regnet_demo").realise(config).complexity().params
    best = 0.75 + 0.05 * np.log10(params / 1e4) - 0.05 * abs(np.log10(config["lr"] / 0.01))
    return float(np.clip(best * (1 - 0.6 ** (epoch + 1)), 0.05, 0.99))


def measure(config: dict[str, Any], rng: np.random.Generator, noise: float = NOISE):
    """One noisy training: joules, seconds and accuracies by epoch (run-level noise)."""
    joules, seconds = law(config)
    factor = np.exp(rng.normal(0, noise))
    shift = rng.normal(0, ACCURACY_NOISE)
    epochs = range(config["epochs"])
    return (
        [joules * factor * np.exp(rng.normal(0, noise / 4)) for _ in epochs],
        [seconds * np.exp(rng.normal(0, noise / 4)) for _ in epochs],
        [float(np.clip(true_accuracy(config, e + 1) + shift, 0, 1)) for e in epochs],
    )


def make(
    runs: int = 30,
    replicates: int = 3,
    seed: int = 0,
    noise: float = NOISE,
    configs: list[dict[str, Any]] | None = None,
) -> Campaign:
    """Run a whole campaign of `runs` networks in memory."""
    demo = space.get("regnet_demo")
    rng = np.random.default_rng(seed)
    drawn = demo.sample(runs, seed) if configs is None else configs
    jobs = [(config, 0) for config in drawn] + [(config, 1) for config in drawn[:replicates]]
    dataset, curves = [], []
    for number, (config, run_seed) in enumerate(jobs):
        run_id = f"single-{number:05d}"
        network = demo.realise(config)
        costs = network.complexity()
        joules, seconds, accuracies = measure(config, rng, noise)
        dataset.append(
            {
                "run_id": run_id,
                "network_key": network.key,
                "setting": "single",
                "recording": "single-000",
                "seed": run_seed,
                "status": "ok",
                "epochs": config["epochs"],
                "time_s": sum(seconds) * 1.05,
                "val_accuracy": accuracies[-1],
                "test_accuracy": accuracies[-1],
                "macs": costs.macs,
                "params": costs.params,
                "activations": costs.activations,
                "gpu_energy_j": sum(joules) * 0.6,
                "node_energy_j": sum(joules) * 1.05,
                "node_energy_low_j": sum(joules) * 1.04,
                "node_energy_high_j": sum(joules) * 1.06,
                "node_energy_by": "meter",
                "flags": [],
                "energy_j_regression": sum(joules) * 1.05,
                **{f"config_{key}": value for key, value in config.items()},
            }
        )
        for epoch in range(config["epochs"]):
            curves.append(
                {
                    "run_id": run_id,
                    "network_key": network.key,
                    "epoch": epoch,
                    "train_loss": 1.0 / (epoch + 1),
                    "val_accuracy": accuracies[epoch],
                    "time_s": seconds[epoch],
                    "gpu_energy_j": joules[epoch] * 0.6,
                    "node_energy_j": joules[epoch],
                    "gpu_power_w": joules[epoch] * 0.6 / seconds[epoch],
                    "node_power_w": joules[epoch] / seconds[epoch],
                    "flags": [],
                }
            )
    return Campaign(
        tables.conform(dataset, "dataset").to_pandas(), tables.conform(curves, "curves").to_pandas()
    )


SETTINGS = {
    **{"folds": 5, "trees": 60, "interval": 0.9, "seed": 0, "splits": 1, "growth": 0},
    # Networks take seconds, and lose on so few runs; they have tests of their own.
    "families": ["linear", "trees", "linear+trees"],
}
META = tables.Meta(
    "synthetic",
    simulated=True,
    code_version="0",
    instruments={"meter": {"SIMULATED-1": {"model": "LMG450"}}},
)
