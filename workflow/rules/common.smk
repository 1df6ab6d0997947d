"""What several rules share."""

RECORDED = (
    "samples",
    "channels",
    *([] if AUDIT else ["health"]),
    "marks",
    "runs",
    "clocks",
    "windows",
    "energy",
    "shares",
    "findings",
)
"""Tables of each recording."""

INGESTED = {name: name for name in ingest.NAMES} | {
    "windows": "windows_ingest",
    "findings": "findings_ingest",
}
"""Tables that a foreign set is read into, and their files: later stages make these two anew."""

ANALYSIS_JOB = cluster.analysis(CONFIG)
ANALYSIS_LOCAL = cluster.is_local(CONFIG)
"""Account and partition of what is no recording; whether what is made of all recordings together is
done here (their own tables are made in shards by jobs, see profiles/slurm)."""


def recorded(table):
    """Paths of one table of all recordings."""
    return expand(
        f"{RESULTS}/recordings/{{recording}}/{table}.parquet", recording=RECORDINGS
    )
