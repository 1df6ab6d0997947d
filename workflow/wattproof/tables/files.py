"""Reading and writing tables: schema checks, provenance, atomic files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wattproof.errors import WattproofError
from wattproof.tables.bychannel import by_channel, write_by_channel
from wattproof.tables.schemas import SCHEMA_VERSION, TABLES, empty

META_KEY = b"wattproof"
SCORED = (pc.field("level") != "phase") | pc.field("kind").isin(["throughput", "latency"])
"""Windows that the whole set is judged by; parts of epochs, most of all windows, are not."""
SAMPLES = "samples"
"""The one table that does not fit into memory: it is kept by channel."""


@dataclass(frozen=True)
class Meta:
    """Provenance that travels in every file.

    Attributes:
        campaign: Name of the campaign.
        simulated: True if anything in the table comes from the virtual node.
        code_version: Version of wattproof that wrote the file.
        host: Name of the host where the data arose ("" if several).
        instruments: Identity of each source: ``{source: {"model": …, "serial": …, …}}``.
        extra: Anything else worth keeping.
    """

    campaign: str
    simulated: bool
    code_version: str = ""
    host: str = ""
    instruments: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def conform(data: pa.Table | pd.DataFrame | Iterable[dict[str, Any]], name: str) -> pa.Table:
    """Bring rows into the schema of table `name`, or say what is wrong with them.

    Missing nullable columns become null; float NaN in nullable columns becomes null (unknown is
    null); columns that the schema does not know are an error, so that nothing is dropped silently.

    Raises:
        WattproofError: For missing or unknown columns, wrong types, or nulls where none may be.
    """
    spec = TABLES[name]
    if isinstance(data, pa.Table):
        table = data
    elif isinstance(data, pd.DataFrame):
        table = pa.Table.from_pandas(data, preserve_index=False)
    else:
        rows = list(data)
        names = list(dict.fromkeys(key for row in rows for key in row))
        table = pa.table({key: pa.array([row.get(key) for row in rows]) for key in names})
    known = set(spec.names)
    extra = [c for c in table.column_names if c not in known and not c.startswith(spec.open_prefix)]
    if extra:
        raise WattproofError(f"Table '{name}' does not know the column(s) {', '.join(extra)}.")
    fields: list[pa.Field] = []
    arrays: list[pa.ChunkedArray | pa.Array] = []
    for column in spec.columns:
        if column.name in table.column_names:
            values = table.column(column.name)
            try:
                values = values.cast(column.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise WattproofError(
                    f"Table '{name}', column '{column.name}': {error}; wanted {column.type}."
                ) from error
            if column.nullable and pa.types.is_floating(column.type):
                values = pc.if_else(pc.is_nan(values), None, values)
        elif column.nullable or table.num_rows == 0:
            values = pa.nulls(table.num_rows, column.type)
        else:
            raise WattproofError(f"Table '{name}' lacks the column '{column.name}'.")
        if not column.nullable and values.null_count:
            raise WattproofError(
                f"Table '{name}', column '{column.name}' has {values.null_count} null(s); "
                "it must always have a value."
            )
        fields.append(pa.field(column.name, column.type, column.nullable))
        arrays.append(values)
    for other in table.column_names:
        if other not in known:
            fields.append(pa.field(other, table.schema.field(other).type, True))
            arrays.append(table.column(other))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def write(
    data: pa.Table | pd.DataFrame | Iterable[dict[str, Any]],
    name: str,
    path: str | os.PathLike[str],
    meta: Meta,
) -> pa.Table:
    """Check rows against the schema and write them as Parquet, atomically.

    Rows of ``samples`` are brought together by channel (`bychannel`), in their order.

    Returns:
        The table as written.
    """
    table = conform(data, name)
    if name == SAMPLES:
        table = by_channel(table)
    record = {"table": name, "schema_version": SCHEMA_VERSION, **asdict(meta)}
    metadata = dict(table.schema.metadata or {})
    metadata.pop(b"pandas", None)
    metadata[META_KEY] = json.dumps(record, sort_keys=True).encode()
    table = table.replace_schema_metadata(metadata)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        if name == SAMPLES:
            write_by_channel(table, temporary)
        else:
            pq.write_table(table, temporary, compression="zstd")
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return table


def _record(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError as error:
        raise WattproofError(f"{path} does not exist.") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise WattproofError(f"{path} is not a readable Parquet file: {error}.") from error
    if META_KEY not in metadata:
        raise WattproofError(f"{path} was not written by wattproof: its metadata is missing.")
    record: dict[str, Any] = json.loads(metadata[META_KEY])
    if record["schema_version"] > SCHEMA_VERSION:
        raise WattproofError(
            f"{path} has schema version {record['schema_version']}, newer than the "
            f"{SCHEMA_VERSION} that this wattproof reads: update wattproof."
        )
    return record


def read_meta(path: str | os.PathLike[str]) -> Meta:
    """Return the provenance of a table file."""
    record = _record(path)
    return Meta(
        campaign=record["campaign"],
        simulated=record["simulated"],
        code_version=record["code_version"],
        host=record["host"],
        instruments=record["instruments"],
        extra=record["extra"],
    )


def read(
    path: str | os.PathLike[str],
    name: str,
    columns: list[str] | None = None,
    where: pc.Expression | None = None,
) -> pa.Table:
    """Read a table file as Arrow and check that it is the table wanted."""
    check_file(path, name)
    table: pa.Table = pq.read_table(path, columns=columns, filters=where)
    return table


def check_file(path: str | os.PathLike[str], name: str) -> None:
    """Check that a file holds the table wanted.

    Raises:
        WattproofError: If it is not there, not readable, too new, or another table.
    """
    record = _record(path)
    if record["table"] != name:
        raise WattproofError(f"{path} holds the table '{record['table']}', not '{name}'.")


def read_frame(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    name: str,
    columns: list[str] | None = None,
    where: pc.Expression | None = None,
) -> pd.DataFrame:
    """Read one or several files of the same table into one pandas frame.

    Args:
        paths: The files.
        name: Of the table.
        columns: Those wanted; None for all.
        where: Rows wanted, e.g. `SCORED`; None for all. What is not wanted takes no memory.

    Nullable integer columns come as pandas' ``Int64``/``Int32``/``Int16``: nanoseconds never
    pass through floats.
    """
    many = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    parts = [read(path, name, columns, where) for path in many]
    if not parts:
        return empty(name)
    return to_frame(pa.concat_tables(parts, promote_options="default"), name)


def to_frame(table: pa.Table, name: str) -> pd.DataFrame:
    """Return a table as a pandas frame, with integers that stay integers (see `read_frame`)."""
    nullable = {
        pa.int64(): pd.Int64Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    has_null = {f.name for f in table.schema if f.nullable and f.type in nullable}
    # A column each, or pandas would copy all of one type into one block.
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=lambda t: nullable.get(t) if has_null else None, split_blocks=True
    )
    for column in TABLES[name].columns:
        if column.name in frame and not column.nullable and column.type in nullable:
            frame[column.name] = frame[column.name].astype(column.type.to_pandas_dtype())
    return frame


def merge_meta(paths: Iterable[str | os.PathLike[str]]) -> Meta:
    """Combine the provenance of several files: simulated if any is, instruments joined."""
    metas = [read_meta(path) for path in paths]
    if not metas:
        raise WattproofError("No input tables were given, so there is no provenance to combine.")
    instruments: dict[str, Any] = {}
    for meta in metas:
        instruments.update(meta.instruments)
    hosts = {meta.host for meta in metas if meta.host}
    return replace(
        metas[0],
        simulated=any(meta.simulated for meta in metas),
        instruments=instruments,
        host=hosts.pop() if len(hosts) == 1 else "",
        extra={},
    )
