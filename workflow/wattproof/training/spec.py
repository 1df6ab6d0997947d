"""What the training process is told (SPEC.json) and what it leaves behind (the result file)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattproof import space
from wattproof.errors import WattproofError, did_you_mean
from wattproof.space import Complexity, Network
from wattproof.training import datasets, loads
from wattproof.training.schedule import POLICIES

DEVICES = ("auto", "cpu", "cuda")
FEEDS = ("device", "loader")
OPTIMIZERS = ("adam", "adamw", "sgd")

_TEXT, _WHOLE, _NUMBER = "text", "a whole number", "a number"
_KINDS: dict[str, tuple[type, ...]] = {_TEXT: (str,), _WHOLE: (int,), _NUMBER: (int, float)}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Training parameters of a configuration.

    Attributes:
        lr: Learning rate of the first epoch.
        optimizer: sgd, adam or adamw.
        policy: Learning-rate schedule, see `schedule.learning_rate`.
        cutout: Side of the hidden square in pixels; 0 = none.
        batch_size: Images of a step.
        epochs: Epochs of the schedule.
    """

    lr: float
    optimizer: str
    policy: str
    cutout: int
    batch_size: int
    epochs: int


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """A training: the network, how it is trained, and on what.

    Attributes:
        network: What is built.
        recipe: How it is trained.
        dataset: Name of the data set.
        data_dir: Folder of its files; None = where Debian puts them.
        train_images: Images of an epoch; None = all that validation and test leave.
        time_limit_s: A longer run ends as failed.
        shorten: So many times fewer epochs are done, see `schedule.kept_epochs`.
        feed: How batches come to the device, see `feed`: device or loader.
        workers: Processes that prepare batches of a loader.
        cache_dir: Where decoded data sets are kept; None = the user's cache.
    """

    network: Network
    recipe: Recipe
    dataset: str
    data_dir: str | None
    train_images: int | None
    time_limit_s: float
    shorten: int = 1
    feed: str = "device"
    workers: int = 0
    cache_dir: str | None = None


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """A calibration load: its kind (see `loads`) and its length in seconds."""

    load: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Spec:
    """One run.

    Attributes:
        run_id: Unique in the campaign.
        setting: single, packed, ddp or calibration.
        seed: Of weights, order and augmentation, or of the synchronisation pattern.
        slot: Index of the slot.
        threads: CPU threads of a training.
        marks: File to append marks to.
        result: File to write the result to.
        activity: The virtual node's activity file; None on a real node.
        device: auto, cpu or cuda.
        work: What is done.
    """

    run_id: str
    setting: str
    seed: int
    slot: int
    threads: int
    marks: str
    result: str
    activity: str | None
    device: str
    work: TrainSpec | LoadSpec


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; the fields are columns of table ``runs``.

    Attributes:
        status: ok or failed.
        reason: Why it failed; empty if it did not.
        epochs: Finished epochs.
        duration_s: From run_begin to run_end; None if it never began.
        val_accuracy: Of the last finished epoch, 0 to 1.
        test_accuracy: At the end of the run, 0 to 1.
        complexity: Costs of the network; None for loads.
    """

    status: str
    reason: str = ""
    epochs: int = 0
    duration_s: float | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    complexity: Complexity | None = None


def write_result(spec: Spec, outcome: Outcome) -> None:
    """Write the result file atomically: it is whole, or it is not there."""
    costs = outcome.complexity
    content = {
        "run_id": spec.run_id,
        "setting": spec.setting,
        "slot": spec.slot,
        "status": outcome.status,
        "reason": outcome.reason,
        "epochs": outcome.epochs,
        "duration_s": outcome.duration_s,
        "val_accuracy": outcome.val_accuracy,
        "test_accuracy": outcome.test_accuracy,
        "macs": None if costs is None else costs.macs,
        "params": None if costs is None else costs.params,
        "activations": None if costs is None else costs.activations,
    }
    path = Path(spec.result)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def read_spec(path: str | os.PathLike[str]) -> Spec:
    """Read and check a spec; costs no torch.

    Raises:
        WattproofError: One sentence with file, key and remedy.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise WattproofError(
            f"Spec {path} cannot be read: {error.strerror}; give the path of a JSON file."
        ) from error
    except ValueError as error:
        raise WattproofError(f"Spec {path} is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise WattproofError(f"Spec {path} must hold a JSON object.")
    try:
        return parse_spec(document)
    except WattproofError as error:
        raise WattproofError(f"Spec {path}: {error}") from error


def parse_spec(document: Mapping[str, Any]) -> Spec:
    """Check a spec and turn it into a `Spec`.

    Raises:
        WattproofError: One sentence with key and remedy, for the first mistake.
    """
    kind = _choice(document, "kind", ("load", "train"))
    work: TrainSpec | LoadSpec
    if kind == "train":
        work = _parse_training(document)
    else:
        seconds = float(_get(document, "seconds", _NUMBER, least=0))
        work = LoadSpec(_choice(document, "load", loads.KINDS), seconds)
    activity = document.get("activity")
    if activity is not None and not isinstance(activity, str):
        raise WattproofError(f"key 'activity' must be a path or null, but is {activity!r}.")
    return Spec(
        run_id=_get(document, "run_id", _TEXT),
        setting=_get(document, "setting", _TEXT),
        seed=_get(document, "seed", _WHOLE, least=0),
        slot=_get(document, "slot", _WHOLE, least=0),
        threads=_get(document.get("training") or {"threads": 1}, "threads", _WHOLE, least=1),
        marks=_get(document, "marks", _TEXT),
        result=_get(document, "result", _TEXT),
        activity=activity,
        device=_choice(document, "device", DEVICES),
        work=work,
    )


def parse_recipe(config: Mapping[str, Any]) -> Recipe:
    """Take the training parameters out of a configuration.

    Raises:
        WattproofError: One is missing or wrong.
    """
    return Recipe(
        lr=float(_get(config, "lr", _NUMBER, least=0)),
        optimizer=_choice(config, "optimizer", OPTIMIZERS),
        policy=_choice(config, "policy", POLICIES),
        cutout=_get(config, "cutout", _WHOLE, least=0),
        batch_size=_get(config, "batch_size", _WHOLE, least=2),
        epochs=_get(config, "epochs", _WHOLE, least=1),
    )


def _parse_training(document: Mapping[str, Any]) -> TrainSpec:
    training, config = document.get("training"), document.get("config")
    for key, group in (("training", training), ("config", config)):
        if not isinstance(group, dict):
            raise WattproofError(f"key '{key}' must be a group of keys, but is {group!r}.")
    assert isinstance(training, dict)
    assert isinstance(config, dict)
    data_dir, cache_dir = (training.get(key) for key in ("data_dir", "cache_dir"))
    for key, path in (("data_dir", data_dir), ("cache_dir", cache_dir)):
        if path is not None and not isinstance(path, str):
            raise WattproofError(f"key 'training.{key}' must be a path or null: {path!r}.")
    dataset = _get(training, "dataset", _TEXT)
    train_images = training.get("train_images")
    if train_images is not None:
        train_images = _get(training, "train_images", _WHOLE, least=1)
    # A configuration of a space that searches the way of feeding has its own.
    feed = _choice({"feed": "device", **training, **config}, "feed", FEEDS)
    datasets.check(dataset, data_dir, train_images)
    network = space.get(_get(document, "space", _TEXT)).realise(
        config,
        resolution=_get(training, "image_size", _WHOLE, least=8),
        classes=datasets.classes(dataset),
    )
    return TrainSpec(
        network=network,
        recipe=parse_recipe(config),
        dataset=dataset,
        data_dir=data_dir,
        train_images=train_images,
        time_limit_s=float(_get(training, "time_limit_s", _NUMBER, least=0)),
        shorten=_get({"shorten": 1, **training}, "shorten", _WHOLE, least=1),
        feed=feed,
        workers=_get({"workers": 0, **training}, "workers", _WHOLE, least=0),
        cache_dir=cache_dir,
    )


def _get(group: Mapping[str, Any], key: str, kind: str, least: float | None = None) -> Any:
    if key not in group:
        raise WattproofError(f"key '{key}' is missing; add it.")
    value = group[key]
    if kind == _WHOLE and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, _KINDS[kind]) or isinstance(value, bool):
        raise WattproofError(f"key '{key}' must be {kind}, but is {value!r}; correct it.")
    # "not at least" rather than "less than": JSON as Python reads it knows NaN.
    if isinstance(value, int | float) and least is not None and not value >= least:
        raise WattproofError(f"key '{key}' must be at least {least}, but is {value!r}; raise it.")
    return value


def _choice(group: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    value: str = _get(group, key, _TEXT)
    if value not in known:
        raise WattproofError(
            f"key '{key}' is {value!r}, which is none of {', '.join(known)}."
            f"{did_you_mean(value, known)}"
        )
    return value
