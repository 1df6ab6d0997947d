"""A small campaign in a folder of its own, run by the real Snakemake."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

REST = """
calibration: {idle_s: 2, load_s: 2, repeats: 1}
sources:
  nvml: {}
  smi: {}
  rapl: {}
  host: {}
  meter: {driver: lmg450}
analysis: {min_samples: 3, min_confidence: 0.3}
surrogate: {folds: 2, trees: 20}
"""
"""Keys of small campaigns with all instruments, whatever they train."""

MINI = """
campaign: mini
plan: {runs: 3, replicates: 1, runs_per_recording: 3, seed: 3}
training: {train_images: 128}
""" + REST.lstrip("\n")


@dataclass
class Campaign:
    """A working folder in which a campaign lies."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results" / "mini"

    def snakemake(self, *arguments: str, config: str = MINI) -> subprocess.CompletedProcess[str]:
        (self.folder / "mini.yaml").write_text(config, encoding="utf-8")
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment(),
        )

    def command(self, *arguments: str) -> list[str]:
        base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        return [*base, "--configfile", "mini.yaml", "--cores", "2", *arguments]

    @staticmethod
    def environment() -> dict[str, str]:
        return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
