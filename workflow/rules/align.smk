"""Stage align: the clock of every source against the recording's clock."""


rule align:
    input:
        samples=f"{RESULTS}/recordings/{{recording}}/samples.parquet",
        channels=f"{RESULTS}/recordings/{{recording}}/channels.parquet",
        marks=f"{RESULTS}/recordings/{{recording}}/marks.parquet",
        exchanges=(
            f"{RESULTS}/recordings/{{recording}}/exchanges.parquet" if AUDIT else []
        ),
    output:
        f"{RESULTS}/recordings/{{recording}}/clocks.parquet",
    log:
        f"{RESULTS}/logs/align/{{recording}}.log",
    benchmark:
        f"{RESULTS}/timings/align/{{recording}}.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        settings={"min_confidence": CONFIG["analysis"]["min_confidence"]},
    script:
        "../scripts/align.py"
