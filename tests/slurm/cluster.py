"""A real Slurm on this machine: one controller, several nodes with four GPU slots each.

    sudo python tests/slurm/cluster.py start --nodes 3    then `snakemake --profile slurm …`
    sudo python tests/slurm/cluster.py stop

Its configuration lies in Slurm's own folder, because snakemake's plugin takes ``SLURM_CONF`` away
from the jobs; what was there is put back at the end. A Slurm of somebody else is never touched.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ETC = Path("/etc/slurm")
RUN = Path("/run/wattproof-slurm")
"""Keys, state, logs, device files; nothing outlives `stop`."""
LOCK = Path("/run/lock/wattproof-slurm-tests.lock")
MARKER = "# Written by wattproof's tests/slurm/cluster.py."
SAVED = ".before-wattproof"
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
CONTROLLER_PORT, FIRST_NODE_PORT = 16817, 17001
CORES, MEMORY_MB = 8, 16000
"""What a node claims to have, whatever the machine has (``config_overrides``)."""

SLURM_CONF = """{marker}
ClusterName=wattproof
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={run}/munge.socket
CredType=cred/munge
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool-%n
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd-%n.pid
SlurmctldLogFile={run}/slurmctld.log
SlurmdLogFile={run}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmctldTimeout=20
SlurmdTimeout=10
KillWait=5
OverTimeLimit=0
MinJobAge=3600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_min_interval=0,sched_interval=1,bf_interval=1,batch_sched_delay=0
GresTypes=gpu
NodeName=n[1-{nodes}] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{last}] \
CPUs={cores} Boards=1 SocketsPerBoard=1 CoresPerSocket={cores} ThreadsPerCore=1 \
RealMemory={memory} Gres=gpu:h100:{slots} State=UNKNOWN
PartitionName=gpu Nodes=n[1-{nodes}] Default=YES MaxTime=INFINITE PriorityTier=1 OverSubscribe=NO
PartitionName=urgent Nodes=n[1-{nodes}] MaxTime=INFINITE PriorityTier=10 OverSubscribe=NO
"""

GRES_CONF = """{marker}
AutoDetect=off
NodeName=n[1-{nodes}] Name=gpu Type=h100 File={run}/nvidia[0-{last_slot}]
"""


class NotHereError(Exception):
    """This machine cannot have the test Slurm; the message says why, in one sentence."""


@contextlib.contextmanager
def alone(wait: bool) -> Iterator[None]:
    """Have this machine's test Slurm to oneself.

    Raises:
        NotHereError: Others use it, and waiting was not asked for.
    """
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise NotHereError("tests use it at this moment; try again later") from error
        yield


def _is_ours(path: Path) -> bool:
    return path.read_text(encoding="utf-8", errors="replace").startswith(MARKER)


def check() -> None:
    """Refuse to touch a Slurm that is not ours, or a machine where nothing can be installed.

    Raises:
        NotHereError: Somebody else's Slurm is configured or runs here, or root is missing.
    """
    if os.geteuid() != 0:
        raise NotHereError("starting a Slurm needs root")
    conf = ETC / "slurm.conf"
    if conf.exists() and not _is_ours(conf):
        raise NotHereError(f"{conf} belongs to a Slurm of somebody else")
    ours = _ours()
    for pid, name in _daemons():
        if pid not in ours:
            raise NotHereError(f"a {name} that is not ours runs here (process {pid})")


def _daemons() -> Iterator[tuple[int, str]]:
    """Slurm daemons on this machine: process and name."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text(encoding="utf-8").strip()
        except OSError:
            continue  # it has ended
        if name in ("slurmctld", "slurmd") and _lives(int(folder.name)):
            yield int(folder.name), name


def _pids() -> Iterator[int]:
    """Processes of our daemons, by their pid files."""
    for path in RUN.glob("*.pid"):
        with contextlib.suppress(FileNotFoundError):  # a daemon that ends removes its file
            text = path.read_text(encoding="utf-8").strip()
            if text.isdecimal() and Path(f"/proc/{text}").exists():
                yield int(text)


def _ours() -> set[int]:
    """Our daemons and their helpers: by pid file, or because they have a file of ours open."""
    found = set(_pids())
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if not (folder / "comm").read_text(encoding="utf-8").startswith("slurm"):
                continue
            if any(os.readlink(path).startswith(f"{RUN}/") for path in (folder / "fd").iterdir()):
                found.add(int(folder.name))
    return found


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait for something that must come true; say what if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.1)


