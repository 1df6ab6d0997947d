"""Campaigns of one plan, trained at several sites, become one campaign.

Only what was recorded is taken over: the sealed tables of each recording, linked where the file
system can, with the provenance that they carry. All that is made of them is made anew by the
workflow, with one analysis for all; what is fitted to a node (off-socket power, estimators) is
fitted for each site by itself.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from wattproof import config as configs
from wattproof import tables
from wattproof.config import Config
from wattproof.errors import WattproofError
from wattproof.plan import CALIBRATION

SEALED = ("samples", "channels", "health", "marks", "runs")
"""Tables of a recording that are taken over."""

SITES_FILE = "sites.json"
CAMPAIGN_FILE = "campaign.yaml"

OPEN = ("analysis", "dataset", "surrogate", "benchmark")
"""Keys that a merged campaign may have of its own: nothing is trained or recorded by them."""

SAME = ("space", "plan", "training", "calibration")
"""Keys that must be equal; node and instruments are each site's own."""

MAY_DIFFER = {
    "plan": {"part"},
    "training": {"data_dir", "cache_dir", "time_limit_s", "threads", "workers"},
}
"""What each site may say for itself in the keys that must be equal."""


@dataclass(frozen=True)
class Site:
    """One of the campaigns that are merged.

    Attributes:
        name: Of the site in the merged campaign.
        folder: Results of its campaign.
        config: What its plan was made from.
        version: Of the training code that the plan is for.
        simulated: Whether its node is virtual.
        plan: Its table ``plan``.
        recordings: Names of its complete recordings, in the order of the plan.
        missing: Recordings of its plan that are not complete.
    """

    name: str
    folder: Path
    config: Config
    version: int
    simulated: bool
    plan: pa.Table
    recordings: tuple[str, ...]
    missing: tuple[str, ...]

    def sealed(self, recording: str, table: str) -> Path:
        """Path of a sealed table."""
        return self.folder / "recordings" / recording / f"{table}.parquet"


@dataclass(frozen=True)
class Merged:
    """What `merge` did.

    Attributes:
        campaign_file: To give to ``snakemake --configfile``.
        sites: The sites.
        runs: Trainings in the merged campaign.
    """

    campaign_file: Path
    sites: tuple[Site, ...]
    runs: int


def merge(
    folders: Sequence[Path],
    into: Path,
    analysis: Path | None = None,
    partial: bool = False,
    mixed: bool = False,
) -> Merged:
    """Bring campaigns of one plan together in a folder of their own.

    It can be repeated when a site has recorded more: what is there and the same stays as it is.

    Args:
        folders: Results of the sites' campaigns, e.g. ``results/site_a``.
        into: Results of the merged campaign; its last part is the campaign's name.
        analysis: A campaign file whose keys of `OPEN` are taken; None: those of the merged campaign
            if there is one, else the defaults.
        partial: Leave recordings out that are not complete instead of refusing.
        mixed: Allow simulated and real sites in one campaign.

    Raises:
        WattproofError: One sentence: not campaigns of one plan, not complete, the same recording
            twice with different results, simulated and real, or a folder that is in use.
    """
    if len({folder.resolve() for folder in folders}) < 2:
        raise WattproofError(
            "Merging needs two campaigns or more; give the results folder of each site."
        )
    for folder in folders:
        if into.resolve() == folder.resolve():
            raise WattproofError(f"{into} is a site itself; merge into a folder of its own.")
    if into.exists() and any(into.iterdir()) and not (into / SITES_FILE).exists():
        raise WattproofError(f"{into} holds something else already; merge into a new folder.")
    sites = tuple(_site(folder, name) for folder, name in _named(folders))
    _check_same_plan(sites)
    if not mixed and len({site.simulated for site in sites}) > 1:
        virtual = next(site.folder for site in sites if site.simulated)
        real = next(site.folder for site in sites if not site.simulated)
        raise WattproofError(
            f"{virtual} is simulated and {real} is not; leave one out, or say --allow-mixed if the "
            "whole may count as simulated."
        )
    incomplete = next((site for site in sites if site.missing), None)
    if incomplete is not None and not partial:
        raise WattproofError(
            f"{incomplete.folder} is not complete: {len(incomplete.missing)} recording(s) are not "
            f"there, e.g. {incomplete.missing[0]}; run its workflow again, or say --partial to "
            "leave them out."
        )
    owners = _owners(sites)
    for recording, site in owners.items():
        for table in SEALED:
            _take(site.sealed(recording, table), into / "recordings" / recording)
    runs = _write_plan(sites, owners, into)
    _write_sites(sites, owners, into)
    campaign = _write_campaign(sites, into, analysis)
    return Merged(campaign, sites, runs)


