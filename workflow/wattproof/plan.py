"""The plan: which runs a campaign trains, in which recordings, and when a run must be done anew.

The plan is a pure function of the configuration, so the workflow knows every job without running
anything, and adding runs to a campaign keeps the old ones (`plan.runs` and `plan.replicates` only
append).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from wattproof import archive, space
from wattproof.config import Config, is_offline
from wattproof.space import pilot

if TYPE_CHECKING:
    import pyarrow as pa

TRAINING_VERSION = 2
"""Raised when the training code changes what a run does: then finished runs no longer count."""

LIVE = ("mode", "live")
"""What a node is unless its campaign says otherwise: it is left out of digests."""

CALIBRATION = "calibration"
SINGLE = "single"
SYNC_S = 6.0
"""Length of the synchronisation pattern: 24 chips of 0.25 s (`training.loads`)."""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One run to do; the fields are the columns of table ``plan``.

    Attributes:
        config: Configuration of a training; empty for a calibration load.
        spec: What the training process needs (`wattproof.training`), without paths and slot.
    """

    run_id: str
    setting: str
    recording: str
    position: int
    network_key: str | None
    seed: int
    spec: dict[str, Any]
    digest: str
    config: dict[str, Any]

    def as_row(self) -> dict[str, Any]:
        """Return the row of table ``plan``, with configuration columns."""
        row = asdict(self)
        row["spec"] = json.dumps(self.spec, sort_keys=True)
        row.pop("config")
        return row | {f"config_{key}": value for key, value in self.config.items()}


def fingerprint(content: Any) -> str:
    """Return a short digest of anything that JSON can hold, independent of key order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _measurement(config: Config) -> dict[str, Any]:
    """What a run is measured with: another node or other instruments make it another run."""
    node = {key: value for key, value in config["node"].items() if (key, value) != LIVE}
    return {
        "version": TRAINING_VERSION,
        "node": node,
        "sources": archive.deciding(config["sources"]),
    }


def _load_row(
    config: Config,
    recording: str,
    position: int,
    load: str,
    seconds: float,
    places: dict[str, Any] | None = None,
) -> PlanRow:
    spec: dict[str, Any] = {
        **(places or {}),
        "kind": "load",
        "setting": CALIBRATION,
        "load": load,
        "seconds": seconds,
        "seed": config["plan"]["seed"] + position,
        "training": config["training"],
    }
    digest = fingerprint({**spec, "training": None, "measurement": _measurement(config)})
    run_id = f"{recording}-{position:02d}-{load}-{digest[:8]}"
    return PlanRow(
        run_id,
        CALIBRATION,
        recording,
        position,
        None,
        spec["seed"],
        {**spec, "run_id": run_id},
        digest,
        {},
    )


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one setting; their recordings and runs are named after it.

    Attributes:
        name: Begins the names of its recordings and runs.
        setting: single | packed | ddp.
        runs: Trainings; each network once before any comes again.
        replicates: So many of the first ones are trained again with another seed, in recordings of
            their own: more trainings or more replicates later move none that is there.
        seed: Of the draw of configurations.
        runs_per_recording: A recording is one cluster job.
        recipe: Training parameters that are fixed or restricted instead of drawn from all.
        slots: GPUs of the node that it uses, unless it is single; None: all.
        pilot: Campaign whose runs say what power configurations promise, to draw evenly over it.
    """

    name: str
    setting: str
    runs: int
    replicates: int
    seed: int
    runs_per_recording: int
    recipe: dict[str, Any]
    slots: int | None = None
    pilot: str | None = None

    @property
    def places(self) -> dict[str, Any]:
        """What its runs say of slots in their spec: how many they ask for, if not all."""
        return {"gpus": self.slots} if self.slots and self.setting != SINGLE else {}

    def configurations(self, of: str) -> list[dict[str, Any]]:
        """Draw what is trained from a space, without replicates."""
        return self.drawn(of)[0]

    def drawn(self, of: str) -> tuple[list[dict[str, Any]], str]:
        """Draw what is trained; also the digest of the pilot runs that it was drawn by, if any."""
        chosen = space.get(of)
        if self.pilot is None:
            return chosen.sample(self.runs, self.seed, self.recipe), ""
        return pilot.draw(chosen, self.pilot, self.runs, self.seed, self.recipe)


def groups(config: Config) -> list[Group]:
    """Return the groups of a campaign: those of ``plan.groups``, else the plan itself is the one.

    What a group does not say is as in the plan; but its seed comes from the plan's and its own
    name, so that groups draw configurations of their own, whatever stands before them.
    """
    plan = config["plan"]
    keys = ("setting", "replicates", "runs_per_recording", "recipe", "slots", "pilot")
    usual = {k: plan[k] for k in keys}
    if not plan.get("groups"):
        return [Group(name=plan["setting"], runs=plan["runs"], seed=plan["seed"], **usual)]
    return [
        Group(**{**usual, "seed": _seed_of(plan["seed"], entry["name"]), **entry})
        for entry in plan["groups"]
    ]


