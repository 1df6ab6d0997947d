"""Stage plan: which runs are trained, in which recordings."""


rule plan:
    input:
        outline.pilots(CONFIG),
    output:
        f"{RESULTS}/tables/plan.parquet",
    log:
        f"{RESULTS}/logs/plan.log",
    benchmark:
        f"{RESULTS}/timings/plan.tsv"
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    params:
        campaign=CAMPAIGN,
        simulated=SIMULATED,
        config={key: CONFIG[key] for key in outline.DECIDING},
    script:
        "../scripts/plan.py"
