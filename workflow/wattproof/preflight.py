"""Checks of a campaign that a JSON schema cannot make, before any job starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wattproof import outline, plan, sensing, space
from wattproof.calibration import transfer
from wattproof.config import Config, is_offline
from wattproof.dataset import gate
from wattproof.errors import WattproofError, did_you_mean
from wattproof.offline import learning
from wattproof.sources import meters
from wattproof.training import datasets
from wattproof.virtual import presets


def check(config: Config, file: str, kept: Path | None = None) -> Config:
    """Check that everything a campaign names is there.

    Args:
        config: A complete campaign.
        file: Name of the campaign file, for messages.
        kept: Folder of outlines (`wattproof.outline`): a plan that was made is not drawn to see
            whether it can be.

    Returns:
        The campaign, completed by what only the meter's driver knows: defaults of its keys.

    Raises:
        WattproofError: One sentence with file, key and remedy.
    """
    if config["space"] not in space.names():
        raise WattproofError(
            f"{file}: key 'space' names an unknown search space '{config['space']}'."
            f"{did_you_mean(config['space'], space.names())}"
        )
    if not getattr(space.get(config["space"]), "trainable", True):
        raise WattproofError(
            f"{file}: key 'space' names '{config['space']}', whose networks wattproof does not "
            "train: it is for results of others (docs/audits.md); choose another space."
        )
    node = config["node"]
    if node["kind"] == "virtual":
        try:
            presets.get(node["preset"], node["overrides"])
        except WattproofError as error:
            raise WattproofError(f"{file}: {error}") from error
        if plan.calibration_program(config) != "own":
            raise WattproofError(
                f"{file}: key 'calibration.stress' is {plan.calibration_program(config)}, but on a "
                "virtual node loads are simulated; set it to own, or node.kind to real."
            )
    _check_groups(config, file)
    gate.check(config["dataset"]["gate"], file)
    meter = config["sources"].get("meter")
    if meter is not None:
        meter = meters.complete(meter, file, simulated=node["kind"] == "virtual")
        config = {**config, "sources": {**config["sources"], "meter": meter}}
    if config["analysis"]["sensors"]:
        try:
            sensing.load(config["analysis"]["sensors"])
        except WattproofError as error:
            raise WattproofError(f"{file}: key 'analysis.sensors': {error}") from error
    if config["analysis"]["calibration"]:
        try:
            transfer.load(config["analysis"]["calibration"])
        except WattproofError as error:
            raise WattproofError(f"{file}: key 'analysis.calibration': {error}") from error
    training = config["training"]
    try:
        if is_offline(config):
            learning.task(training["dataset"])  # nothing is read of it
        else:
            datasets.check(training["dataset"], training["data_dir"], training["train_images"])
    except WattproofError as error:
        raise WattproofError(f"{file}: key 'training.dataset': {error}") from error
    if not outline.is_kept(config, kept):
        _check_draws(config, file)
    return config


def check_machine(config: Config, file: str) -> None:
    """Check that this machine, on which recordings will be made, has the GPUs for them.

    Args:
        config: A complete, checked campaign.
        file: Name of the campaign file, for messages.

    Raises:
        WattproofError: One sentence with file, what is lacking and remedy.
    """
    from wattproof.session import node

    try:
        node.check_machine(config)
    except WattproofError as error:
        raise WattproofError(f"{file}: {error}") from error


def _check_groups(config: Config, file: str) -> None:
    """Check the names of the groups and their settings, and the part of the plan."""
    part = config["plan"]["part"]
    if part is not None and part["index"] > part["of"]:
        raise WattproofError(
            f"{file}: key 'plan.part' asks for part {part['index']} of {part['of']}; "
            f"give an index from 1 to {part['of']}."
        )
    found = plan.groups(config)
    names = [group.name for group in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise WattproofError(
            f"{file}: two groups under 'plan.groups' are named '{twice}'; rename one."
        )
    for group in found:
        key = "plan.groups" if config["plan"]["groups"] else "plan"
        if group.name == plan.CALIBRATION:
            raise WattproofError(
                f"{file}: a group under '{key}' is named '{group.name}', as the recordings of the "
                "calibration loads are; rename it."
            )
        _check_slots(group, config, f"{file}: key '{key}.slots'")


def _check_draws(config: Config, file: str) -> None:
    """Check that the space has as many configurations as each group asks for."""
    key = "plan.groups" if config["plan"]["groups"] else "plan"
    for group in plan.groups(config):
        # Where pilot runs are asked for, what is wrong with a draw is mostly that they are missing.
        drawing = "runs" if group.pilot is None else "pilot"
        for part, runs in (("recipe", 0), (drawing, group.runs)):
            try:
                # Drawing is what the plan will do: it knows how many configurations there are.
                replace(group, runs=runs).configurations(config["space"])
            except WattproofError as error:
                raise WattproofError(f"{file}: key '{key}.{part}': {error}") from error
    place, parts = plan.part_of(config)
    if parts > 1 and not any(row.config for row in plan.make_plan(config)):
        raise WattproofError(
            f"{file}: key 'plan.part': part {place + 1} of {parts} holds no recording; use fewer "
            "parts, or smaller recordings (plan.runs_per_recording)."
        )


def _check_slots(group: plan.Group, config: Config, where: str) -> None:
    """Check that a virtual node has the GPUs that a group asks for; a real one is not here yet."""
    node = config["node"]
    if node["kind"] != "virtual" or group.slots is None or group.setting == plan.SINGLE:
        return
    count = presets.get(node["preset"], node["overrides"]).gpu.count
    if group.slots > count:
        raise WattproofError(
            f"{where} is {group.slots}, but the virtual node '{node['preset']}' has {count} "
            "GPU(s); lower it, or raise gpu.count in node.overrides."
        )
    if group.setting == "ddp" and group.slots < count:
        raise WattproofError(
            f"{where} is {group.slots}, but a run of setting ddp takes all GPUs of its node, and "
            f"the virtual node '{node['preset']}' has {count}; leave the key away, or lower "
            "gpu.count in node.overrides."
        )
