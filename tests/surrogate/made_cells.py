"""Cells with a known law, for the tests of trust."""

from __future__ import annotations

import numpy as np

from wattproof.surrogate.cells import Cells, HeldOut


def ends(
    truth: np.ndarray,
    network: np.ndarray | None = None,
    scale: str = "log",
    seed: np.ndarray | None = None,
    epochs: int = 10,
) -> Cells:
    """One target, known at the end of each run; by default each run is a network."""
    n = len(truth)
    network = np.arange(n) if network is None else np.asarray(network)
    length = np.full(n, epochs, dtype=np.int64)
    return Cells(
        targets=("energy_j" if scale == "log" else "accuracy",),
        scales=(scale,),
        run=np.arange(n),
        network=network.astype(np.int64),
        config=network.astype(np.int64),
        seed=np.arange(n) if seed is None else np.asarray(seed),
        epoch=length,
        epochs=length,
        truth=np.asarray(truth, dtype=np.float64)[:, None],
    )


def held(
    residuals: np.ndarray,
    network: np.ndarray | None = None,
    spread: np.ndarray | float = 0.0,
    fold: np.ndarray | None = None,
    scale: str = "log",
) -> HeldOut:
    """Held-out predictions with given residuals at the ends of runs."""
    n = len(residuals)
    cells = ends(np.full(n, 3.0 if scale == "log" else 0.5) + residuals, network, scale)
    guess = np.full((n, 1), 3.0 if scale == "log" else 0.5)
    wide = np.broadcast_to(np.asarray(spread, dtype=np.float64), (n,))[:, None].copy()
    parts = np.zeros(n, dtype=np.int64) if fold is None else fold
    return HeldOut(cells, guess, wide, parts)


def curves(
    runs: int, epochs: int, truth: np.ndarray, config: np.ndarray, seed: np.ndarray
) -> Cells:
    """Target ``accuracy`` known at every epoch; truth is runs × epochs."""
    run, epoch = (part.ravel() for part in np.indices((runs, epochs)))
    return Cells(
        targets=("accuracy",),
        scales=("unit",),
        run=run,
        network=config[run],
        config=config[run],
        seed=seed[run],
        epoch=epoch + 1,
        epochs=np.full(len(run), epochs, dtype=np.int64),
        truth=truth.reshape(-1, 1),
    )
