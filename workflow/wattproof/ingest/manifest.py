"""The manifest of an audit: which files there are, and what each of them is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattproof import config
from wattproof.errors import WattproofError, did_you_mean
from wattproof.ingest.base import Log

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": ["number", "null"]}

WINDOW = {
    "type": "object",
    "additionalProperties": False,
    "required": ["run_id", "start", "end"],
    "properties": {
        "level": {"enum": ["run", "epoch", "load"], "default": "run"},
        "kind": {"enum": ["run", "epoch", "idle", "prime", "stress", "gpu", "load"]},
        "run_id": _TEXT,
        "epoch": {"type": ["integer", "null"], "default": None},
        # A number of seconds since 1970, or a date with its zone; YAML makes a date of some.
        "start": {},
        "end": {},
    },
}

PUBLISHED = {
    "type": "object",
    "additionalProperties": False,
    "required": ["channel", "rule"],
    "properties": {
        "run_id": {"type": ["string", "null"], "default": None},
        "channel": _TEXT,
        "rule": {"enum": ["mean_power", "mlperf_inference", "energy"]},
        "mean_w": _NUMBER,
        "energy_j": _NUMBER,
        "tolerance": {"type": "number", "exclusiveMinimum": 0, "default": 0.001},
        "text": _TEXT,
    },
}

_NAME: dict[str, Any] = {"type": ["string", "null"], "default": None}
_NAMES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "default": {},
}

BENCHMARK: dict[str, Any] = {
    "type": ["object", "null"],
    "default": None,
    "additionalProperties": False,
    "required": ["set", "space", "energy", "accuracy"],
    "properties": {
        "set": _TEXT,
        "space": _TEXT,
        "resolution": {"type": "integer", "minimum": 1, "default": 32},
        "classes": {"type": "integer", "minimum": 2, "default": 10},
        # Columns of the rows (they must stand in reported.config): each parameter of the space …
        "parameters": _NAMES,
        # … or, for cells: a matrix as digits, and operations with spaces between them.
        "cell": {
            "type": ["object", "null"],
            "default": None,
            "additionalProperties": False,
            "required": ["edges", "ops"],
            "properties": {"edges": _TEXT, "ops": _TEXT},
        },
        # Published costs that the networks must have: macs, params, activations.
        "costs": _NAMES,
        # Channels of the figures.
        "energy": _TEXT,
        "gpu_energy": _NAME,
        # Columns of reported.metric.
        "accuracy": _TEXT,
        "test_accuracy": _NAME,
        # A column of reported.config: energy so far after some epochs, "0:0.1;1:0.4;36:11.3".
        "points": _NAME,
        # Keys of a campaign's surrogate.
        "surrogate": {"type": "object", "default": {}},
    },
}
"""How the rows of a set become a benchmark."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["audit", "sets"],
    "properties": {
        "audit": {"type": "string", "pattern": NAME},
        "results": {"type": "string", "default": "results"},
        "origin": {"type": "string", "default": ""},
        "licence": {"type": "string", "default": ""},
        "analysis": {"type": "object", "default": {}},
        "benchmark": BENCHMARK,
        "sets": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": NAME},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["logs"],
                "properties": {
                    "reference": {
                        "type": ["object", "null"],
                        "default": None,
                        "additionalProperties": False,
                        "required": ["channel"],
                        "properties": {"source": _TEXT, "channel": _TEXT},
                    },
                    "logs": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["format", "path"],
                            "properties": {
                                "format": _TEXT,
                                "path": _TEXT,
                                "clock": {"type": "string", "default": "log"},
                                "main": {"type": "boolean", "default": False},
                            },
                        },
                    },
                    "windows": {"type": "array", "items": WINDOW, "default": []},
                    "published": {"type": "array", "items": PUBLISHED, "default": []},
                },
            },
        },
    },
}


@dataclass(frozen=True)
class Set:
    """One set of logs: it becomes a folder of tables.

    Attributes:
        name: Its name.
        logs: ``(format, log)``; settings are not checked yet (that is the reader's).
        reference: ``{"source", "channel"}`` of what is taken as truth; None: by kind of instrument.
        windows: Marks that no log has.
        published: Figures to reproduce.
    """

    name: str
    logs: tuple[tuple[str, Log], ...]
    reference: dict[str, str] | None = None
    windows: tuple[dict[str, Any], ...] = ()
    published: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Manifest:
    """A manifest, checked.

    Attributes:
        path: The file.
        name: Name of the audit.
        results: Folder that its outputs' folder lies in.
        sets: The sets by name.
        origin: Who recorded the data.
        licence: Its licence.
        analysis: Keys of a campaign's ``analysis``.
        benchmark: How the rows of a set become a benchmark, see `BENCHMARK`; None: they do not.
    """

    path: Path
    name: str
    results: str
    sets: dict[str, Set]
    origin: str = ""
    licence: str = ""
    analysis: dict[str, Any] = field(default_factory=dict)
    benchmark: dict[str, Any] | None = None

    def files(self, name: str) -> list[Path]:
        """All files of a set, sorted: what its tables are made from."""
        found: set[Path] = {self.path}
        for _, log in self.sets[name].logs:
            if log.path.is_dir():
                found |= {path for path in log.path.rglob("*") if path.is_file()}
            else:
                found.add(log.path)
        return sorted(found)


