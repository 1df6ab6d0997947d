"""Stage results: rows of others' figures as a data set, for surrogates and a benchmark."""


rule results:
    input:
        f"{RESULTS}/recordings/{MANIFEST.benchmark['set']}/reported.parquet",
    output:
        dataset=f"{RESULTS}/tables/dataset.parquet",
        curves=f"{RESULTS}/tables/curves.parquet",
    log:
        f"{RESULTS}/logs/results.log",
    benchmark:
        f"{RESULTS}/timings/results.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        asked=MANIFEST.benchmark,
        settings={key: CONFIG["surrogate"][key] for key in ("folds", "seed")},
    script:
        "../scripts/results.py"


rule budgets:
    input:
        dataset=f"{RESULTS}/tables/dataset.parquet",
        held_out=f"{RESULTS}/tables/held_out.parquet",
    output:
        f"{RESULTS}/tables/budgets.parquet",
    log:
        f"{RESULTS}/logs/budgets.log",
    benchmark:
        f"{RESULTS}/timings/budgets.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    script:
        "../scripts/budgets.py"
