"""Checks of a campaign that a JSON schema cannot make, before any job starts."""

from __future__ import annotations

from wattproof import sensing, space
from wattproof.config import Config, is_offline
from wattproof.errors import WattproofError, did_you_mean
from wattproof.offline import learning
from wattproof.sources import meters
from wattproof.training import datasets
from wattproof.virtual import presets


def check(config: Config, file: str) -> Config:
    """Check that everything a campaign names is there.

    Args:
        config: A complete campaign.
        file: Name of the campaign file, for messages.

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
    try:
        # Drawing is what the plan will do: it knows how many configurations there are.
        space.get(config["space"]).sample(config["plan"]["runs"], config["plan"]["seed"])
    except WattproofError as error:
        raise WattproofError(f"{file}: key 'plan.runs': {error}") from error
    node = config["node"]
    if node["kind"] == "virtual":
        try:
            presets.get(node["preset"], node["overrides"])
        except WattproofError as error:
            raise WattproofError(f"{file}: {error}") from error
    meter = config["sources"].get("meter")
    if meter is not None:
        meter = meters.complete(meter, file, simulated=node["kind"] == "virtual")
        config = {**config, "sources": {**config["sources"], "meter": meter}}
    if config["analysis"]["sensors"]:
        try:
            sensing.load(config["analysis"]["sensors"])
        except WattproofError as error:
            raise WattproofError(f"{file}: key 'analysis.sensors': {error}") from error
    training = config["training"]
    try:
        if is_offline(config):
            learning.task(training["dataset"])  # nothing is read of it
        else:
            datasets.check(training["dataset"], training["data_dir"], training["train_images"])
    except WattproofError as error:
        raise WattproofError(f"{file}: key 'training.dataset': {error}") from error
    return config
