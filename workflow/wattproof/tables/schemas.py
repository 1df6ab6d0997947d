"""Schemas of every table that passes between rules: one place, one row of text a column."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

SCHEMA_VERSION = 1
"""Raised when a column changes its name, type or meaning."""

STRING = pa.string()
I16 = pa.int16()
I32 = pa.int32()
I64 = pa.int64()
F64 = pa.float64()
BOOL = pa.bool_()
FLAGS = pa.list_(pa.string())


@dataclass(frozen=True)
class Column:
    """One column: name (with its unit), Arrow type, meaning, and whether null is allowed."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False


@dataclass(frozen=True)
class TableSchema:
    """Schema of a table.

    Attributes:
        name: Name of the table.
        row: What one row is.
        columns: The columns, in file order.
        open_prefix: Columns with this prefix are allowed beside the named ones (the
            configuration columns of a search space, the energies by estimator).
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    open_prefix: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the fixed columns, in file order."""
        return [column.name for column in self.columns]

    def arrow(self) -> pa.Schema:
        """Return the Arrow schema of the fixed columns."""
        return pa.schema([pa.field(c.name, c.type, c.nullable) for c in self.columns])


def _c(name: str, type_: pa.DataType, doc: str, nullable: bool = False) -> Column:
    return Column(name, type_, doc, nullable)


_RECORDING = _c("recording", STRING, "recording: one allocation of one node")
_SESSION = _c("session", I16, "0 for the first start of the recording, 1 after the first resume …")
_RUN = _c("run_id", STRING, "run; null outside runs", True)

_WINDOW = (
    _RECORDING,
    _SESSION,
    _c("window_id", STRING, "unique in the campaign"),
    _RUN,
    _c("level", STRING, "run | epoch | phase | load"),
    _c("kind", STRING, "run | epoch | train | eval | idle | prime | stress | gpu | sync"),
    _c("epoch", I32, "0-based epoch; null above epoch level", True),
    _c("setting", STRING, "single | packed | ddp | calibration"),
    _c("slot", I32, "index of the slot; null for node-wide windows", True),
)

