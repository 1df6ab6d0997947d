"""What the training process is told (SPEC.json) and what it leaves behind (the result file)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattproof import space
from wattproof.errors import WattproofError
from wattproof.space import Complexity, Network
from wattproof.training import datasets, loads
from wattproof.training.checks import NUMBER, TEXT, WHOLE, choice, get
from wattproof.training.recipe import Recipe, parse_recipe

DEVICES = ("auto", "cpu", "cuda")
FEEDS = ("device", "loader")
DDP = "ddp"
"""Setting of runs that occupy several slots."""


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
    """A calibration load.

    Attributes:
        load: Its kind, see `loads`.
        seconds: Its length.
        program: What does the work of `stress`: own, or firestarter.
    """

    load: str
    seconds: float
    program: str = "own"


@dataclass(frozen=True, slots=True)
class Spec:
    """One run.

    Attributes:
        run_id: Unique in the campaign.
        setting: single, packed, ddp or calibration.
        seed: Of weights, order and augmentation, or of the synchronisation pattern.
        slot: Index of the slot; None for a run on all slots (ddp).
        slots: All slots of the run: device i of the process is ``slots[i]``.
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
    slot: int | None
    slots: tuple[int, ...]
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
    kind = choice(document, "kind", ("load", "train"))
    work: TrainSpec | LoadSpec
    if kind == "train":
        work = _parse_training(document)
    else:
        seconds = float(get(document, "seconds", NUMBER, least=0))
        program = choice({"program": "own", **document}, "program", ("own", "firestarter"))
        work = LoadSpec(choice(document, "load", loads.KINDS), seconds, program)
    activity = document.get("activity")
    if activity is not None and not isinstance(activity, str):
        raise WattproofError(f"key 'activity' must be a path or null, but is {activity!r}.")
    setting = get(document, "setting", TEXT)
    slot, slots = _parse_slots(document, setting)
    return Spec(
        run_id=get(document, "run_id", TEXT),
        setting=setting,
        seed=get(document, "seed", WHOLE, least=0),
        slot=slot,
        slots=slots,
        threads=get(document.get("training") or {"threads": 1}, "threads", WHOLE, least=1),
        marks=get(document, "marks", TEXT),
        result=get(document, "result", TEXT),
        activity=activity,
        device=choice(document, "device", DEVICES),
        work=work,
    )


def _parse_slots(document: Mapping[str, Any], setting: str) -> tuple[int | None, tuple[int, ...]]:
    """Return the slot of marks and results (None for ddp), and all slots of the run."""
    if document.get("slot", 0) is None and setting == DDP:
        slot = None
    else:
        slot = get(document, "slot", WHOLE, least=0)
    listed = document.get("slots", [0 if slot is None else slot])
    whole = isinstance(listed, list) and all(type(one) is int and one >= 0 for one in listed)
    if not whole or not listed or len(set(listed)) < len(listed):
        raise WattproofError(
            f"key 'slots' must list different whole numbers from 0, but is {listed!r}; correct it."
        )
    if setting != DDP and slot not in listed:
        raise WattproofError(f"key 'slots' must contain slot {slot}, but is {listed!r}; add it.")
    return None if setting == DDP else slot, tuple(listed)


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
    dataset = get(training, "dataset", TEXT)
    train_images = training.get("train_images")
    if train_images is not None:
        train_images = get(training, "train_images", WHOLE, least=1)
    # A configuration of a space that searches the way of feeding has its own.
    feed = choice({"feed": "device", **training, **config}, "feed", FEEDS)
    datasets.check(dataset, data_dir, train_images)
    # A configuration of a space that searches the resolution has its own.
    sized = (config, "resolution") if "resolution" in config else (training, "image_size")
    side = get(*sized, WHOLE, least=8)
    network = space.get(get(document, "space", TEXT)).realise(
        config,
        resolution=side,
        classes=datasets.classes(dataset),
    )
    return TrainSpec(
        network=network,
        recipe=parse_recipe(config, training),
        dataset=dataset,
        data_dir=data_dir,
        train_images=train_images,
        time_limit_s=float(get(training, "time_limit_s", NUMBER, least=0)),
        shorten=get({"shorten": 1, **training}, "shorten", WHOLE, least=1),
        feed=feed,
        workers=get({"workers": 0, **training}, "workers", WHOLE, least=0),
        cache_dir=cache_dir,
    )
