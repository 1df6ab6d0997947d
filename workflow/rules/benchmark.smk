"""Stage benchmark: the artefact that others install and query."""

from wattproof.benchmark import snapshot


rule benchmark:
    input:
        dataset=f"{RESULTS}/tables/dataset.parquet",
        curves=f"{RESULTS}/tables/curves.parquet",
        scores=f"{RESULTS}/tables/scores.parquet",
        coverage=f"{RESULTS}/tables/coverage.parquet",
        growth=f"{RESULTS}/tables/growth.parquet",
        models=f"{RESULTS}/surrogate",
        findings=f"{RESULTS}/tables/findings.parquet" if AUDIT else [],
    output:
        folder=directory(f"{RESULTS}/benchmark"),
        archive=f"{RESULTS}/{CAMPAIGN}.wattproof.zip",
    log:
        f"{RESULTS}/logs/benchmark.log",
    benchmark:
        f"{RESULTS}/timings/benchmark.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        space=CONFIG["space"],
        campaign=CAMPAIGN,
        settings=CONFIG["benchmark"],
        # Accounts, folders and ports stay out of what is published.
        config=snapshot.take(
            {key: CONFIG[key] for key in ("campaign", "space", "surrogate")}
            if AUDIT
            else CONFIG
        ),
    script:
        "../scripts/benchmark.py"
