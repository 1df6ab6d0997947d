"""What jobs ask a cluster for: resources of the rules, from a campaign's key ``cluster``.

Names are those of snakemake's Slurm plugin. What the campaign leaves null is not asked for here,
so that the profile's ``default-resources`` (or the cluster's own defaults) hold.
"""

from __future__ import annotations

from wattproof import plan
from wattproof.config import Config, is_offline
from wattproof.errors import WattproofError
from wattproof.session.locks import NODE_WIDE

Resources = dict[str, int | str]


def check(config: Config, file: str) -> None:
    """Check that the jobs of a campaign can say what they need.

    Args:
        config: A complete campaign.
        file: Name of the campaign file, for the message.

    Raises:
        WattproofError: All GPUs of a real node are wanted: only a job that runs can count them.
    """
    if config["node"]["kind"] != "real" or config["cluster"]["gpus"]:
        return
    if any(group.setting != plan.SINGLE and not group.slots for group in plan.groups(config)):
        raise WattproofError(
            f"{file}: key 'plan.slots' is null, which means all GPUs of the node, but a cluster's "
            "job must say how many it wants; set it, or 'cluster.gpus', to that number."
        )


def is_exclusive(config: Config) -> bool:
    """Whether a recording's job takes its node for itself.

    Args:
        config: A complete campaign.
    """
    if is_offline(config):
        return False
    asked = config["cluster"]["exclusive"]
    return bool(NODE_WIDE & set(config["sources"])) if asked == "auto" else bool(asked)


def cpus(config: Config, planned: int) -> int:
    """Return the CPU cores of a recording's job.

    Args:
        config: A complete campaign.
        planned: What its plan says (`plan.cpu_threads`).
    """
    return int(config["cluster"]["cpus"] or planned)


def gres(config: Config, planned: int) -> str:
    """Return the generic resources of a recording: its slots, for ``CUDA_VISIBLE_DEVICES``.

    Args:
        config: A complete campaign.
        planned: Slots that its plan says (`plan.slots`).
    """
    asked = config["cluster"]
    number = asked["gpus"] or planned
    return f"gpu:{asked['gpu_type']}:{number}" if asked["gpu_type"] else f"gpu:{number}"


def recording(config: Config) -> Resources:
    """Return what each recording's job asks for beside its slots.

    Args:
        config: A complete campaign.
    """
    asked = config["cluster"]
    options = ["--exclusive"] if is_exclusive(config) else []
    if asked["extra"]:
        options.append(asked["extra"])
    return _given(
        mem_mb=asked["mem_mb"],
        runtime=asked["runtime_min"],
        slurm_account=asked["account"],
        slurm_partition=asked["partition"],
        constraint=asked["constraint"],
        qos=asked["qos"],
        slurm_extra=" ".join(options) or None,
    )


def analysis(config: Config) -> Resources:
    """Return what the jobs of the analysis ask for.

    Args:
        config: A complete campaign.
    """
    asked = config["cluster"]
    return _given(slurm_account=asked["account"], slurm_partition=asked["analysis_partition"])


def is_local(config: Config) -> bool:
    """Whether what is made of all recordings together is done where Snakemake runs, by no job.

    Args:
        config: A complete campaign.
    """
    return bool(config["cluster"]["analysis"] == "local")


def _given(**resources: int | str | None) -> Resources:
    return {name: value for name, value in resources.items() if value is not None}
