"""Stage dataset: one row a run, one row an epoch, with the energies by every estimator."""


rule dataset:
    input:
        plan=f"{RESULTS}/tables/plan.parquet",
        estimates=f"{RESULTS}/tables/estimates.parquet",
        runs=recorded("runs"),
        windows=recorded("windows"),
        marks=recorded("marks"),
        energy=recorded("energy"),
        shares=recorded("shares"),
    output:
        dataset=f"{RESULTS}/tables/dataset.parquet",
        curves=f"{RESULTS}/tables/curves.parquet",
    log:
        f"{RESULTS}/logs/dataset.log",
    benchmark:
        f"{RESULTS}/timings/dataset.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        settings={
            "gate": CONFIG["dataset"]["gate"],
            "folds": CONFIG["surrogate"]["folds"],
            "seed": CONFIG["surrogate"]["seed"],
        },
    script:
        "../scripts/dataset.py"