def load(config: Config, file: str) -> tuple[dict[str, str], list[str]]:
    """Return what the workflow needs of a merged campaign.

    Args:
        config: A complete campaign with key ``sites``.
        file: Name of the campaign file, for messages.

    Returns:
        The site of each recording, in order, and the recordings that hold trainings.
    """
    path = Path(config["sites"])
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        site_of = {name: str(site) for name, site in document["recordings"].items()}
        trainings = [str(name) for name in document["trainings"]]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise WattproofError(
            f"{file}: key 'sites' names {path}, which is not what `wattproof merge` wrote; "
            "merge the sites again."
        ) from error
    return site_of, trainings


def _named(folders: Sequence[Path]) -> list[tuple[Path, str]]:
    """Name each site by its folder, or by as much of its path as tells it from the others."""
    paths = [folder.resolve() for folder in folders]
    depth = 1
    while True:
        names = ["-".join(path.parts[1:][-depth:]) for path in paths]
        if len(set(names)) == len(names) or depth > max(len(path.parts) for path in paths):
            return list(zip(folders, names, strict=True))
        depth += 1


def _site(folder: Path, name: str) -> Site:
    path = folder / "tables" / "plan.parquet"
    if (folder / SITES_FILE).exists():
        raise WattproofError(f"{folder} was merged itself; give the sites that it was made from.")
    if not path.exists():
        raise WattproofError(
            f"{folder} is not the results folder of a campaign: tables/plan.parquet is not there."
        )
    meta = tables.read_meta(path)
    if "config" not in meta.extra:
        raise WattproofError(
            f"{path} was written by an older wattproof and does not say what it was made from; "
            f"delete it and run `snakemake {path}` with the site's campaign file."
        )
    plan = tables.read(path, "plan")
    names = dict.fromkeys(plan["recording"].to_pylist())
    here = folder / "recordings"
    whole = {n for n in names if all((here / n / f"{t}.parquet").exists() for t in SEALED)}
    return Site(
        name=name,
        folder=folder,
        config=meta.extra["config"],
        version=int(meta.extra["version"]),
        simulated=meta.simulated,
        plan=plan,
        recordings=tuple(n for n in names if n in whole),
        missing=tuple(n for n in names if n not in whole),
    )


def _check_same_plan(sites: Sequence[Site]) -> None:
    first = sites[0]
    for other in sites[1:]:
        if other.version != first.version:
            raise WattproofError(
                f"{other.folder} was trained by another version of the training code "
                f"({other.version}) than {first.folder} ({first.version}); train one of them anew."
            )
        for key in SAME:
            found = _difference(first.config[key], other.config[key], MAY_DIFFER.get(key, set()))
            if found is not None:
                where, here, there = found
                name = ".".join(filter(None, (key, where)))
                raise WattproofError(
                    f"{other.folder} has another plan than {first.folder}: key '{name}' is "
                    f"{json.dumps(there)}, not {json.dumps(here)}; only sites of one plan can be "
                    "merged."
                )


