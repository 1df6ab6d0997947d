"""Stage fit: surrogates of accuracy, energy and time, scored on held-out networks."""


rule fit:
    input:
        dataset=f"{RESULTS}/tables/dataset.parquet",
        curves=f"{RESULTS}/tables/curves.parquet",
    output:
        models=directory(f"{RESULTS}/surrogate"),
        scores=f"{RESULTS}/tables/scores.parquet",
        coverage=f"{RESULTS}/tables/coverage.parquet",
        growth=f"{RESULTS}/tables/growth.parquet",
        held_out=f"{RESULTS}/tables/held_out.parquet",
    log:
        f"{RESULTS}/logs/fit.log",
    benchmark:
        f"{RESULTS}/timings/fit.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        settings=CONFIG["surrogate"],
    script:
        "../scripts/fit.py"
