"""What the demonstration showed, in sentences that are computed from its tables.

They say what changed and what did not: that a ranking of methods survives a faulty source is a
finding as much as that it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from wattproof.search import statistics
from wattproof.search.methods import TITLES
from wattproof.search.statistics import Estimate, Swap

SOURCES = {"gpu": "the calibrated source", "smi": "nvidia-smi", "node": "the node's meter"}


@dataclass(frozen=True)
class Against:
    """A source beside the calibrated one.

    Attributes:
        source: Its name.
        spent: What was really spent over the nominal budget.
        promise: What a front's members need over what they were reported to need.
        promise_calibrated: The same for searches by the calibrated source.
        extra: Energy of the choice at equal accuracy over that of the calibrated source's fronts.
        beaten: Share of fronts that the same search really beats.
        beaten_calibrated: The same for searches by the calibrated source.
        volume: Hypervolume over that of the calibrated source's searches at equal true energy.
        claimed: Hypervolume that the searches would report over what their fronts are worth.
        tau: Agreement of the two rankings of methods, each at the end of its searches.
        tau_claimed: The same, if this source's searches are scored by what they report.
        tau_seeds: Agreement of two rankings that differ by seeds only.
        swaps: Pairs of methods that change places.
        swaps_claimed: The same, if this source's searches are scored by what they report.
    """

    source: str
    spent: Estimate
    promise: Estimate
    promise_calibrated: Estimate
    extra: Estimate
    beaten: Estimate
    beaten_calibrated: Estimate
    volume: Estimate
    claimed: Estimate
    tau: Estimate
    tau_claimed: Estimate
    tau_seeds: Estimate
    swaps: list[Swap]
    swaps_claimed: list[Swap]


@dataclass(frozen=True)
class Summary:
    """All of it.

    Attributes:
        calibrated: Name of the calibrated source.
        methods: Names of the methods, best first by the calibrated source.
        apart: Pairs of methods that the calibrated searches tell apart, and pairs in all.
        seeds: Searches of each method and source.
        budget_j: Nominal budget.
        against: One for each other source.
        sentences: What to print.
    """

    calibrated: str
    methods: list[str]
    apart: tuple[int, int]
    seeds: int
    budget_j: float
    against: list[Against]
    sentences: list[str]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def summarise(search: pd.DataFrame, front: pd.DataFrame, missing: Sequence[str] = ()) -> Summary:
    """Compare the sources.

    Args:
        search: Table ``search``.
        front: Table ``search_front``.
        missing: Sentences on what could not be run; they come last.
    """
    methods = statistics.methods_of(search)
    calibrated = str(search.loc[search["calibrated"], "source"].iloc[0])
    best = statistics.cube(search, calibrated, "hypervolume")
    order = [methods[i] for i in (-best.mean(axis=1)).argsort(kind="stable")]
    others = [s for s in dict.fromkeys(search["source"].astype(str)) if s != calibrated]
    against = [_against(search, front, source, calibrated) for source in others]
    apart = statistics.told_apart(best)
    seeds, budget_j = best.shape[1], float(search["budget_j"].iloc[0])
    sentences = [_opening(order, apart, seeds, budget_j, calibrated)]
    for other in against:
        sentences += _sentences(other, calibrated)
    sentences += missing
    if not against:
        sentences.append(
            "Without another source of energy nothing can be said of what a faulty one would do to "
            "a search."
        )
    return Summary(calibrated, order, apart, seeds, budget_j, against, sentences)


def _against(search: pd.DataFrame, front: pd.DataFrame, source: str, calibrated: str) -> Against:
    methods = statistics.methods_of(search)
    at = statistics.nominal(search)
    fronts = {
        name: {
            of.__name__: statistics.paired_median(statistics.of_fronts(front, name, methods, of))
            for of in (statistics.broken_promise, statistics.beaten_share)
        }
        for name in (source, calibrated)
    }

    def scores(name: str, column: str = "hypervolume", when: int | None = None) -> Any:
        return statistics.cube(search, name, column, when)

    spent = scores(source, "total_j") / scores(source, "budget_j")
    claimed = scores(source, "hypervolume_reported")
    return Against(
        source=source,
        spent=statistics.paired_median(spent),
        promise=fronts[source]["broken_promise"],
        promise_calibrated=fronts[calibrated]["broken_promise"],
        extra=statistics.paired_median(statistics.extra_energy(front, source, calibrated, methods)),
        beaten=fronts[source]["beaten_share"],
        beaten_calibrated=fronts[calibrated]["beaten_share"],
        volume=statistics.paired_median(scores(source, when=at) / scores(calibrated, when=at)),
        claimed=statistics.paired_median(claimed / scores(source)),
        tau=statistics.order_agreement(scores(calibrated), scores(source)),
        tau_claimed=statistics.order_agreement(scores(calibrated), claimed),
        tau_seeds=statistics.seed_noise(scores(calibrated)),
        swaps=statistics.swaps(scores(calibrated), scores(source), methods),
        swaps_claimed=statistics.swaps(scores(calibrated), claimed, methods),
    )


def _opening(
    order: list[str], apart: tuple[int, int], seeds: int, budget_j: float, calibrated: str
) -> str:
    return (
        f"By {_name(calibrated)} the methods rank {', '.join(TITLES[m] for m in order)} (best "
        f"first; {seeds} seeds, budget {budget_j / 1e6:.2f} MJ each; {apart[0]} of {apart[1]} "
        "pairs differ by more than seeds explain)."
    )


def _sentences(o: Against, calibrated: str) -> list[str]:
    name = _name(o.source)
    return [
        f"Searches that believed {name} really spent {_percent(o.spent)} of their nominal budget.",
        f"What they call efficient needs {_factor(o.promise)} times the energy that was reported "
        f"(by {_name(calibrated)}: {_factor(o.promise_calibrated)}), and {_percent(o.beaten)} of "
        f"their front is beaten by another configuration that they trained themselves (by "
        f"{_name(calibrated)}: {_percent(o.beaten_calibrated)}).",
        f"Who takes the cheapest configuration of some accuracy off their fronts needs "
        f"{_factor(o.extra)} times the energy of the same choice from fronts found by "
        f"{_name(calibrated)}{_unless(o.extra)}; at equal energy really spent, their hypervolume "
        f"is {_factor(o.volume)} times as large{_unless(o.volume)}.",
        _ranking(o, name),
        f"Scored by what {name} itself reports, as who knows no better would, the searches' "
        f"hypervolume comes out {_factor(o.claimed)} times what it is worth, and the ranking of "
        f"methods agrees with the calibrated one to τ = {_interval(o.tau_claimed)}; "
        f"{_exchanged(o.swaps_claimed)}.",
    ]


def _ranking(o: Against, name: str) -> str:
    """Whether the ranking of methods changed, in as strong words as the seeds allow."""
    beyond = [swap for swap in o.swaps if swap.beyond]
    agreement = (
        f"Kendall's τ between the two rankings is {_interval(o.tau)}, between rankings that differ "
        f"by seeds only {_interval(o.tau_seeds)}"
    )
    if beyond:
        return (
            f"Believing {name} changes the ranking of methods: {_exchanged(o.swaps)} ({agreement})."
        )
    if o.swaps:
        return (
            f"The ranking of methods changes no more than seeds explain: {_exchanged(o.swaps)} "
            f"({agreement})."
        )
    return f"The ranking of methods does not change ({agreement})."


def _exchanged(swaps: list[Swap]) -> str:
    if not swaps:
        return "no two methods change places"
    words = [
        f"{TITLES[s.worse]} overtakes {TITLES[s.better]}"
        f"{'' if s.beyond else ' (within seed noise)'}"
        for s in swaps
    ]
    return ", ".join(words)


def _unless(of: Estimate) -> str:
    return "" if of.beyond(1.0) else ", which seeds explain"


def _name(source: str) -> str:
    return SOURCES.get(source, f"source '{source}'")


def _interval(of: Estimate) -> str:
    return f"{of.value:.2f} (95 % interval {of.low:.2f} to {of.high:.2f})"


def _factor(of: Estimate) -> str:
    return f"{of.value:.2f} ({of.low:.2f} to {of.high:.2f})"


def _percent(of: Estimate) -> str:
    return f"{100 * of.value:.0f} % ({100 * of.low:.0f} to {100 * of.high:.0f} %)"
