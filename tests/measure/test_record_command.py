"""The command that is measured, without instruments: exit codes, signals, terminal."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from record_process import on_terminal

from wattproof.measure import command as commands
from wattproof.measure.command import CommandError
from wattproof.measure.signals import Signals

HARNESS = """
import os, sys, json, time
from wattproof.measure import command, signals
caught = signals.Signals()
with caught.caught():
    process = command.start(sys.argv[1:], os.environ)
    ended = command.wait(process, caught, lambda: None)
    caught.sleep(0.01, lambda: None)
print(json.dumps({"code": ended.exit_code, "signal": ended.signal, "cpu_s": ended.cpu_s,
                  "ending": [s.name for s in caught.ending]}))
"""

COUNTING = """
import signal, sys, time
seen = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
    signal.signal(number, lambda n, _f: seen.append(signal.Signals(n).name))
print("ready", flush=True)
end = time.monotonic() + 20
while not seen and time.monotonic() < end:
    time.sleep(0.02)
time.sleep(0.4)
print("seen", *seen, flush=True)
sys.exit(9)
"""


def run(code: list[str]) -> dict[str, object]:
    with Signals().caught() as caught:
        ended = commands.wait(commands.start(code, os.environ), caught, lambda: None)
    return {"code": ended.exit_code, "signal": ended.signal, "cpu_s": ended.cpu_s}


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_exit_code_is_passed_through(code: int) -> None:
    assert run(["sh", "-c", f"exit {code}"])["code"] == code


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "INT"])
def test_a_signal_that_ended_it_is_told_as_shells_do(name: str) -> None:
    found = run(["sh", "-c", f"kill -{name} $$"])
    number = signal.Signals[f"SIG{name}"]
    assert found["code"] == 128 + number
    assert found["signal"] == f"SIG{name}"


def test_cpu_time_is_that_of_the_command_and_its_children() -> None:
    busy = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    found = run(["sh", "-c", f"{sys.executable} -c '{busy}'"])
    assert 0.3 <= float(str(found["cpu_s"])) < 2.0


def test_its_end_is_noticed_at_once() -> None:
    delays = []
    with Signals().caught() as caught:
        for _ in range(9):
            code = ["sh", "-c", "sleep 0.05; date +%s.%N"]
            process = subprocess.Popen(code, stdout=subprocess.PIPE)
            commands.wait(process, caught, lambda: None)
            now = time.time()
            assert process.stdout is not None
            delays.append(now - float(process.stdout.read()))
    # Polling alone would need 0.1 s on average.
    assert statistics.median(delays) < 0.08


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"])
def test_a_signal_sent_to_us_alone_is_passed_on_once(name: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HARNESS, sys.executable, "-c", COUNTING],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.Signals[name])
    lines = process.communicate(timeout=30)[0].splitlines()
    assert lines[0] == f"seen {name}"
    found = json.loads(lines[1])
    assert found["code"] == 9
    assert found["ending"] == ([] if name == "SIGUSR1" else [name])


def test_ctrl_c_at_a_terminal_reaches_the_command_once(tmp_path: Path) -> None:
    code, output = on_terminal(
        [sys.executable, "-c", HARNESS, sys.executable, "-c", COUNTING],
        [(b"ready", b"\x03")],
        tmp_path,
    )
    assert "seen SIGINT\r\n" in output
    assert '"code": 9' in output
    assert code == 0


def test_what_was_ignored_stays_ignored() -> None:
    """`nohup wattproof record …`: neither we nor the command end with the terminal."""
    ignores = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    script = f'trap "" HUP; exec "$0" -c "$1" "$0" -c "{ignores}"'
    found = subprocess.run(
        ["sh", "-c", script, sys.executable, HARNESS], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[0] == "True"


def test_the_command_inherits_no_mask_and_no_file_of_ours() -> None:
    code = (
        "import os, signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []), "
        "sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    )
    found = subprocess.run(
        [sys.executable, "-c", HARNESS, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines()[0] == "set() [0, 1, 2]"


def test_files_that_we_were_given_are_the_commands_too() -> None:
    script = '"$0" -c "$1" cat <(echo handed on)'
    found = subprocess.run(
        ["bash", "-c", script, sys.executable, HARNESS], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[0] == "handed on"


@pytest.mark.parametrize(
    ("name", "content", "mode", "code", "words"),
    [
        ("absent", None, 0, 127, "was not found in PATH"),
        ("./absent", None, 0, 127, "There is no file"),
        ("./text", "hello", 0o644, 126, "chmod +x"),
        ("./plain", "echo hello\n", 0o755, 126, "sh ./plain"),
        ("./orphan", "#!/no/such/interpreter\n", 0o755, 126, "interpreter that is not there"),
        ("/", None, 0, 126, "is a folder"),
    ],
)
def test_what_cannot_be_started_is_said_as_shells_say_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: str | None,
    mode: int,
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        path.chmod(mode)
    with pytest.raises(CommandError) as caught:
        _checked_start(name)
    assert caught.value.exit_code == code
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def _checked_start(name: str) -> None:
    commands.check([name])
    commands.start([name], os.environ)


def test_sleeping_ends_with_a_signal_to_end_only() -> None:
    with Signals().caught() as caught:
        begun = time.monotonic()
        signal.raise_signal(signal.SIGUSR1)
        assert not caught.sleep(0.15, lambda: None)
        assert time.monotonic() - begun >= 0.15
        subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -INT {os.getpid()}"])
        assert caught.sleep(20.0, lambda: None)
        assert caught.ending == [signal.SIGINT]
