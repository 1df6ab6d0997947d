"""Stage calibrate: rules that turn cheap channels into node energy, with held-out errors."""


rule calibrate:
    input:
        energy=recorded("energy"),
        channels=recorded("channels"),
        elsewhere=CONFIG["analysis"]["calibration"] or [],
    output:
        calibration=f"{RESULTS}/tables/calibration.parquet",
        estimates=f"{RESULTS}/tables/estimates.parquet",
        agreement=f"{RESULTS}/tables/estimator_agreement.parquet",
    log:
        f"{RESULTS}/logs/calibrate.log",
    benchmark:
        f"{RESULTS}/timings/calibrate.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        sites=SITES,
        settings={"alpha": CONFIG["analysis"]["alpha"]},
    script:
        "../scripts/calibrate.py"
