"""Stage survey: what is wrong with the whole set, all findings together, worst first."""


rule survey:
    input:
        energy=recorded("energy"),
        channels=recorded("channels"),
        findings=recorded("findings"),
        # Only looked into where the meters of two recordings may be exchanged.
        samples=recorded("samples"),
        clocks=recorded("clocks"),
        reported=recorded("reported") if AUDIT else [],
        ingested=recorded("findings_ingest") if AUDIT else [],
    output:
        f"{RESULTS}/tables/findings.parquet",
    log:
        f"{RESULTS}/logs/survey.log",
    benchmark:
        f"{RESULTS}/timings/survey.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    script:
        "../scripts/survey.py"
