"""Stage search: methods at equal energy budgets, by a calibrated and by a faulty source."""


rule search:
    input:
        benchmark=f"{RESULTS}/benchmark",
    output:
        search=f"{RESULTS}/tables/search.parquet",
        front=f"{RESULTS}/tables/search_front.parquet",
        figures=report(
            directory(f"{RESULTS}/search"),
            patterns=["{name}.png"],
            caption="../report/search.rst",
            category="Search",
            labels={"figure": "{name}"},
        ),
    log:
        f"{RESULTS}/logs/search.log",
    benchmark:
        f"{RESULTS}/timings/search.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    threads: 2
    resources:
        **ANALYSIS_JOB,
    params:
        settings={key: v for key, v in CONFIG["search"].items() if key != "report"},
        campaign=CAMPAIGN,
    script:
        "../scripts/search.py"
