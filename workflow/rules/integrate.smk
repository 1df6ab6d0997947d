"""Stage integrate: the energy of every window by every channel."""


rule integrate:
    input:
        samples=f"{RESULTS}/recordings/{{recording}}/samples.parquet",
        channels=f"{RESULTS}/recordings/{{recording}}/channels.parquet",
        marks=f"{RESULTS}/recordings/{{recording}}/marks.parquet",
        runs=f"{RESULTS}/recordings/{{recording}}/runs.parquet",
        clocks=f"{RESULTS}/recordings/{{recording}}/clocks.parquet",
        sensors=CONFIG["analysis"]["sensors"] or [],
        # Foreign sets come with their windows.
        windows=(
            f"{RESULTS}/recordings/{{recording}}/windows_ingest.parquet"
            if AUDIT
            else []
        ),
    output:
        windows=f"{RESULTS}/recordings/{{recording}}/windows.parquet",
        energy=f"{RESULTS}/recordings/{{recording}}/energy.parquet",
        shares=f"{RESULTS}/recordings/{{recording}}/shares.parquet",
        utilisation=f"{RESULTS}/recordings/{{recording}}/utilisation.parquet",
    log:
        f"{RESULTS}/logs/integrate/{{recording}}.log",
    benchmark:
        f"{RESULTS}/timings/integrate/{{recording}}.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        settings={
            key: CONFIG["analysis"][key]
            for key in ("min_samples", "min_coverage", "max_gap_s", "sensors")
        },
    script:
        "../scripts/integrate.py"
