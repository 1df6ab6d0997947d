"""What is made of one recording: clocks, windows, energies."""

from __future__ import annotations

from wattproof.tables.columns import (
    BOOL,
    F64,
    FLAGS,
    I32,
    I64,
    RECORDING,
    RUN,
    SESSION,
    STRING,
    WINDOW,
    TableSchema,
)
from wattproof.tables.columns import (
    column as c,
)

SCHEMAS = (
    TableSchema(
        "clocks",
        "clock of a source against the recording's monotonic clock",
        (
            RECORDING,
            SESSION,
            c("source", STRING, "instrument"),
            c("clock", STRING, "host | device"),
            c("against", STRING, "source whose levels were compared; empty for same_clock"),
            c(
                "offset_ns",
                I64,
                "mono = stamp + offset + drift·(stamp − anchor); null if refused",
                True,
            ),
            c("drift_ppm", F64, "see offset_ns", True),
            c("anchor_ns", I64, "see offset_ns", True),
            c("residual_ns", F64, "spread of the local offsets around the line", True),
            c("confidence", F64, "0 to 1", True),
            c("method", STRING, "same_clock | level_correlation | …"),
            c("accepted", BOOL, "false: energies of this source are not compared"),
            c("reason", STRING, "why it was refused; empty if accepted"),
        ),
    ),
    TableSchema(
        "windows",
        "a half-open interval [start, end)",
        (
            *WINDOW,
            c("start_ns", I64, "monotonic"),
            c("end_ns", I64, "monotonic"),
        ),
    ),
    TableSchema(
        "energy",
        "window × channel",
        (
            *WINDOW,
            c("source", STRING, "instrument"),
            c("channel", STRING, "series"),
            c("device", STRING, "GPU UUID, meter serial, package …"),
            c("duration_s", F64, "length of the window"),
            c("energy_j", F64, "null when coverage is too low", True),
            c("mean_w", F64, "energy over duration", True),
            c("energy_u_j", F64, "standard uncertainty", True),
            c("u_meter_j", F64, "its part from the instrument: accuracy class, resolution", True),
            c("u_sampling_j", F64, "its part from what lies between samples", True),
            c("u_edge_j", F64, "its part from the window's edges", True),
            c("u_clock_j", F64, "its part from the alignment of the clock", True),
            c("u_sensor_j", F64, "its part from what a part-time sensor does not see", True),
            c("samples", I64, "good samples inside the window"),
            c("expected", F64, "duration over period; null if the period is unknown", True),
            c("coverage", F64, "share of the window bridged by good samples, 0 to 1"),
            c("longest_gap_s", F64, "longest hole, edges included"),
            c("method", STRING, "counter | integral | mean"),
            c("counter_ratio", F64, "counter over integral of the same device", True),
            c("flags", FLAGS, "what is wrong with it; empty if nothing"),
        ),
    ),
    TableSchema(
        "shares",
        "a run, epoch or inference phase that shared the node with other runs; or a session",
        (
            RECORDING,
            SESSION,
            RUN,
            c("level", STRING, "run | epoch | phase | session"),
            c("kind", STRING, "run | epoch | throughput | latency | whole | unattributed"),
            c("epoch", I32, "0-based epoch; null above epoch level", True),
            c("gpu_j", F64, "of its own GPU, by NVML; null for sessions", True),
            c("busy_gpus_j", F64, "of the GPUs of all runs at work meanwhile, by NVML", True),
            c("share", F64, "mean over its time of 1 / number of runs at work", True),
            c("energy_j", F64, "what it is charged with: gpu_j and its share of the rest", True),
            c("energy_u_j", F64, "standard uncertainty", True),
        ),
    ),
    TableSchema(
        "utilisation",
        "epoch window × GPU",
        (
            c("window_id", STRING, "window"),
            c("slot", I32, "slot of the GPU"),
            c("utilisation_percent", F64, "mean; share of time with a kernel running", True),
            c("memory_utilisation_percent", F64, "mean; share of time memory was busy", True),
        ),
    ),
)
