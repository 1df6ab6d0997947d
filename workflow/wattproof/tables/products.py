"""What others use: the data set, its curves, the scores of its surrogates."""

from __future__ import annotations

from wattproof.tables.columns import (
    F64,
    FLAGS,
    I32,
    I64,
    STRING,
    TableSchema,
)
from wattproof.tables.columns import (
    column as c,
)

SCHEMAS = (
    TableSchema(
        "dataset",
        "a run",
        (
            c("run_id", STRING, "run"),
            c("network_key", STRING, "realised network"),
            c("setting", STRING, "single | packed | ddp"),
            c("recording", STRING, "recording"),
            c("seed", I64, "seed"),
            c("status", STRING, "ok | failed"),
            c("epochs", I32, "epochs trained"),
            c("time_s", F64, "of the run window", True),
            c("val_accuracy", F64, "last epoch, 0 to 1", True),
            c("test_accuracy", F64, "last epoch, 0 to 1", True),
            c("macs", I64, "of one forward pass", True),
            c("params", I64, "parameters", True),
            c("activations", I64, "activations", True),
            c("gpu_energy_j", F64, "GPU, NVML counter where there is one", True),
            c("smi_energy_j", F64, "the same GPUs by nvidia-smi, faults and all", True),
            c("node_energy_j", F64, "node, by the reference or the best estimator", True),
            c("node_energy_low_j", F64, "lower bound", True),
            c("node_energy_high_j", F64, "upper bound", True),
            c("node_energy_by", STRING, "meter, or the estimator used"),
            c("idle_w", F64, "node at rest, by the meter, in the run's recording", True),
            c("gpu_idle_w", F64, "the run's GPUs at rest, by NVML, in its recording", True),
            c("inference_j_per_image", F64, "node energy, throughput phase", True),
            c("inference_images_hz", F64, "images per second, throughput phase", True),
            c("latency_s", F64, "mean time of one image at a time", True),
            c("flags", FLAGS, "quality flags of the run"),
            c(
                "excluded",
                STRING,
                "why fits and measured table leave it out; empty: included",
                True,
            ),
            c("fold", I32, "held-out fold of its network; null without included runs", True),
        ),
        ("config_", "energy_j_", "energy_low_j_", "energy_high_j_"),
    ),
    TableSchema(
        "curves",
        "an epoch of a run",
        (
            c("run_id", STRING, "run"),
            c("network_key", STRING, "realised network"),
            c("epoch", I32, "0-based epoch"),
            c("train_loss", F64, "mean loss", True),
            c("val_accuracy", F64, "0 to 1", True),
            c("time_s", F64, "of this epoch", True),
            c("gpu_energy_j", F64, "of this epoch", True),
            c("smi_energy_j", F64, "of this epoch, same GPUs by nvidia-smi", True),
            c("node_energy_j", F64, "of this epoch", True),
            c("gpu_power_w", F64, "mean of this epoch", True),
            c("node_power_w", F64, "mean of this epoch", True),
            c("flags", FLAGS, "quality flags"),
        ),
    ),
    TableSchema(
        "scores",
        "target × model of the surrogate",
        (
            c("target", STRING, "accuracy | energy_j | time_s | power_w"),
            c("model", STRING, "model family"),
            c("split", STRING, "how held-out runs were chosen"),
            c("n", I64, "held-out runs"),
            c("networks", I64, "distinct held-out networks"),
            c("r2", F64, "coefficient of determination", True),
            c("kendall_tau", F64, "rank agreement", True),
            c("mae", F64, "mean absolute error, in the target's unit", True),
            c("mape", F64, "mean absolute relative error", True),
            c("coverage", F64, "share inside the 90 % interval", True),
            c("width", F64, "mean width of the 90 % interval, in the target's unit", True),
            c("noise", F64, "coefficient of variation of replicates", True),
            c("refused", STRING, "why a score is missing; empty if none is"),
        ),
    ),
)
