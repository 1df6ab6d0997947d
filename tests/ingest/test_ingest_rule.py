"""Rule ingest by the real Snakemake, on a small set."""

import os
import subprocess
import sys
from pathlib import Path

from mlperf_synthetic import write_set

from wattproof import tables

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("samples", "channels", "marks", "runs", "windows", "published")


def run(folder, *arguments):
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", folder, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_rule_writes_its_tables_and_reruns_when_a_log_changes(tmp_path):
    data = write_set(tmp_path / "set", [(f"r{i}", 4.0 + i, 1000, "success") for i in range(3)])
    snakefile = tmp_path / "Snakefile"
    snakefile.write_text(
        "from pathlib import Path\n"
        f"CONFIG = {{'ingest': {{'mlperf_training': {str(data)!r}}}}}\n"
        "CAMPAIGN = 'foreign'\n"
        "RESULTS = Path('results') / CAMPAIGN\n"
        f"include: {str(ROOT / 'workflow' / 'rules' / 'ingest.smk')!r}\n"
    )
    done = run(tmp_path, "ingest")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "results" / "foreign" / "ingest" / "mlperf_training"
    for name in TABLES:
        assert tables.read(out / f"{name}.parquet", name).num_rows > 0
        assert tables.read_meta(out / f"{name}.parquet").campaign == "foreign"
        assert tables.read_meta(out / f"{name}.parquet").simulated is False

    log = data / "resnet" / "ac" / "r1" / "node_0.txt"
    log.write_text("")
    os.utime(log, (os.path.getmtime(log) + 60,) * 2)
    broken = run(tmp_path, "ingest")
    assert broken.returncode == 1
    assert "is not an MLPerf log" in broken.stderr
    assert (
        "Traceback"
        not in (
            tmp_path / "results" / "foreign" / "logs" / "ingest" / "mlperf_training.log"
        ).read_text()
    )
