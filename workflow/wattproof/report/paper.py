"""What arXiv 2505.15631 prints, for comparison only. Nothing here is a result of ours.

Read from Table I, Figure 8 and the text as far as the reference page (paper.md, sections 1, 6
and 8) has them; `TableOneRow.certain` tells the confirmed cells from second-hand readings.
"""

from __future__ import annotations

from dataclasses import dataclass

CITATION = "arXiv 2505.15631"


@dataclass(frozen=True)
class TableOneRow:
    """A row of the paper's Table I: agreement with the power meter.

    Attributes:
        setting: Our name of the paper's setting (its "multi" is distributed training: ddp).
        tool: As printed.
        runs: Trainings (inferred from the protocol).
        epoch_spearman: Per epoch.
        epoch_pearson: Per epoch.
        epoch_same: KS did not reject "same distribution" at 5 %, per epoch.
        run_spearman: Per training.
        run_pearson: Per training.
        run_same: As epoch_same, per training.
        certain: Names of the cells that a second source confirms.
    """

    setting: str
    tool: str
    runs: int
    epoch_spearman: float
    epoch_pearson: float
    epoch_same: bool
    run_spearman: float
    run_pearson: float
    run_same: bool
    certain: frozenset[str] = frozenset()


_EPOCH = frozenset({"epoch_pearson", "epoch_same"})

TABLE_ONE = (
    TableOneRow(
        "single", "SMI", 500, 0.58, 0.64, False, 0.99, 0.99, False, _EPOCH | {"run_pearson"}
    ),
    TableOneRow("single", "SMI (corrected)", 500, 0.99, 0.95, True, 0.99, 0.99, False, _EPOCH),
    TableOneRow("single", "NVML", 20, 0.98, 0.99, True, 0.99, 0.99, True, _EPOCH),
    TableOneRow("single", "Code Carbon", 20, 0.99, 0.99, False, 0.99, 0.99, True),
    TableOneRow("ddp", "SMI", 20, 0.88, 0.97, False, 0.99, 0.99, True),
    TableOneRow("ddp", "Code Carbon", 20, 0.93, 0.99, False, 0.99, 0.99, True),
)

ESTIMATOR_ERRORS = {
    "code_carbon_2x": 0.103,
    "idle_calibrated": 0.089,
    "load_calibrated": 0.066,
    "stress_bound": -0.036,
}
"""Figure 8: relative error of the node's energy by estimator, positive = underestimate."""

GPU_RANGE_W = (146.0, 305.0)
"""Epoch power on one GPU."""

GPU_IDLE_LIMIT_W = (75.0, 800.0)
"""Idle power and maximum as the paper names them."""

SPAN = (GPU_RANGE_W[1] - GPU_RANGE_W[0]) / (GPU_IDLE_LIMIT_W[1] - GPU_IDLE_LIMIT_W[0])
"""Share of the range from idle to maximum that its search space covers (computed by us: 22 %)."""

SMI_FEW_SAMPLES = 0.39
"""Share of epochs in which SMI delivered too few samples."""

LABELS = {
    "Code Carbon": ("Code Carbon", "Code Carbon 2.x, the job's GPUs", "Code Carbon 2.x"),
}
"""Our labels of the paper's tools, where they differ; its Code Carbon was a 2.x that tracked the
job's GPUs (both inferred: paper.md, section 9)."""


def our_labels(tool: str) -> tuple[str, ...]:
    """Labels under which we have a tool of the paper, the first choice first."""
    return LABELS.get(tool, (tool,))
