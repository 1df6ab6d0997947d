"""This benchmark beside four others. Its own column is filled from its tables, never by hand.

Facts on the others come from reading their source and papers and from running what runs; marks say
which: [M] measured or executed by us, [S] read in source or project documents, [D] documented,
[I] inferred. EA-HAS-Bench: github.com/microsoft/EA-HAS-Bench, commit fd689ce. EC-NAS-Bench:
saintslab, 2024, set 4V. JAHS-Bench-201: PyPI jahs-bench 1.1.0. NAS-Bench-301: PyPI nasbench301 0.3.
"""

from __future__ import annotations

from typing import NamedTuple

from wattproof.report.inputs import ReportInputs
from wattproof.report.select import source_name
from wattproof.report.text import count, known, listed, percent
from wattproof.report.view import View


class Row(NamedTuple):
    """An aspect: the key of the own fact, and what is known of the others."""

    aspect: str
    own: str
    ea_has: str
    ec_nas: str
    jahs: str
    nb301: str


ROWS = (
    Row(
        "what is searched",
        "searched",
        "5 parameters of the network, 5 of the training [D]",
        "the network (NAS-Bench-101 cells) [S]",
        "network and training, and four fidelities [S]",
        "the network (DARTS cells) [S]",
    ),
    Row(
        "distinct networks",
        "networks",
        "334 (CIFAR-10) and 38,516 (Tiny ImageNet); 6.04e7 stated [M]",
        "91 in the set 4V; larger sets [M]",
        "not counted by us",
        "about 10^18; about 60,000 trained [S]",
    ),
    Row(
        "training energy",
        "energy",
        "GPU alone, by an nvidia-smi process a sample; Wh labelled kWh [S]",
        "by carbontracker; a PUE is in the total, but not in the powers of the same record [S]",
        "no [S]",
        "no [S]",
    ),
    Row("inference energy", "inference", "yes [S]", "no [S]", "no [S]", "no [S]"),
    Row("calibrated by an external meter", "meter", "no [S]", "no [S]", "no [S]", "no [S]"),
    Row("power samples kept", "samples", "no: means only [S]", "means [S]", "no [S]", "no [S]"),
    Row(
        "repeated trainings, open to users",
        "repeats",
        "no: seed 1 in every run [S]",
        "three of the set 4V are stored; repeat 0 is always returned [S]",
        "no [S]",
        "no [S]",
    ),
    Row(
        "learning curves",
        "curves",
        "of the accuracy (Bézier); none of the energy [S]",
        "four points: 4, 12, 36, 108 epochs [S]",
        "yes [S]",
        "no; partly in NAS-Bench-x11 [S]",
    ),
    Row(
        "energy and time rise with the epoch",
        "rising",
        "energy is a mean times epochs [S]",
        "longer trainings are scaled or predicted from 4 epochs [S]",
        "no: run time is not monotone [S]",
        "one number a network [S]",
    ),
    Row(
        "noise of a training",
        "noise",
        "no working model: the query does not accept its argument [S]",
        "the seed is ignored [S]",
        "none [S]",
        "spread of the ensemble, from the global random state, which building a model re-seeds [S]",
    ),
    Row(
        "intervals, and what they cover",
        "intervals",
        "none; the ensemble's spread is hidden [S]",
        "none [S]",
        "none [S]",
        "none; its recipe covered 41.6 % at nominal 90 % on a public table [M]",
    ),
    Row(
        "how held-out runs were chosen",
        "split",
        "by row: of test networks 100 % (CIFAR-10) and 50 % (Tiny ImageNet) are in training, "
        "simulated [M]",
        "a table: none [S]",
        "not known to us",
        "one optimiser left out at a time, too [S]",
    ),
    Row(
        "runs on Python 3.11",
        "python",
        "no: does not import [S]",
        "no package [S]",
        "no: asks for an older Python [M]",
        "installs, import fails [M]",
    ),
    Row(
        "files that hold data and models",
        "files",
        "pickles, on a personal drive [S]",
        "tables in Git LFS [S]",
        "pickles [S]",
        "not known to us",
    ),
)

SOURCE_NOTE = (
    "Marks: M measured or executed by us, S read in source or project documents, D documented, I "
    "inferred. EA-HAS-Bench: github.com/microsoft/EA-HAS-Bench, commit fd689ce. EC-NAS-Bench: "
    "saintslab, 2024. JAHS-Bench-201: jahs-bench 1.1.0. NAS-Bench-301: nasbench301 0.3."
)


def view(inputs: ReportInputs) -> View:
    """The comparison; without a benchmark there is none."""
    facts = own_facts(inputs)
    return View(
        "peers",
        "This benchmark beside others. Its own column is made from its tables and by asking it.",
        (
            *("aspect", "this benchmark", "EA-HAS-Bench", "EC-NAS-Bench", "JAHS-Bench-201"),
            "NAS-Bench-301",
        ),
        tuple((row.aspect, facts.get(row.own, "not known"), *row[2:]) for row in ROWS),
        "" if inputs.published.facts else "There is no published benchmark to compare.",
        (SOURCE_NOTE,),
    )


def own_facts(inputs: ReportInputs) -> dict[str, str]:
    """The own column: what the benchmark says, and what the campaign's tables do."""
    facts = dict(inputs.published.facts)
    by = inputs.dataset.loc[inputs.dataset["status"] == "ok", "node_energy_by"].astype(str)
    metered, runs = int((by == "meter").sum()), len(by)
    calibrated = inputs.calibration[inputs.calibration["error_median"].notna()]
    if metered:
        facts["meter"] = f"the meter itself for {metered} of {count(runs, 'run')}"
    elif len(calibrated):
        facts["meter"] = count(calibrated["estimator"].nunique(), "calibrated estimator")
    else:
        facts["meter"] = "no"
    sources = sorted(inputs.channels["source"].astype(str).unique())
    names = listed([source_name(source) for source in sources])
    facts["samples"] = (
        f"all readings of {count(len(inputs.channels), 'channel')} ({names})" if names else "no"
    )
    facts["split"] = "; ".join(dict.fromkeys(inputs.scores["split"].astype(str))) or "not known"
    rows = inputs.coverage[
        (inputs.coverage["stratum"] == "all") & (inputs.coverage["target"] == "energy_j")
    ]
    level = facts.pop("level", "")
    if len(rows) and known(rows["coverage"].iloc[0]):
        said = f"of the energy: {percent(rows['coverage'].iloc[0])}"
    else:
        said = "coverage not measured"
    if level:
        facts["intervals"] = f"{level} intervals, {said}"
    return facts