def pilots(config: Config) -> list[str]:
    """Return the tables of pilot runs that the plan depends on, beside the configuration."""
    found = {group.pilot for group in groups(config) if group.pilot is not None}
    return sorted(str(pilot.table(file)) for file in found)


def part_of(config: Config) -> tuple[int, int]:
    """Return which part of the plan this campaign is (0-based), and of how many: 0 of 1 if whole.

    Recordings go to the parts in turn, by their own numbers alone: a plan that grows moves none.
    """
    part = config["plan"].get("part")
    return (part["index"] - 1, part["of"]) if part else (0, 1)


def _seed_of(seed: int, name: str) -> int:
    """Return the seed of a group that gives none: the same wherever it stands in the list."""
    return int(fingerprint([seed, name])[:8], 16)


def _train_row(
    config: Config,
    group: Group,
    recording: str,
    position: int,
    name: str,
    chosen: dict[str, Any],
    seed: int,
) -> PlanRow:
    setting = group.setting
    training = config["training"]
    # Where the files lie and how long a run may take do not change what it is.
    places = ("data_dir", "cache_dir", "time_limit_s")
    recipe = {k: v for k, v in training.items() if k not in places}
    for key, usual in (("shorten", 1), ("feed", "device"), ("workers", 0)):
        if recipe.get(key) == usual:
            del recipe[key]  # runs planned before there was the key keep their names
    spec: dict[str, Any] = {
        **group.places,
        "kind": "train",
        "setting": setting,
        "space": config["space"],
        "config": chosen,
        "seed": seed,
        "training": training,
    }
    digest = fingerprint({**spec, "training": recipe, "measurement": _measurement(config)})
    network = space.get(config["space"]).realise(chosen, resolution=training["image_size"])
    run_id = f"{name}-{digest[:8]}"
    if group.pilot:  # not in the digest: what is trained is the same, whoever proposed it
        spec["pilot"] = group.pilot
    return PlanRow(
        run_id,
        setting,
        recording,
        position,
        network.key,
        seed,
        {**spec, "run_id": run_id},
        digest,
        chosen,
    )


def _places(config: Config, load: str) -> dict[str, Any]:
    """What a calibration load says of where and by what it is played, if not as usual."""
    if load == "stress" and calibration_program(config) != "own":
        return {"program": calibration_program(config)}
    return _gpu_places(config) if load == "gpu" else {}


def calibration_program(config: Config) -> str:
    """Return what does the work of load `stress`: own, or firestarter."""
    return str(config["calibration"].get("stress", "own"))


def _gpu_places(config: Config) -> dict[str, Any]:
    """Where the load of the GPU is played: on all slots that trainings will occupy at once.

    Else the power of packed runs is beyond all that off-socket power was determined under. The
    twin of the paper's experiments (offline, ddp) plays it on slot 0, as the paper had it.
    """
    several = [group for group in groups(config) if group.setting != SINGLE]
    if not several or (is_offline(config) and all(one.setting == "ddp" for one in several)):
        return {}
    numbers = [group.slots for group in several]
    known = [number for number in numbers if number is not None]
    return {"everywhere": True, **({"gpus": max(known)} if len(known) == len(numbers) else {})}


def slots(config: Config, rows: Iterable[PlanRow]) -> int:
    """Return how many GPUs a recording of these rows uses, as far as the plan knows.

    On a real node without key ``plan.slots`` it is the number that the job will find; 1 stands for
    it.
    """
    listed = list(rows)
    if all(row.setting in (SINGLE, CALIBRATION) and "everywhere" not in row.spec for row in listed):
        return 1
    asked = [int(row.spec["gpus"]) for row in listed if "gpus" in row.spec]
    if asked:
        return max(asked)
    node = config["node"]
    if node["kind"] != "virtual":
        return 1
    from wattproof.virtual import presets

    return presets.get(node["preset"], node["overrides"]).gpu.count


def cpu_threads(config: Config, rows: Iterable[PlanRow]) -> int:
    """Return the CPU threads of a recording: those of its trainings, and one for the instruments.

    What is made without waiting needs but one.
    """
    if is_offline(config):
        return 1
    return slots(config, rows) * int(config["training"]["threads"]) + 1


def _preamble(config: Config, recording: str) -> list[PlanRow]:
    """Loads at the start of each recording: the clock pattern, then an idle window."""
    rows: list[PlanRow] = []
    calibration = config["calibration"]
    if calibration["sync"]:
        rows.append(_load_row(config, recording, 0, "sync", SYNC_S))
    if calibration["idle_s"] > 0:
        rows.append(_load_row(config, recording, len(rows), "idle", calibration["idle_s"]))
    return rows


