"""Stage benchmark: the artefact that others install and query."""


rule benchmark:
    input:
        dataset=f"{RESULTS}/tables/dataset.parquet",
        curves=f"{RESULTS}/tables/curves.parquet",
        scores=f"{RESULTS}/tables/scores.parquet",
        models=f"{RESULTS}/surrogate",
    output:
        directory(f"{RESULTS}/benchmark"),
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
        licence=CONFIG["benchmark"]["licence"],
    script:
        "../scripts/benchmark.py"
