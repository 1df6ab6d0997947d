"""What is told of a channel, and what is refused in words because the data cannot tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wattproof.characterise import certainty, response
from wattproof.characterise.certainty import BlockFit, Interval
from wattproof.characterise.explained import Explained
from wattproof.characterise.response import Fit
from wattproof.characterise.updates import Refusal, Updates
from wattproof.characterise.wave import PartTimeWave, RampedWave
from wattproof.sensing import SensorDescription

MAX_WINDOW_U = 0.10
MAX_DELAY_U_S = 0.010
"""Largest standard uncertainties of values that are told: half of 20 % and 20 ms."""
POINT = 0.1
"""A window that is shorter than this share of the update period, and maybe nothing, is a point."""
DELAY_EDGE_S = 0.01
"""A delay so near to an end of what is searched is not believed."""
DOUBTFUL_SCATTER = 0.05
"""From this share of the contrast on, scatter is named as the reason of a refusal."""
DISAGREE = 3.0
"""Periods of the load disagree if they scatter so many times more than they should."""


@dataclass(frozen=True, slots=True)
class Known:
    """A fit and all that says how far to trust it.

    Attributes:
        best: The fit.
        window: Profile interval of its window.
        window_u_s: Standard uncertainty of the window, with the disagreement of single periods.
        delay_u_s: Of the delay, with the phase of the reads and the instants of the edges as well.
        disagreement: Of single periods about window and delay; 1: none.
        margin: Evidence against the other shape.
    """

    best: Explained
    window: Interval
    window_u_s: float
    delay_u_s: float
    disagreement: tuple[float, float]
    margin: float

    @classmethod
    def weigh(
        cls,
        best: Explained,
        other: Fit,
        blocks: Sequence[BlockFit],
        updates: Updates,
        edge_u_s: float,
    ) -> Known:
        """Put the parts of the uncertainties together."""
        fit = best.fit
        window, delay = certainty.intervals(best.problem, fit)
        apart_window = certainty.birge(
            [b.window_s for b in blocks], [b.window_u_s for b in blocks], fit.window_s
        )
        apart_delay = certainty.birge(
            [b.delay_s for b in blocks], [b.delay_u_s for b in blocks], fit.delay_s
        )
        delay_u_s = float(np.hypot(delay.u, best.delay_u_s)) * apart_delay
        return cls(
            best,
            window,
            float(np.hypot(window.u, best.window_u_s)) * apart_window,
            float(np.sqrt(delay_u_s**2 + updates.phase_u_s**2 + edge_u_s**2)),
            (apart_window, apart_delay),
            response.evidence(best.problem, fit, other),
        )

    @property
    def clear(self) -> bool:
        """Whether the other shape explains the values clearly worse."""
        return self.margin >= response.SHAPE_MARGIN * self.disagreement[0] ** 2


def sentence(what: str, refusal: Refusal) -> str:
    """Return a refusal for people."""
    return f"{what}: {refusal}."


def tell(
    sensor: SensorDescription, known: Known, period_s: float, earliest_s: float
) -> tuple[SensorDescription, tuple[str, ...]]:
    """Complete a description with what is known well enough.

    Args:
        sensor: With its update period.
        known: The fit and its trust.
        period_s: Update period.
        earliest_s: Shortest delay that is possible.

    Returns:
        The description, and remarks for people.
    """
    fit = known.best.fit
    point = known.window.low <= 0 and known.window.high + known.window.u < POINT * period_s
    uncertainty = dict(sensor.uncertainty)
    remarks: list[str] = []
    why_window = "" if point else _doubt_of_window(known)
    why_delay = _doubt_of_delay(known, point, earliest_s)
    averaging = fit.averaging if known.clear else "unknown"
    window_s = None if why_window else fit.window_s
    if point:
        window_s, averaging = 0.0, "boxcar"
        uncertainty["window_s"] = known.window.high
        remarks.append("a value is a point, not a mean")
    elif window_s is not None:
        uncertainty["window_s"] = known.window_u_s
    if not why_delay:
        uncertainty["delay_s"] = known.delay_u_s
    refused = [why for why in (why_window, why_delay) if why]
    if refused and fit.scatter_w > DOUBTFUL_SCATTER * fit.contrast_w:
        refused.append(
            f"the values scatter by {fit.scatter_w:.3g} W around what the load explains, and it "
            f"moves them by {fit.contrast_w:.3g} W: a weak load, or somebody else on the GPU"
        )
    wave = known.best.problem.wave
    if isinstance(wave, PartTimeWave):
        share = wave.seen_s / wave.period_s
        remarks.append(f"it averages updates that each see {share:.0%} of the time")
    if isinstance(wave, RampedWave):
        remarks.append(f"the power itself follows the load with about {wave.ramp_s * 1e3:.1f} ms")
    if window_s and window_s < 0.95 * period_s and averaging == "boxcar":
        remarks.append(f"the sensor sees {window_s / period_s:.0%} of the time")
    told = replace(
        sensor,
        window_s=window_s,
        delay_s=None if why_delay else fit.delay_s,
        averaging=averaging,
        uncertainty=uncertainty,
        refused=sentence("Not everything can be told", Refusal("; ".join(refused)))
        if refused
        else "",
    )
    return told, tuple(remarks)


def _doubt_of_window(known: Known) -> str:
    fit = known.best.fit
    if not known.clear:
        return (
            "a mean over a window and a lag explain the values equally well "
            f"(about {fit.window_s * 1e3:.3g} ms by a {fit.averaging})"
        )
    if known.window_u_s > MAX_WINDOW_U * fit.window_s:
        return _unsure("window", fit.window_s, known.window_u_s, known.disagreement[0])
    return ""


def _doubt_of_delay(known: Known, point: bool, earliest_s: float) -> str:
    fit = known.best.fit
    if known.delay_u_s > MAX_DELAY_U_S:
        return _unsure("delay", fit.delay_s, known.delay_u_s, known.disagreement[1])
    if not known.clear and not point and fit.window_s > MAX_DELAY_U_S:
        return "so the delay cannot be told from the window"
    if fit.delay_s > response.DELAY_S[1] - DELAY_EDGE_S:
        return f"the delay of {fit.delay_s:.3g} s is at the end of what is searched"
    if fit.delay_s < earliest_s - 3 * known.delay_u_s:
        return (
            f"the values would follow the load {-fit.delay_s * 1e3:.3g} ms before it switched: its "
            "instants are wrong, or the sensor is of another kind than is known here"
        )
    return ""


def _unsure(what: str, value_s: float, u_s: float, disagreement: float) -> str:
    disagree = ", and periods of the load disagree" if disagreement > DISAGREE else ""
    return (
        f"the {what} is {value_s * 1e3:.3g} ms with a standard uncertainty of {u_s * 1e3:.3g} ms"
        f"{disagree}"
    )
