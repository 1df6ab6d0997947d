"""Schemas of every table that passes between rules, and reading and writing them.

Rules of the house: times are int64 nanoseconds, energies joules, powers watts; unknown is null,
never zero; every file carries a `Meta` record that says where it comes from and whether anything
in it is simulated. Writing is atomic and checks the schema; reading checks it again.
"""

from wattproof.tables.files import (
    META_KEY,
    SCORED,
    Meta,
    conform,
    merge_meta,
    read,
    read_frame,
    read_meta,
    to_frame,
    write,
)
from wattproof.tables.schemas import SCHEMA_VERSION, TABLES, Column, TableSchema, empty, schema
from wattproof.tables.store import SampleStore

__all__ = [
    "META_KEY",
    "SCHEMA_VERSION",
    "SCORED",
    "TABLES",
    "Column",
    "Meta",
    "SampleStore",
    "TableSchema",
    "conform",
    "empty",
    "merge_meta",
    "read",
    "read_frame",
    "read_meta",
    "schema",
    "to_frame",
    "write",
]
