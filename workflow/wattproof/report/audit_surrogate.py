"""Tables of an audit's page on the benchmark that was made of published results."""

from __future__ import annotations

from wattproof.clocks.frames import records
from wattproof.report.audit_inputs import AuditInputs
from wattproof.report.text import UNKNOWN, fixed, known, number, percent, whole
from wattproof.report.view import View
from wattproof.report.views_surrogate import unit_of
from wattproof.surrogate.coverage import LEFT_OUT

NONE = "The manifest asks for no benchmark (key 'benchmark')."


def budgets(inputs: AuditInputs) -> View:
    """How well the surrogates predict networks they have not seen, by training length.

    Args:
        inputs: The audit's tables.
    """
    body = tuple(
        (
            row["target"],
            whole(row["epochs"]),
            whole(row["networks"]),
            fixed(row["kendall_tau"], 3),
            percent(row["mape"]),
            percent(row["noise"]),
            fixed(row["mape"] / row["noise"], 2)
            if known(row["mape"]) and known(row["noise"]) and row["noise"]
            else UNKNOWN,
            number(row["mae"], 3, unit_of(row["target"])),
            percent(row["coverage"]),
            number(row["width"], 3, unit_of(row["target"])),
        )
        for row in records(inputs.budgets)
    )
    return View(
        "budgets",
        "Surrogates at the end of trainings, on held-out networks, against the mean of their "
        "repeats; noise is the median coefficient of variation of the repeats. Covered: share of "
        "single trainings inside intervals that other networks set.",
        (
            *("target", "epochs", "networks", "Kendall τ", "MAPE", "noise", "MAPE/noise", "MAE"),
            *("covered", "width"),
        ),
        body,
        "" if body else NONE,
        source="budgets" if body else "",
        headers=2,
    )


def coverage(inputs: AuditInputs) -> View:
    """Whether the surrogates' intervals cover what they say.

    Args:
        inputs: The audit's tables.
    """
    body = tuple(
        (
            row["target"],
            row["stratum"],
            whole(row["n"]),
            percent(row["level"], 0),
            percent(row["coverage"]),
            number(row["width"], 3, unit_of(row["target"])),
            fixed(row["width_ratio"], 2),
            row["verdict"],
        )
        for row in records(inputs.coverage)
        if row["stratum"] == "all" and row["split"] != LEFT_OUT
    )
    return View(
        "coverage",
        "Intervals around predictions of networks that neither models nor intervals have seen.",
        ("target", "trainings", "n", "nominal", "covered", "width", "to noise alone", "verdict"),
        body,
        "" if body else NONE,
        source="coverage" if body else "",
        headers=2,
    )
