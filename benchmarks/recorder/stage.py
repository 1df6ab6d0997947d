"""Starting the tools' processes together, and the environment of the peers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ours import LEAD_NS
from scenario import CHAINS, Scenario
from stub_nvml import PowerScript, StubDriver

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS_VENV = ROOT / "build" / "peers-venv"
READY_S = 90.0
START_AFTER_S = 1.0


def peers_python() -> Path:
    """Return the interpreter of the peers' environment; make it if need be.

    Raises:
        SystemExit: If pip cannot install them (no network).
    """
    python = PEERS_VENV / "bin" / "python"
    wanted = (HERE / "peers.txt").read_text(encoding="utf-8")
    stamp = PEERS_VENV / "installed.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"Installing the peers into {PEERS_VENV} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEERS_VENV)], check=True)
        command = [str(python), "-m", "pip", "install", "-q", "-r", str(HERE / "peers.txt")]
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit("The peers could not be installed from PyPI; is there a network?")
        stamp.write_text(wanted, encoding="utf-8")
    return python


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Burn so many cores while the block runs."""
    burners = [
        subprocess.Popen([sys.executable, str(HERE / "busy.py")], stdin=subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        yield
    finally:
        for burner in burners:
            assert burner.stdin is not None
            burner.stdin.close()
        for burner in burners:
            burner.wait(10)


class Worker:
    """A tool's process: start it, wait until it is ready, let it begin, take its result."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], folder: Path) -> None:
        self.name = name
        self.out = folder / f"{name}.json"
        self._log = (folder / f"{name}.log").open("wb")
        self.process = subprocess.Popen(
            [word.replace("{out}", str(self.out)) for word in command],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def wait_ready(self) -> None:
        """Wait for its word; what else libraries print is passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
        self.fail()

    def begin(self, start_ns: int) -> None:
        """Tell it when the script starts."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{start_ns}\n")
        self.process.stdin.flush()

    def result(self, timeout_s: float) -> dict[str, Any]:
        """Wait for its end and return what it wrote."""
        self.last_words, _ = self.process.communicate(timeout=timeout_s)
        if self.process.returncode != 0:
            self.fail()
        if not self.out.exists():
            return {}
        found: dict[str, Any] = json.loads(self.out.read_text(encoding="utf-8"))
        return found

    def fail(self) -> None:
        """End the benchmark with what the process said last."""
        self.process.kill()
        self.process.wait()
        said = Path(self._log.name).read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"{self.name} failed:\n{said}")

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()


def our_env(driver: StubDriver, **more: str) -> dict[str, str]:
    """Environment of our own workers: they import their neighbours."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return {**driver.env, "PYTHONPATH": path, **more}


def play(
    driver: StubDriver, scenario: Scenario, folder: Path, names: list[str], burners: int
) -> tuple[PowerScript, int, dict[str, dict[str, Any]]]:
    """Let all tools measure one playing of the scenario, at the same time.

    Returns:
        The script as played, the end of the recording (monotonic ns), results by worker.
    """
    folder.mkdir(parents=True)
    plan = folder / "plan.json"
    scenario.save(plan)
    python = str(peers_python()) if names else ""
    peer = [python, str(HERE / "peer_worker.py")]
    commands = {
        "ours": [sys.executable, str(HERE / "our_worker.py"), str(plan), "{out}",
                 str(folder / "session")]
    }  # fmt: skip
    for name in names:
        if name == "codecarbon":
            for chain in range(CHAINS):
                commands[f"{name}-{chain}"] = [*peer, name, str(plan), "{out}", str(chain)]
        else:
            commands[name] = [*peer, name, str(plan), "{out}"]
    peers_env = {k: v for k, v in driver.env.items() if k != "PYTHONPATH"}
    workers: list[Worker] = []
    try:
        for name, command in commands.items():
            env = our_env(driver) if name == "ours" else peers_env
            workers.append(Worker(name, command, env, folder))
        for worker in workers:
            worker.wait_ready()
        with busy(burners):
            start_ns = time.monotonic_ns() + round(START_AFTER_S * 1e9)
            script = scenario.script(start_ns)
            for gpu in range(len(driver.gpus)):
                driver.play(gpu, script)
            for worker in workers:
                worker.begin(start_ns)
            limit_s = scenario.duration_s + READY_S
            results = {worker.name: worker.result(limit_s) for worker in workers}
    finally:
        for worker in workers:
            worker.close()
    return script, start_ns + round(scenario.duration_s * 1e9) - LEAD_NS, results
