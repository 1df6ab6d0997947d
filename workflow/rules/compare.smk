"""Stage compare: channels of one foreign set that tell of the same thing."""


rule compare:
    input:
        samples=f"{RESULTS}/recordings/{{recording}}/samples.parquet",
        channels=f"{RESULTS}/recordings/{{recording}}/channels.parquet",
        clocks=f"{RESULTS}/recordings/{{recording}}/clocks.parquet",
        energy=f"{RESULTS}/recordings/{{recording}}/energy.parquet",
        reported=f"{RESULTS}/recordings/{{recording}}/reported.parquet",
    output:
        f"{RESULTS}/recordings/{{recording}}/agreement.parquet",
    log:
        f"{RESULTS}/logs/compare/{{recording}}.log",
    benchmark:
        f"{RESULTS}/timings/compare/{{recording}}.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        reference=lambda wildcards: MANIFEST.sets[wildcards.recording].reference,
        alpha=CONFIG["analysis"]["alpha"],
    script:
        "../scripts/compare.py"
