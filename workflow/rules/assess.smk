"""Stage assess: which source can be trusted, and how much of the GPU the space uses."""


rule assess:
    input:
        energy=recorded("energy"),
        channels=recorded("channels"),
        utilisation=recorded("utilisation"),
    output:
        agreement=f"{RESULTS}/tables/agreement.parquet",
        usage=f"{RESULTS}/tables/usage.parquet",
    log:
        f"{RESULTS}/logs/assess.log",
    benchmark:
        f"{RESULTS}/timings/assess.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        sites=SITES,
        settings={
            key: CONFIG["analysis"][key]
            for key in ("min_samples", "alpha", "off_socket")
        },
    script:
        "../scripts/assess.py"
