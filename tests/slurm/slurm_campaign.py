"""A small campaign in a folder of its own, sent through Slurm as a user would."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from wattproof.recorder import read_stream

ROOT = Path(__file__).resolve().parents[2]

MINI = """
campaign: mini
node: {overrides: {gpu: {count: 4}}}
plan: {runs: 8, runs_per_recording: 4, seed: 3, setting: packed, recipe: {epochs: [4]}}
training: {train_images: 128}
calibration: {idle_s: 2, load_s: 2, repeats: 1}
sources:
  nvml: {}
  rapl: {}
  host: {}
  meter: {driver: lmg450}
cluster: {analysis: local}
analysis: {min_samples: 3, min_confidence: 0.3}
surrogate: {folds: 2, trees: 20}
"""

QUICK = ("--slurm-init-seconds-before-status-checks", "1")
"""A status check each second: the profile's 60 s are for recordings of an hour."""


@dataclass
class SlurmCampaign:
    """A working folder in which a campaign lies."""

    folder: Path
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def results(self) -> Path:
        return self.folder / "results" / "mini"

    @property
    def log(self) -> str:
        """What the workflows have printed so far."""
        path = self.folder / "snakemake.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def start(self, *arguments: str, config: str = MINI) -> "subprocess.Popen[bytes]":
        """Start the workflow with profile ``slurm``, from the repository's root, as documented."""
        command = [sys.executable, "-m", "snakemake", "--profile", "slurm"]
        command += self._arguments(config, arguments)
        with (self.folder / "snakemake.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=environment(),
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def _arguments(self, config: str, arguments: tuple[str, ...]) -> list[str]:
        file = self.folder / "mini.yaml"
        file.write_text(config, encoding="utf-8")
        place = ["--configfile", str(file), "--directory", str(self.folder)]
        return [*arguments, *QUICK, *place]

    def sbatch(self, *arguments: str, config: str = MINI) -> str:
        """Submit the whole workflow as a batch job, as documented; return the job's number."""
        command = ["sbatch", "--parsable", f"--output={self.folder}/workflow.log"]
        command += ["profiles/slurm/workflow.sbatch", *self._arguments(config, arguments)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def run(self, *arguments: str, config: str = MINI, seconds: float = 600) -> None:
        """Run the workflow to its end, which must be a good one."""
        code = self.start(*arguments, config=config).wait(timeout=seconds)
        assert code == 0, self.log[-6000:]

    def end(self) -> None:
        """Interrupt workflows that still run; they cancel their jobs."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def finished_runs(self, recording: str) -> dict[str, tuple[int, int]]:
        """Result files of a recording's runs: inode and time of writing."""
        files = (self.results / "raw" / recording / "runs").glob("*.json")
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    def run_ids(self, recording: str) -> set[str]:
        """Runs that a recording has finished."""
        return {name.removesuffix(".json") for name in self.finished_runs(recording)}

    def trainings(self, recording: str) -> list[dict[str, object]]:
        """Results of a recording's trainings, loads apart."""
        files = sorted((self.results / "raw" / recording / "runs").glob("*.json"))
        results = [json.loads(path.read_text(encoding="utf-8")) for path in files]
        return [result for result in results if result["setting"] != "calibration"]

    def on_disk(self, recording: str) -> dict[tuple[int, str], int]:
        """Samples in a recording's streams now, by session and source."""
        found: dict[tuple[int, str], int] = defaultdict(int)
        for path in (self.results / "raw" / recording).glob("session-*/streams/*.arrows"):
            session = int(path.parts[-3].removeprefix("session-"))
            source = path.stem.split(".")[0].split("@")[0]
            found[session, source] += read_stream(path)[0].num_rows
        return dict(found)


def environment() -> dict[str, str]:
    """Environment of a user who has activated the virtual environment; jobs inherit it."""
    usual = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "SLURM_"))}
    return usual | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@dataclass(frozen=True)
class Training:
    """A training process as it was seen at work."""

    run_id: str
    node: str
    job: str
    devices: str


class Watch(threading.Thread):
    """Looks at a campaign's training processes on this machine until it is left."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder = str(folder)
        self.seen: set[Training] = set()
        self.together: list[set[Training]] = []
        self._stop_it = threading.Event()

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_it.set()
        self.join()

    def run(self) -> None:
        while not self._stop_it.wait(0.3):
            found = (_training(p, self._folder) for p in psutil.process_iter(["cmdline"]))
            now = {training for training in found if training is not None}
            self.seen |= now
            self.together.append(now)


def _training(process: psutil.Process, folder: str) -> Training | None:
    words = process.info["cmdline"] or []
    if "wattproof.training" not in words:
        return None
    try:
        around = process.environ()
        if process.cwd() != folder:
            return None
    except psutil.Error:
        return None  # it has ended
    return Training(
        Path(words[-1]).parent.name,
        around.get("SLURMD_NODENAME", ""),
        around.get("SLURM_JOB_ID", ""),
        around.get("CUDA_VISIBLE_DEVICES", ""),
    )
