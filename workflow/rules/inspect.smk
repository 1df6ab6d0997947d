"""Stage inspect: what is wrong with one recording, by name."""


rule inspect:
    input:
        samples=f"{RESULTS}/recordings/{{recording}}/samples.parquet",
        channels=f"{RESULTS}/recordings/{{recording}}/channels.parquet",
        marks=f"{RESULTS}/recordings/{{recording}}/marks.parquet",
        clocks=f"{RESULTS}/recordings/{{recording}}/clocks.parquet",
        windows=f"{RESULTS}/recordings/{{recording}}/windows.parquet",
        health=([] if AUDIT else f"{RESULTS}/recordings/{{recording}}/health.parquet"),
    output:
        f"{RESULTS}/recordings/{{recording}}/findings.parquet",
    log:
        f"{RESULTS}/logs/inspect/{{recording}}.log",
    benchmark:
        f"{RESULTS}/timings/inspect/{{recording}}.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    script:
        "../scripts/inspect_recording.py"
