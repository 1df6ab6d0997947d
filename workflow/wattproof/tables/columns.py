"""Columns and table schemas, and the columns that several tables share."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

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


def column(name: str, type_: pa.DataType, doc: str, nullable: bool = False) -> Column:
    """Return a column."""
    return Column(name, type_, doc, nullable)


RECORDING = column("recording", STRING, "recording: one allocation of one node")
SESSION = column(
    "session", I16, "0 for the first start of the recording, 1 after the first resume …"
)
RUN = column("run_id", STRING, "run; null outside runs", True)

WINDOW = (
    RECORDING,
    SESSION,
    column("window_id", STRING, "unique in the campaign"),
    RUN,
    column("level", STRING, "run | epoch | phase | load"),
    column(
        "kind",
        STRING,
        "run | epoch | train | precise_bn | eval | test | throughput | latency | idle | prime | "
        "stress | gpu | sync",
    ),
    column("epoch", I32, "0-based epoch; null above epoch level", True),
    column("setting", STRING, "single | packed | ddp | calibration"),
    column("slot", I32, "index of the slot; null for node-wide windows", True),
)
