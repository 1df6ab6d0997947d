"""Stage fit: surrogates of accuracy, energy and time, scored on held-out networks."""


rule fit:
    input:
        dataset=f"{RESULTS}/tables/dataset.parquet",
        curves=f"{RESULTS}/tables/curves.parquet",
    output:
        models=directory(f"{RESULTS}/surrogate"),
        scores=f"{RESULTS}/tables/scores.parquet",
    params:
        settings=CONFIG["surrogate"],
    log:
        f"{RESULTS}/logs/fit.log",
    benchmark:
        f"{RESULTS}/timings/fit.tsv"
    conda:
        "../../envs/workflow.yaml"
    script:
        "../scripts/fit.py"