def _log(name: str, entry: dict[str, Any], folder: Path, main: bool) -> Log:
    known = ("format", "path", "clock", "main")
    path = Path(entry["path"])
    return Log(
        recording=name,
        path=(path if path.is_absolute() else folder / path).resolve(),
        shown=entry["path"],
        settings={key: value for key, value in entry.items() if key not in known},
        clock=entry.get("clock", "log"),
        main=main,
    )


def _set(name: str, entry: dict[str, Any], folder: Path, file: str) -> Set:
    logs = entry["logs"]
    chosen = [log for log in logs if log.get("main")]
    clocks = {log.get("clock", "log") for log in chosen}
    if len(clocks) > 1:
        raise WattproofError(
            f"{file}: set '{name}' has {len(clocks)} main clocks ({', '.join(sorted(clocks))}); "
            "leave main: true with one."
        )
    main = clocks.pop() if clocks else logs[0].get("clock", "log")
    made = []
    for log in logs:
        made.append((log["format"], _log(name, log, folder, log.get("clock", "log") == main)))
        if not made[-1][1].path.exists():
            raise WattproofError(
                f"{file}: set '{name}' names {log['path']}, which does not exist; "
                "paths are relative to the manifest."
            )
    return Set(
        name, tuple(made), entry["reference"], tuple(entry["windows"]), tuple(entry["published"])
    )


def parse(document: dict[str, Any], path: Path) -> Manifest:
    """Check a manifest that was read.

    Args:
        document: Its keys and values.
        path: Its file; paths in it are relative to the file's folder.

    Raises:
        WattproofError: One sentence with file, key and remedy, for the first mistake.
    """
    checked = config.validate(document, SCHEMA, str(path))
    folder = path.resolve().parent
    sets: dict[str, Set] = {}
    for name, entry in checked["sets"].items():
        # Defaults inside a free-named group are not filled in by the schema.
        part = config.validate(
            entry, SCHEMA["properties"]["sets"]["additionalProperties"], str(path), f"sets.{name}"
        )
        part["windows"] = [
            config.validate(w, WINDOW, str(path), f"sets.{name}.windows") for w in part["windows"]
        ]
        part["published"] = [
            config.validate(p, PUBLISHED, str(path), f"sets.{name}.published")
            for p in part["published"]
        ]
        sets[name] = _set(name, part, folder, str(path))
    return Manifest(
        path,
        checked["audit"],
        checked["results"],
        sets,
        checked["origin"],
        checked["licence"],
        checked["analysis"],
        _benchmark(checked["benchmark"], sets, str(path)),
    )


def _benchmark(
    asked: dict[str, Any] | None, sets: dict[str, Set], file: str
) -> dict[str, Any] | None:
    """Check the key ``benchmark``: its set is there, and one thing says what the networks are."""
    if asked is None:
        return None
    if asked["set"] not in sets:
        raise WattproofError(
            f"{file}: benchmark.set is '{asked['set']}', but there is no such set."
            f"{did_you_mean(asked['set'], sets)} Correct it."
        )
    if (asked["cell"] is None) == (not asked["parameters"]):
        raise WattproofError(
            f"{file}: benchmark needs either 'parameters' or 'cell', to say which network a row is "
            "of; give one of them."
        )
    return asked


def _check_keys(path: str | Path) -> None:
    """Refuse a key that stands twice in one group: YAML would take the last one silently.

    Raises:
        WattproofError: There is one.
    """
    import yaml

    root = yaml.compose(Path(path).read_text(encoding="utf-8"), yaml.SafeLoader)
    todo, seen = [root], set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            todo.append(value)
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise WattproofError(
                    f"{path}: key '{key.value}' stands twice in one group, in lines "
                    f"{lines[key.value]} and {line}; remove one of them."
                )
            lines[key.value] = line


def read(path: str | Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        WattproofError: It is missing, no YAML, or has a mistake; one sentence.
    """
    try:
        document = config.read_yaml(path)
        _check_keys(path)
    except UnicodeDecodeError as error:
        raise WattproofError(
            f"{path} is not a text file; give the manifest of an audit."
        ) from error
    except OSError as error:
        raise WattproofError(f"{path} cannot be read ({error.strerror}).") from error
    if "audit" not in document:
        raise WattproofError(
            f"{path}: key 'audit' is missing, so this is no manifest; "
            "draft one with 'wattproof audit --init FILES'."
        )
    return parse(document, Path(path))
