"""What several rules share."""


def recorded(table):
    """Paths of one table of all recordings."""
    return expand(
        f"{RESULTS}/recordings/{{recording}}/{table}.parquet", recording=RECORDINGS
    )