@dataclass(frozen=True)
class Cluster:
    """The running test Slurm.

    Attributes:
        nodes: How many; they are called n1, n2, …
        slots: GPUs of each.
    """

    nodes: int = 3
    slots: int = 4

    @property
    def names(self) -> list[str]:
        """Names of the nodes."""
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    def start(self) -> None:
        """Start munge, the controller and all nodes; return when the nodes are idle."""
        check()
        stop()
        RUN.mkdir(mode=0o755)
        try:
            self._configure()
            _start_munge()
            _run("slurmctld", "-c")
            for name in self.names:
                self.start_node(name)
            self.wait_idle()
        except BaseException:
            stop()
            raise

    def _configure(self) -> None:
        for slot in range(self.slots):
            # Slurm sets CUDA_VISIBLE_DEVICES for character devices only; nobody opens these.
            try:
                os.mknod(RUN / f"nvidia{slot}", stat.S_IFCHR | 0o666, os.makedev(195, slot))
            except OSError as error:
                raise NotHereError(f"device files cannot be made here ({error})") from error
        (RUN / "state").mkdir()
        values = {
            "marker": MARKER,
            "host": socket.gethostname().split(".")[0],
            "port": CONTROLLER_PORT,
            "first": FIRST_NODE_PORT,
            "last": FIRST_NODE_PORT + self.nodes - 1,
            "nodes": self.nodes,
            "slots": self.slots,
            "last_slot": self.slots - 1,
            "cores": CORES,
            "memory": MEMORY_MB,
            "run": RUN,
        }
        ETC.mkdir(exist_ok=True)
        for name in FILES:
            path = ETC / name
            if path.exists() and not _is_ours(path):
                path.rename(path.with_name(name + SAVED))
        (ETC / "slurm.conf").write_text(SLURM_CONF.format(**values), encoding="utf-8")
        (ETC / "gres.conf").write_text(GRES_CONF.format(**values), encoding="utf-8")

    def start_node(self, name: str) -> None:
        """Start a node's daemon."""
        _run("slurmd", "-N", name)

    def kill_node(self, name: str) -> None:
        """Let a node die: its daemon and everything that Slurm had started on it, at once."""
        # The daemon first, so that it cannot report anything; again, for what was forked meanwhile.
        _kill(int((RUN / f"slurmd-{name}.pid").read_text(encoding="utf-8")))
        wait_until(lambda: not _kill_all(_of_node(name)), f"processes of {name} are gone", 10)

    def revive(self) -> None:
        """Start dead nodes again and wait until all are idle."""
        for name in self.names:
            path = RUN / f"slurmd-{name}.pid"
            text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
            if not text or not Path(f"/proc/{text}").exists():
                self.start_node(name)
        self.wait_idle()

    def wait_idle(self, seconds: float = 60) -> None:
        """Wait until all nodes are up and nothing runs on them."""

        def idle() -> bool:
            states = _run("sinfo", "--noheader", "--Node", "--format=%T", check=False).split()
            return bool(states) and set(states) == {"idle"}

        wait_until(idle, "all nodes are idle", seconds)

    def jobs(self, *options: str) -> dict[str, dict[str, str]]:
        """Jobs that Slurm knows, finished ones too: by id, comment (rule), state and node."""
        form = "--format=%i|%k|%T|%N|%r"
        found = {}
        for line in _run("squeue", "--noheader", "--states=all", form, *options).splitlines():
            number, comment, state, node, reason = line.strip().split("|")
            found[number] = {"comment": comment, "state": state, "node": node, "reason": reason}
        return found


def _of_node(name: str) -> list[int]:
    """Processes of a node: what holds its log open (daemons), and what it started for jobs."""
    variable = f"SLURMD_NODENAME={name}".encode()
    log = str(RUN / f"slurmd-{name}.log")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            named = variable in (folder / "environ").read_bytes().split(b"\0")
            if named or log in [os.readlink(path) for path in (folder / "fd").iterdir()]:
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended
    return found


def _of_jobs() -> list[int]:
    """Processes that our jobs have started, on whichever node."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"SLURM_CLUSTER_NAME=wattproof" in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _lives(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _kill_all(pids: list[int]) -> list[int]:
    for pid in pids:
        _kill(pid)
    return pids


def _start_munge() -> None:
    key = RUN / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    options = [f"--key-file={key}", f"--socket={RUN}/munge.socket", f"--pid-file={RUN}/munged.pid"]
    options += [f"--log-file={RUN}/munged.log", f"--seed-file={RUN}/munged.seed"]
    _run("munged", "--force", *options)
    wait_until(lambda: (RUN / "munge.socket").exists(), "munge answers", 10)


def stop() -> None:
    """End all jobs and daemons of our Slurm, put back what was configured before."""
    # By number: a daemon removes its pid file some time before it has ended.
    daemons = _ours()
    for pid in daemons:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 5
    while any(_lives(pid) for pid in daemons) and time.monotonic() < deadline:
        time.sleep(0.1)
    _kill_all([*daemons, *_of_jobs()])
    wait_until(lambda: not any(_lives(pid) for pid in daemons), "our daemons have ended", 10)
    for name in FILES:
        path, saved = ETC / name, ETC / (name + SAVED)
        if path.exists() and _is_ours(path):
            path.unlink()
        if saved.exists():
            saved.rename(path)
    shutil.rmtree(RUN, ignore_errors=True)


def install() -> None:
    """Install Debian's packages where they are missing.

    Raises:
        NotHereError: They are missing and cannot be installed.
    """
    script = Path(__file__).with_name("install.sh")
    done = subprocess.run([script], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise NotHereError(f"Slurm is missing and was not installed: {last[-1]}")


def main() -> None:
    """Start or stop the Slurm from a shell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("start", "stop"))
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--slots", type=int, default=4, help="GPUs of each node")
    given = parser.parse_args()
    try:
        check()
        with alone(wait=False):
            if given.what == "stop":
                stop()
            else:
                install()
                Cluster(given.nodes, given.slots).start()
    except (NotHereError, RuntimeError) as error:
        sys.exit(f"slurm: {error}")


if __name__ == "__main__":
    main()
