"""Train a configuration here, as the campaign behind a benchmark would have done it.

The steps are those of the workflow's rules: plan, recording, align, integrate, calibrate, dataset.
Needs the extras ``workflow`` and, unless the campaign was made offline, ``train``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattproof import plan
from wattproof.benchmark import snapshot
from wattproof.errors import WattproofError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from wattproof.config import Config
    from wattproof.plan import PlanRow

RECORDING = "live"

OPEN = ("sources.", "node.overrides.")
"""Groups whose keys are those of a driver or a preset, which says itself which it knows."""

INSTALL = "pip install 'wattproof[workflow,train]'"


def recipe(campaign: Mapping[str, Any], settings: Mapping[str, Any] | None) -> Config:
    """Return the campaign by which to train here.

    Args:
        campaign: Content of a benchmark's ``campaign.json``.
        settings: Keys that are other ones here, e.g. ``{"training": {"data_dir": "/data"}}``.

    Raises:
        WattproofError: The benchmark has no recipe, or the campaign has no such key.
    """
    if "node" not in campaign:
        raise WattproofError(
            "This benchmark was made of results that others published, without their recipe, so "
            "kind='live' cannot train; load it with kind='surrogate' or kind='table'."
        )
    config = copy.deepcopy(dict(campaign))
    config.pop("withheld", None)
    _merge(config, settings or {}, "")
    return config


def _merge(config: dict[str, Any], settings: Mapping[str, Any], prefix: str) -> None:
    for key, value in settings.items():
        if key not in config and not prefix.startswith(OPEN):
            raise WattproofError(
                f"settings has the unknown key '{prefix}{key}'.{did_you_mean(str(key), config)} "
                "Correct it or remove it."
            )
        group = isinstance(config.get(key), dict)
        if group and not isinstance(value, Mapping):
            raise WattproofError(f"settings has no group of keys under '{prefix}{key}'; give one.")
        if group:
            _merge(config[key], value, f"{prefix}{key}.")
        else:
            config[key] = copy.deepcopy(value)


def train(
    config: Config,
    chosen: Mapping[str, Any],
    seed: int,
    folder: Path,
    say: Callable[[str], None] = lambda _line: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train one configuration while the campaign's instruments record it.

    Args:
        config: See `recipe`.
        chosen: The configuration.
        seed: Of the training.
        folder: Gets raw data and, of a virtual node, the truth. What was trained there before, by
            the same recipe, is not trained again.
        say: Told how it goes on.

    Returns:
        Tables ``dataset`` (one row) and ``curves``.

    Raises:
        WattproofError: The extras or an instrument are missing, or the training failed.
    """
    rows = plan.rows_of(config, RECORDING, [dict(chosen)], seed)
    run = next(row for row in rows if row.config)
    dataset, curves, why = measure(config, rows, folder / run.run_id, say)
    if dataset["status"].iloc[0] != "ok":
        raise WattproofError(
            f"The training ended as '{dataset['status'].iloc[0]}': {why or 'it did not say why'}; "
            f"what it left is in {folder / run.run_id}."
        )
    return dataset, curves


def measure(
    config: Config, rows: list[PlanRow], folder: Path, say: Callable[[str], None]
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Record rows of a plan, and make of them what the workflow would.

    Args:
        config: See `recipe`.
        rows: Of one recording.
        folder: Gets its files.
        say: Told how it goes on.

    Returns:
        Tables ``dataset`` and ``curves``; why the first failed training failed.

    Raises:
        WattproofError: The extras or an instrument are missing.
    """
    try:
        sealed, memory_gib = _record(config, rows, folder, say)
        dataset, curves = _analyse(config, rows, sealed, memory_gib)
    except ImportError as error:
        raise _lacking(error) from error
    failed = [row for row in sealed["runs"].to_pylist() if row["status"] != "ok"]
    return dataset, curves, str(failed[0]["reason"] or "") if failed else ""


def _record(
    config: Config, rows: list[PlanRow], folder: Path, say: Callable[[str], None]
) -> tuple[dict[str, pa.Table], float | None]:
    """Rule recording: the sealed tables, and the memory of the node."""
    from wattproof.config import is_offline

    if is_offline(config):
        from wattproof import offline

        sealed, about = offline.record(rows[0].recording, rows, config, folder / "truth")
    else:
        import torch  # noqa: F401  # else each run would fail in a process of its own

        from wattproof import session

        paths = session.Paths(folder / "raw", folder / "truth")
        paths.raw.mkdir(parents=True, exist_ok=True)
        session.record(rows[0].recording, rows, config, paths, say)
        sealed, about = session.seal(rows[0].recording, rows, paths)
    return sealed, about["extra"].get("memory_gib")


def _analyse(
    config: Config, rows: list[PlanRow], sealed: Mapping[str, pa.Table], memory_gib: float | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rules align, integrate, calibrate and dataset."""
    from wattproof import attribution, calibration, clocks, dataset, energy, offsocket, quality
    from wattproof import tables as t

    samples, channels, marks, runs = (
        t.to_frame(sealed[name], name) for name in ("samples", "channels", "marks", "runs")
    )
    analysis = config["analysis"]
    found = clocks.align(
        samples, channels, marks, {"min_confidence": analysis["min_confidence"]}, None
    )
    windows = energy.cut_windows(marks, runs)
    keys = ("min_samples", "min_coverage", "max_gap_s", "sensors")
    settings = {key: analysis[key] for key in keys}
    joules = energy.integrate(samples, channels, found, windows, settings)
    shares = attribution.shares(windows, marks, runs, joules)
    joules = quality.flag_windows(joules, channels)
    estimated = calibration.calibrate(
        joules,
        channels,
        offsocket.fit(joules),
        {"alpha": analysis["alpha"], "memory_gib": memory_gib},
    )
    return dataset.build(
        plan=_frame([row.as_row() for row in rows], "plan"),
        runs=runs,
        windows=windows,
        marks=marks,
        energy=joules,
        estimates=estimated.estimates,
        shares=shares,
        settings=snapshot.of_dataset(config),
    )


def _frame(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    from wattproof import tables

    return tables.to_frame(tables.conform(rows, name), name)


def _lacking(error: ImportError) -> WattproofError:
    return WattproofError(
        f"kind='live' trains, and for that '{error.name}' is missing here; install it with "
        f"{INSTALL}, or load the benchmark with kind='surrogate' or kind='table'."
    )