TABLES: dict[str, TableSchema] = {
    t.name: t
    for t in (
        TableSchema(
            "plan",
            "a run to do",
            (
                _c("run_id", STRING, "unique; contains a digest of all that determines the run"),
                _c("setting", STRING, "single | packed | ddp | calibration"),
                _c("recording", STRING, "recording that trains it"),
                _c("position", I32, "order inside the recording"),
                _c("network_key", STRING, "realised network; null for calibration loads", True),
                _c("seed", I64, "seed of the run"),
                _c("spec", STRING, "JSON: everything that the training process needs"),
                _c("digest", STRING, "digest of `spec` and the training code's version"),
            ),
            ("config_",),
        ),
        TableSchema(
            "samples",
            "a reading, good or failed",
            (
                _RECORDING,
                _SESSION,
                _c("source", STRING, "instrument"),
                _c("channel", STRING, "series of the instrument"),
                _c("scheduled_ns", I64, "monotonic deadline; null for streamed readings", True),
                _c("start_ns", I64, "monotonic, before the read"),
                _c("end_ns", I64, "monotonic, after the read"),
                _c("wall_ns", I64, "wall clock after the read, since the epoch"),
                _c("device_ns", I64, "the device's own time stamp; null if it gives none", True),
                _c("value", F64, "in the channel's unit; null if the read failed", True),
                _c("status", STRING, "ok, or why there is no value"),
            ),
        ),
        TableSchema(
            "channels",
            "a channel of a source in a session",
            (
                _RECORDING,
                _SESSION,
                _c("source", STRING, "instrument"),
                _c("channel", STRING, "series"),
                _c("unit", STRING, "W, J, %, bytes, Hz, C, bits …"),
                _c(
                    "kind",
                    STRING,
                    "power | energy | utilisation | memory | clock | temperature | load | limit | "
                    "state",
                ),
                _c("device", STRING, "GPU UUID, meter serial, package … "),
                _c("slot", I32, "slot of the GPU; null for node-wide channels", True),
                _c("period_s", F64, "expected time between readings; null if unknown", True),
                _c("averaging_s", F64, "the value is the mean of this time before it; 0 = instant"),
                _c(
                    "clock", STRING, "host: our stamps | wall: the driver's, by wall clock | device"
                ),
                _c("accuracy_reading", F64, "limit of error as a share of the reading", True),
                _c("accuracy_range_w", F64, "limit of error from the range, in watts", True),
                _c("quantum", F64, "smallest step of the value", True),
                _c("wrap", F64, "counter wraps at this value; null if it does not", True),
                _c("simulated", BOOL, "from the virtual node"),
                _c("identity", STRING, "JSON: model, serial, driver, limits, what the call means"),
            ),
        ),
        TableSchema(
            "health",
            "a lane of a source in a session",
            (
                _RECORDING,
                _SESSION,
                _c("source", STRING, "instrument, with its lane: nvml, nvml@counter, nvml@ring"),
                _c("expected", I64, "readings expected; null for streams of unknown rate", True),
                _c("taken", I64, "reads that took place; of a driver's ring, samples that came"),
                _c("failed", I64, "reads with a status other than ok"),
                _c("late", I64, "reads begun over half a period late; null for streams", True),
                _c("missed", I64, "deadlines that passed without a read, or samples known lost"),
                _c("longest_gap_s", F64, "longest time between two good reads", True),
                _c("cpu_s", F64, "CPU seconds of the source's process", True),
                _c("cpu_start_s", F64, "of these, until it was ready to sample", True),
                _c("duration_s", F64, "from first to last read", True),
                _c("restarts", I32, "times the source was restarted"),
                _c("hangs", I32, "times it hung and was ended by the watchdog"),
                _c("outcome", STRING, "ok | killed | hung | not offered: why | failed: why"),
            ),
        ),
        TableSchema(
            "marks",
            "a time-stamped event of the workload",
            (
                _RECORDING,
                _SESSION,
                _RUN,
                _c("kind", STRING, "run_begin, epoch_begin, phase_begin, load_begin, …_end"),
                _c("name", STRING, "train | eval, or the kind of load", True),
                _c("epoch", I32, "0-based epoch", True),
                _c("slot", I32, "slot", True),
                _c("mono_ns", I64, "monotonic"),
                _c("wall_ns", I64, "wall clock, since the epoch"),
                _c("train_loss", F64, "mean loss of the epoch", True),
                _c("train_accuracy", F64, "0 to 1", True),
                _c("val_loss", F64, "mean loss", True),
                _c("val_accuracy", F64, "0 to 1", True),
                _c("test_accuracy", F64, "0 to 1; at the end of a run only", True),
                _c("learning_rate", F64, "of the epoch", True),
            ),
        ),
        TableSchema(
            "runs",
            "a run that took place",
            (
                _RECORDING,
                _SESSION,
                _c("run_id", STRING, "run"),
                _c("setting", STRING, "single | packed | ddp | calibration"),
                _c("slot", I32, "slot", True),
                _c("status", STRING, "ok | failed"),
                _c("reason", STRING, "why it failed; empty if it did not"),
                _c("epochs", I32, "epochs trained; null if unknown", True),
                _c("duration_s", F64, "of the run window; null if it never began", True),
                _c("val_accuracy", F64, "last epoch, 0 to 1", True),
                _c("test_accuracy", F64, "last epoch, 0 to 1", True),
                _c("macs", I64, "multiply-accumulates of one forward pass of one image", True),
                _c("params", I64, "parameters", True),
                _c("activations", I64, "activations", True),
            ),
        ),
        TableSchema(
            "clocks",
            "clock of a source against the recording's monotonic clock",
            (
                _RECORDING,
                _SESSION,
                _c("source", STRING, "instrument"),
                _c("clock", STRING, "host | device"),
                _c("against", STRING, "source whose levels were compared; empty for same_clock"),
                _c(
                    "offset_ns",
                    I64,
                    "mono = stamp + offset + drift·(stamp − anchor); null if refused",
                    True,
                ),
                _c("drift_ppm", F64, "see offset_ns", True),
                _c("anchor_ns", I64, "see offset_ns", True),
                _c("residual_ns", F64, "spread of the local offsets around the line", True),
                _c("confidence", F64, "0 to 1", True),
                _c("method", STRING, "same_clock | level_correlation | …"),
                _c("accepted", BOOL, "false: energies of this source are not compared"),
                _c("reason", STRING, "why it was refused; empty if accepted"),
            ),
        ),
        TableSchema(
            "windows",
            "a half-open interval [start, end)",
            (
                *_WINDOW,
                _c("start_ns", I64, "monotonic"),
                _c("end_ns", I64, "monotonic"),
            ),
        ),
        TableSchema(
            "energy",
            "window × channel",
            (
                *_WINDOW,
                _c("source", STRING, "instrument"),
                _c("channel", STRING, "series"),
                _c("device", STRING, "GPU UUID, meter serial, package …"),
                _c("duration_s", F64, "length of the window"),
                _c("energy_j", F64, "null when coverage is too low", True),
                _c("mean_w", F64, "energy over duration", True),
                _c("energy_u_j", F64, "standard uncertainty", True),
                _c("samples", I64, "good samples inside the window"),
                _c("expected", F64, "duration over period; null if the period is unknown", True),
                _c("coverage", F64, "share of the window bridged by good samples, 0 to 1"),
                _c("longest_gap_s", F64, "longest hole, edges included"),
                _c("method", STRING, "counter | integral | mean"),
                _c("counter_ratio", F64, "counter over integral of the same device", True),
                _c("flags", FLAGS, "what is wrong with it; empty if nothing"),
            ),
        ),
        TableSchema(
            "utilisation",
            "epoch window × GPU",
            (
                _c("window_id", STRING, "window"),
                _c("slot", I32, "slot of the GPU"),
                _c("utilisation_percent", F64, "mean; share of time with a kernel running", True),
                _c("memory_utilisation_percent", F64, "mean; share of time memory was busy", True),
            ),
        ),
        TableSchema(
            "agreement",
            "source × reference × level × setting × quantity",
            (
                _c("setting", STRING, "single | packed | ddp"),
                _c("level", STRING, "epoch | run"),
                _c("quantity", STRING, "energy | power"),
                _c("label", STRING, "row label, e.g. SMI (corrected)"),
                _c("source", STRING, "source or estimator"),
                _c("channel", STRING, "series"),
                _c("reference", STRING, "what it is compared with"),
                _c("n", I64, "pairs"),
                _c("runs", I64, "distinct runs"),
                _c("spearman", F64, "rank correlation; null if refused", True),
                _c("pearson", F64, "linear correlation; null if refused", True),
                _c("pearson_low", F64, "lower end of the 95 % interval", True),
                _c("pearson_high", F64, "upper end of the 95 % interval", True),
                _c("ks_d", F64, "two-sample Kolmogorov–Smirnov distance", True),
                _c("ks_p", F64, "its p-value", True),
                _c("ks_reject", BOOL, "p < alpha", True),
                _c("error_median", F64, "median of (reference − value)/reference", True),
                _c("error_q1", F64, "lower quartile", True),
                _c("error_q3", F64, "upper quartile", True),
                _c("error_max", F64, "largest absolute relative error", True),
                _c("sample_ratio", F64, "mean of samples over expected", True),
                _c("few_samples", F64, "share of windows with fewer than min_samples", True),
                _c("refused", STRING, "why a statistic was refused; empty if none was"),
            ),
        ),
        TableSchema(
            "usage",
            "power and utilisation range of a device",
            (
                _c("setting", STRING, "single | packed | ddp"),
                _c("device", STRING, "GPU UUID"),
                _c("source", STRING, "where the power comes from"),
                _c("n", I64, "epochs"),
                _c("idle_w", F64, "mean power in idle windows", True),
                _c("limit_w", F64, "power limit of the board", True),
                _c("min_w", F64, "smallest epoch mean", True),
                _c("q05_w", F64, "5 % quantile", True),
                _c("median_w", F64, "median", True),
                _c("q95_w", F64, "95 % quantile", True),
                _c("max_w", F64, "largest epoch mean", True),
                _c("span", F64, "(max − min) / (limit − idle)", True),
                _c("peak_share", F64, "max / limit", True),
                _c("utilisation_min", F64, "%", True),
                _c("utilisation_max", F64, "%", True),
                _c("pearson_utilisation", F64, "power against utilisation", True),
                _c("refused", STRING, "why a figure is missing; empty if none is"),
            ),
        ),
        TableSchema(
            "calibration",
            "estimator × device",
            (
                _c("estimator", STRING, "rule that turns cheap channels into energy"),
                _c("device", STRING, "node, or GPU UUID"),
                _c("label", STRING, "for people"),
                _c("parameters", STRING, "JSON {name: {value, u, unit}}"),
                _c("valid_range", STRING, "JSON {quantity: [low, high, unit]}"),
                _c("held_out", STRING, "how training and test data were kept apart"),
                _c("n", I64, "run windows scored"),
                _c("error_median", F64, "median of (reference − estimate)/reference", True),
                _c("error_q1", F64, "lower quartile", True),
                _c("error_q3", F64, "upper quartile", True),
                _c("error_max", F64, "largest absolute relative error", True),
                _c("coverage", F64, "share of runs inside the stated interval", True),
                _c("refused", STRING, "why it could not be had; empty if it could"),
            ),
        ),
        TableSchema(
            "estimates",
            "window × estimator",
            (
                *_WINDOW,
                _c("estimator", STRING, "rule"),
                _c("energy_j", F64, "estimate", True),
                _c("lower_j", F64, "lower end of the 90 % interval", True),
                _c("upper_j", F64, "upper end of the 90 % interval", True),
                _c("reference_j", F64, "the meter's energy; null without a meter", True),
                _c("relative_error", F64, "(reference − estimate) / reference", True),
            ),
        ),
        TableSchema(
            "dataset",
            "a run",
            (
                _c("run_id", STRING, "run"),
                _c("network_key", STRING, "realised network"),
                _c("setting", STRING, "single | packed | ddp"),
                _c("recording", STRING, "recording"),
                _c("seed", I64, "seed"),
                _c("status", STRING, "ok | failed"),
                _c("epochs", I32, "epochs trained"),
                _c("time_s", F64, "of the run window", True),
                _c("val_accuracy", F64, "last epoch, 0 to 1", True),
                _c("test_accuracy", F64, "last epoch, 0 to 1", True),
                _c("macs", I64, "of one forward pass", True),
                _c("params", I64, "parameters", True),
                _c("activations", I64, "activations", True),
                _c("gpu_energy_j", F64, "GPU, NVML counter where there is one", True),
                _c("node_energy_j", F64, "node, by the reference or the best estimator", True),
                _c("node_energy_low_j", F64, "lower bound", True),
                _c("node_energy_high_j", F64, "upper bound", True),
                _c("node_energy_by", STRING, "meter, or the estimator used"),
                _c("flags", FLAGS, "quality flags of the run"),
            ),
            ("config_", "energy_j_"),
        ),
        TableSchema(
            "curves",
            "an epoch of a run",
            (
                _c("run_id", STRING, "run"),
                _c("network_key", STRING, "realised network"),
                _c("epoch", I32, "0-based epoch"),
                _c("train_loss", F64, "mean loss", True),
                _c("val_accuracy", F64, "0 to 1", True),
                _c("time_s", F64, "of this epoch", True),
                _c("gpu_energy_j", F64, "of this epoch", True),
                _c("node_energy_j", F64, "of this epoch", True),
                _c("gpu_power_w", F64, "mean of this epoch", True),
                _c("node_power_w", F64, "mean of this epoch", True),
                _c("flags", FLAGS, "quality flags"),
            ),
        ),
        TableSchema(
            "scores",
            "target × model of the surrogate",
            (
                _c("target", STRING, "accuracy | energy_j | time_s | power_w"),
                _c("model", STRING, "model family"),
                _c("split", STRING, "how held-out runs were chosen"),
                _c("n", I64, "held-out runs"),
                _c("networks", I64, "distinct held-out networks"),
                _c("r2", F64, "coefficient of determination", True),
                _c("kendall_tau", F64, "rank agreement", True),
                _c("mae", F64, "mean absolute error, in the target's unit", True),
                _c("mape", F64, "mean absolute relative error", True),
                _c("coverage", F64, "share inside the 90 % interval", True),
                _c("width", F64, "mean width of the 90 % interval, in the target's unit", True),
                _c("noise", F64, "coefficient of variation of replicates", True),
                _c("refused", STRING, "why a score is missing; empty if none is"),
            ),
        ),
        TableSchema(
            "published",
            "a published figure and what the raw log gives",
            (
                _c("dataset", STRING, "origin"),
                _c("benchmark", STRING, "name of the benchmark"),
                _c("channel", STRING, "AC or DC input of the node"),
                _c("runs", I64, "runs used"),
                _c("rule", STRING, "named method"),
                _c("published_j", F64, "as published", True),
                _c("recomputed_j", F64, "by the rule", True),
                _c("integrated_j", F64, "inside the run windows only", True),
                _c("relative_difference", F64, "(published − recomputed)/published", True),
            ),
        ),
    )
}


def schema(name: str) -> TableSchema:
    """Return the schema of a table by its name."""
    return TABLES[name]


def empty(name: str) -> pd.DataFrame:
    """Return an empty frame with the columns of a table."""
    return TABLES[name].arrow().empty_table().to_pandas()
