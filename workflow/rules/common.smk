"""What several rules share."""

RECORDED = (
    "samples",
    "channels",
    "health",
    "marks",
    "runs",
    "clocks",
    "windows",
    "energy",
)
"""Tables of each recording."""


def recorded(table):
    """Paths of one table of all recordings."""
    return expand(
        f"{RESULTS}/recordings/{{recording}}/{table}.parquet", recording=RECORDINGS
    )
