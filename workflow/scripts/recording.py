"""Rule recording: train what is left while every instrument samples, then seal the tables.

On a virtual node in mode ``offline`` the tables are made at once; nothing is trained or awaited.
"""

import contextlib
import sys
from pathlib import Path

from wattproof import offline, outline, rule, session, tables
from wattproof.config import is_offline

name = snakemake.wildcards.recording


def tell(line: str) -> None:
    """Show progress; the terminal may be gone, the log file is not."""
    log.info(line)
    with contextlib.suppress(OSError):
        sys.stderr.write(f"[{name}] {line}\n")


with rule.logged(snakemake) as log:
    config = snakemake.params.measurement
    rows = outline.rows(snakemake.config["complete"], name, outline.FOLDER)
    paths = session.Paths(Path(snakemake.params.raw), Path(snakemake.params.truth))
    if is_offline(config):
        sealed, about = offline.record(name, rows, config, paths.truth)
    else:
        session.record(name, rows, config, paths, tell)
        sealed, about = session.seal(name, rows, paths)
    meta = rule.meta(config["campaign"], **about)
    for table, rows_of_table in sealed.items():
        tables.write(rows_of_table, table, snakemake.output[table], meta)
    for row in sealed["runs"].to_pylist():
        if row["status"] != "ok":
            tell(f"run {row['run_id']} failed: {row['reason']}")
