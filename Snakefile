"""wattproof: from an empty machine to a report on the energy of a training campaign.

snakemake                                             the demo campaign (config/config.yaml)
snakemake --configfile config/campaigns/mine.yaml     another campaign
snakemake --configfile docs/audits/l40.yaml           an audit of recordings that others made
snakemake --profile slurm                             on a cluster
snakemake --configfile results/all/campaign.yaml      sites that `wattproof merge` made one
snakemake results/demo/tables/agreement.parquet       one table
"""

import sys
from pathlib import Path

from snakemake.utils import min_version

from wattproof import config as campaign_config
from wattproof import audit, cluster, ingest, merge, outline, preflight
from wattproof.dataset import gate
from wattproof.errors import WattproofError

min_version("9.9")

ROOT = Path(workflow.basedir)

# A --configfile replaces the demo campaign; it is not merged into it.
if not workflow.config_settings.configfiles:

    configfile: str(ROOT / "config" / "config.yaml")


CONFIG_FILE = ", ".join(
    str(path) for path in workflow.config_settings.configfiles or ["config/config.yaml"]
)

AUDIT = "audit" in config
MERGED = config.get("sites") is not None
SITES = {}

try:
    SCHEMA = campaign_config.load_schema(
        ROOT / "config" / "schema" / "campaign.schema.json"
    )
    if AUDIT:
        PREPARED = audit.prepare(config, CONFIG_FILE, SCHEMA)
        CONFIG, MANIFEST = PREPARED.config, PREPARED.manifest
        RECORDINGS, TRAININGS, SIMULATED = list(PREPARED.sets), [], False
    elif MERGED:
        CONFIG = campaign_config.validate(config, SCHEMA, CONFIG_FILE)
        gate.check(CONFIG["dataset"]["gate"], CONFIG_FILE)
        SITES, TRAININGS = merge.load(CONFIG, CONFIG_FILE)
        RECORDINGS = list(SITES)
    else:
        CONFIG = campaign_config.validate(config, SCHEMA, CONFIG_FILE)
        CONFIG = preflight.check(CONFIG, CONFIG_FILE, outline.FOLDER)
        PLAN = outline.of(CONFIG, outline.FOLDER)
        RECORDINGS = list(PLAN)
        TRAININGS = [name for name, about in PLAN.items() if about.trainings]
        SIMULATED = CONFIG["node"]["kind"] == "virtual"
        # For scripts; in params it would make every recording out of date when the plan grows.
        config["complete"] = CONFIG
except WattproofError as error:
    sys.stderr.write(f"wattproof: {error}\n")
    sys.exit(1)

CAMPAIGN = CONFIG["campaign"]
RESULTS = campaign_config.campaign_dir(CONFIG)


wildcard_constraints:
    recording="|".join(RECORDINGS),


report: "workflow/report/workflow.rst"


localrules:
    all,


# How many recordings a cluster runs at once is its own business: each has its own node.
resource_scopes:
    whole_node="local",


# Recordings on this machine: what it lacks is told before the first job. (Cluster nodes are looked
# at when a recording starts there; a dry run may be made anywhere.)
onstart:
    try:
        if not (AUDIT or MERGED) and workflow.non_local_exec:
            cluster.check(CONFIG, CONFIG_FILE)
        elif not (AUDIT or MERGED):
            preflight.check_machine(CONFIG, CONFIG_FILE)
    except WattproofError as error:
        sys.stderr.write(f"wattproof: {error}\n")
        sys.exit(1)


include: "workflow/rules/common.smk"


# The tables of the recordings are named although the report needs them anyway: Snakemake does not
# miss a deleted file that only finished jobs have read.
rule all:
    input:
        f"{RESULTS}/report.html",
        f"{RESULTS}/benchmark" if AUDIT and MANIFEST.benchmark else [],
        [recorded(table) for table in RECORDED],


if AUDIT:

    include: "workflow/rules/ingest.smk"
    include: "workflow/rules/align.smk"
    include: "workflow/rules/integrate.smk"
    include: "workflow/rules/inspect.smk"
    include: "workflow/rules/survey.smk"
    include: "workflow/rules/compare.smk"

    if MANIFEST.benchmark:

        include: "workflow/rules/results.smk"
        include: "workflow/rules/fit.smk"
        include: "workflow/rules/benchmark.smk"
    include: "workflow/rules/audit_report.smk"

else:

    if not MERGED:

        include: "workflow/rules/plan.smk"
        include: "workflow/rules/recording.smk"
    include: "workflow/rules/align.smk"
    include: "workflow/rules/integrate.smk"
    include: "workflow/rules/inspect.smk"
    include: "workflow/rules/survey.smk"
    include: "workflow/rules/assess.smk"
    include: "workflow/rules/calibrate.smk"
    include: "workflow/rules/dataset.smk"
    include: "workflow/rules/fit.smk"
    include: "workflow/rules/benchmark.smk"
    include: "workflow/rules/search.smk"
    include: "workflow/rules/report.smk"