def _sync_at_end(config: Config, recording: str, position: int) -> list[PlanRow]:
    """The clock pattern again at the end: the longer the lever, the better the drift is known."""
    if not config["calibration"]["sync"]:
        return []
    return [_load_row(config, recording, position, "sync", SYNC_S)]


def make_plan(config: Config) -> list[PlanRow]:
    """Return every run of a campaign, in order.

    Args:
        config: A complete campaign (`wattproof.config.validate`).

    Returns:
        Rows in the order of recordings and of positions inside them. The first recording holds
        the calibration loads, repeated in rotated order so that drift does not side with one.
    """
    rows: list[PlanRow] = []
    calibration = config["calibration"]
    loads = calibration["loads"]
    if loads and calibration["repeats"]:
        # Each site that trains a part of the plan calibrates its own node.
        place, _ = part_of(config)
        recording = f"{CALIBRATION}-{place:03d}"
        rows += _preamble(config, recording)
        for repeat in range(calibration["repeats"]):
            shift = repeat % len(loads)
            for load in loads[shift:] + loads[:shift]:
                places = _places(config, load)
                seconds = calibration["load_s"]
                rows.append(_load_row(config, recording, len(rows), load, seconds, places))
        rows += _sync_at_end(config, recording, len(rows))
    for group in groups(config):
        rows += _group_rows(config, group)
    return rows


def _group_rows(config: Config, group: Group) -> list[PlanRow]:
    """Recordings of one group: its trainings, then the replicates in recordings of their own."""
    configs, drawn_by = group.drawn(config["space"])
    group = replace(group, pilot=drawn_by or None)
    rows = _cut(config, group, "", configs, seed=0)
    return rows + _cut(config, group, "r", configs[: group.replicates], seed=1)


def _cut(
    config: Config, group: Group, mark: str, configs: list[dict[str, Any]], seed: int
) -> list[PlanRow]:
    """Cut trainings into recordings, each between loads and the clock pattern."""
    rows: list[PlanRow] = []
    size = group.runs_per_recording
    place, parts = part_of(config)
    # Groups begin at different sites, or the last site would get none of many small ones.
    first = _seed_of(0, f"{group.name}-{mark}")
    for start in range(0, len(configs), size):
        if (first + start // size) % parts != place:
            continue
        recording = f"{group.name}-{mark}{start // size:03d}"
        part = _preamble(config, recording)
        for index, chosen in enumerate(configs[start : start + size], start=start):
            name = f"{group.name}-{mark}{index:05d}"
            part.append(_train_row(config, group, recording, len(part), name, chosen, seed))
        rows += [*part, *_sync_at_end(config, recording, len(part))]
    return rows


def rows_of(
    config: Config, recording: str, configurations: list[dict[str, Any]], seed: int
) -> list[PlanRow]:
    """Return the rows of a recording that trains given configurations as the campaign would.

    Args:
        config: A complete campaign. Of several groups the first one says how runs are placed.
        recording: Name of the recording; those of its runs begin with it.
        configurations: To train, in order.
        seed: Of the trainings.
    """
    group = replace(groups(config)[0], pilot=None)
    rows = _preamble(config, recording)
    for index, chosen in enumerate(configurations):
        name = f"{recording}-{index:05d}"
        rows.append(_train_row(config, group, recording, len(rows), name, chosen, seed))
    return [*rows, *_sync_at_end(config, recording, len(rows))]


def read_rows(table: pa.Table, recording: str) -> list[PlanRow]:
    """Return the rows of one recording from a ``plan`` table, in order."""
    import pyarrow.compute as pc

    names = [field.name for field in fields(PlanRow) if field.name not in ("spec", "config")]
    found: list[PlanRow] = []
    # Only these rows become Python objects: each recording's job reads the whole plan.
    mine = table.filter(pc.equal(table["recording"], recording)).select([*names, "spec"])
    for row in mine.to_pylist():
        spec = json.loads(row.pop("spec"))
        found.append(PlanRow(**row, spec=spec, config=spec.get("config", {})))
    return sorted(found, key=lambda row: row.position)


def by_recording(rows: Iterable[PlanRow]) -> dict[str, list[PlanRow]]:
    """Group the plan by recording, in plan order."""
    groups: dict[str, list[PlanRow]] = {}
    for row in rows:
        groups.setdefault(row.recording, []).append(row)
    return groups


def recording_digest(rows: Iterable[PlanRow]) -> str:
    """Digest of all that a recording must hold: a change makes its rule run again."""
    return fingerprint([(row.run_id, row.digest) for row in rows])