def _difference(one: Any, two: Any, free: set[str]) -> tuple[str, Any, Any] | None:
    """Return the first key that differs, with both values; None if there is none."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted({*one, *two} - free):
            found = _difference(one.get(key), two.get(key), set())
            if found is not None:
                return ".".join(filter(None, (key, found[0]))), found[1], found[2]
        return None
    return None if one == two else ("", one, two)


def _owners(sites: Sequence[Site]) -> dict[str, Site]:
    """Return the site of each recording; the same one twice must be the same to the byte."""
    owners: dict[str, Site] = {}
    for site in sites:
        for recording in site.recordings:
            owner = owners.setdefault(recording, site)
            if owner is site:
                continue
            for table in SEALED:
                paths = owner.sealed(recording, table), site.sealed(recording, table)
                if not filecmp.cmp(*paths, shallow=False):
                    raise WattproofError(
                        f"Recording {recording} is in {owner.folder} and in {site.folder} with "
                        f"different results (table {table}); give each site its own part of the "
                        "plan (plan.part), or leave one out."
                    )
    return owners


def _take(source: Path, folder: Path) -> None:
    """Link a file into a folder, or copy it; one that is there already keeps its time stamp."""
    target = folder / source.name
    if target.exists():
        if os.path.samefile(source, target) or filecmp.cmp(source, target, shallow=False):
            return
        target.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        part = target.with_name(f".{target.name}.part")
        shutil.copy2(source, part)
        os.replace(part, target)


def _write_plan(sites: Sequence[Site], owners: dict[str, Site], into: Path) -> int:
    import pyarrow.compute as pc

    parts = []
    for site in sites:
        mine = pa.array([n for n, owner in owners.items() if owner is site], pa.string())
        parts.append(site.plan.filter(pc.is_in(site.plan["recording"], mine)))
    plan = pa.concat_tables(parts, promote_options="default")
    path = into / "tables" / "plan.parquet"
    if not (path.exists() and tables.read(path, "plan").equals(plan)):
        meta = tables.read_meta(sites[0].folder / "tables" / "plan.parquet")
        simulated = any(site.simulated for site in sites)
        extra = {"sites": [site.name for site in sites]}
        tables.write(
            plan, "plan", path, tables.Meta(into.name, simulated, meta.code_version, extra=extra)
        )
    return int(pc.sum(pc.not_equal(plan["setting"], CALIBRATION)).as_py() or 0)


def _write_sites(sites: Sequence[Site], owners: dict[str, Site], into: Path) -> None:
    """Write which recording is whose, and what each site was measured on and with."""
    about = {}
    trainings = []
    for site in sites:
        mine = [name for name, owner in owners.items() if owner is site]
        rows = site.plan.select(["recording", "setting"]).to_pylist()
        with_runs = {row["recording"] for row in rows if row["setting"] != CALIBRATION}
        trainings += [name for name in mine if name in with_runs]
        metas = [tables.read_meta(site.sealed(name, "samples")) for name in mine]
        instruments: dict[str, Any] = {}
        for meta in metas:
            instruments.update(meta.instruments)
        about[site.name] = {
            "folder": str(site.folder),
            "simulated": site.simulated,
            "hosts": sorted({meta.host for meta in metas}),
            "instruments": instruments,
            "node": site.config["node"],
            "sources": site.config["sources"],
            "part": site.config["plan"].get("part"),
            "recordings": len(mine),
        }
    document = {
        "recordings": {name: site.name for name, site in owners.items()},
        "trainings": trainings,
        "sites": about,
    }
    _write_text(into / SITES_FILE, json.dumps(document, indent=1) + "\n")


def _write_campaign(sites: Sequence[Site], into: Path, analysis: Path | None) -> Path:
    import yaml

    path = into / CAMPAIGN_FILE
    chosen = analysis if analysis is not None else (path if path.exists() else None)
    given = {} if chosen is None else configs.read_yaml(chosen)
    first = sites[0].config
    document: Config = {
        "campaign": into.name,
        "results": str(into.parent),
        "sites": str(into / SITES_FILE),
        **{key: first[key] for key in ("node", "space", "training", "calibration", "sources")},
        "plan": {**first["plan"], "part": None},
        **{key: given[key] for key in OPEN if key in given},
    }
    names = ", ".join(site.name for site in sites)
    head = (
        f"# Written by `wattproof merge`; {SITES_FILE} says who recorded what. Sites: {names}.\n"
        f"# node and sources are those of {sites[0].name}. What may be changed here are analysis,\n"
        "# dataset, surrogate and benchmark.\n"
    )
    _write_text(path, head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    return path


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") == text:
            return
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
