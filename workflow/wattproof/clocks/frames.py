"""Access to sample tables without ever turning nanoseconds into floats."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from wattproof.errors import WattproofError

Int64Array = NDArray[np.int64]
F64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_NULLABLE_INTEGERS = {
    pa.int64(): pd.Int64Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int16(): pd.Int16Dtype(),
}


def as_frame(data: pd.DataFrame | pa.Table) -> pd.DataFrame:
    """Return a pandas frame; Arrow integers stay integers, nulls included."""
    if isinstance(data, pd.DataFrame):
        return data
    frame: pd.DataFrame = data.to_pandas(types_mapper=_NULLABLE_INTEGERS.get)
    return frame


def int64(frame: pd.DataFrame, column: str) -> tuple[Int64Array, BoolArray]:
    """Return a column of nanoseconds as (values, known).

    Args:
        frame: Frame with the column.
        column: Its name; integers, pandas' nullable integers, or objects with nulls.

    Returns:
        int64 values (0 where unknown) and a mask that is true where the value is known.

    Raises:
        WattproofError: If the column holds floats: epoch nanoseconds lose up to 128 ns there
            (surrogates.md section 14).
    """
    series = frame[column]
    if series.dtype == np.int64:
        return series.to_numpy(), np.ones(len(series), dtype=bool)
    known = series.notna().to_numpy(dtype=bool)
    if not known.any():
        return np.zeros(len(series), dtype=np.int64), known
    if pd.api.types.is_float_dtype(series.dtype):
        raise WattproofError(
            f"Column '{column}' holds nanoseconds as floating-point numbers, which loses "
            "precision; read the table with wattproof.tables.read_frame, or use dtype 'Int64'."
        )
    whole = series if known.all() else series.astype("Int64").fillna(0)
    values: Int64Array = whole.to_numpy(dtype=np.int64)  # type: ignore[assignment]
    return values, known


def floats(frame: pd.DataFrame, column: str) -> F64Array:
    """Return a column as float64 with NaN where it is null."""
    if frame[column].dtype == np.float64:
        return frame[column].to_numpy()
    series = frame[column].astype("Float64")
    values: F64Array = series.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[assignment]
    return values


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a small frame as dictionaries; integers stay integers."""
    return frame.to_dict("records")  # type: ignore[return-value]


def good(frame: pd.DataFrame) -> BoolArray:
    """Return a mask of the samples that have a value: status ok and a finite number."""
    ok = (frame["status"] == "ok").to_numpy(dtype=bool)
    return ok & np.isfinite(floats(frame, "value"))


def groups(frame: pd.DataFrame, keys: Iterable[str]) -> dict[tuple[Any, ...], Int64Array]:
    """Return the row positions of each distinct combination of key columns, in file order."""
    codes = np.zeros(len(frame), dtype=np.int64)
    names = list(keys)
    for name in names:
        part, distinct = pd.factorize(frame[name])
        codes = codes * (len(distinct) + 1) + part
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1)) if len(order) else order
    columns = [frame[name] for name in names]
    found: dict[tuple[Any, ...], Int64Array] = {}
    for rows in np.split(order, starts[1:]) if len(order) else []:
        found[tuple(column.iloc[rows[0]] for column in columns)] = rows
    return found
