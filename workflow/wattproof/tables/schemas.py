"""Schemas of every table that passes between rules: one row of text a column.

They stand by subject in `recorded`, `analysed`, `assessed`, `products` and
`searched`.
"""

from __future__ import annotations

import pandas as pd

from wattproof.tables import analysed, assessed, products, recorded, searched
from wattproof.tables.columns import Column, TableSchema

__all__ = ["SCHEMA_VERSION", "TABLES", "Column", "TableSchema", "empty", "schema"]

SCHEMA_VERSION = 1
"""Raised when a column changes its name, type or meaning."""

TABLES: dict[str, TableSchema] = {
    table.name: table
    for part in (recorded, analysed, assessed, products, searched)
    for table in part.SCHEMAS
}


def schema(name: str) -> TableSchema:
    """Return the schema of a table by its name."""
    return TABLES[name]


def empty(name: str) -> pd.DataFrame:
    """Return an empty frame with the columns of a table."""
    return TABLES[name].arrow().empty_table().to_pandas()
