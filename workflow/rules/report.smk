"""Stage report: figures, verdicts on the three principles, one page."""


rule report:
    input:
        plan=f"{RESULTS}/tables/plan.parquet",
        agreement=f"{RESULTS}/tables/agreement.parquet",
        estimator_agreement=f"{RESULTS}/tables/estimator_agreement.parquet",
        usage=f"{RESULTS}/tables/usage.parquet",
        calibration=f"{RESULTS}/tables/calibration.parquet",
        estimates=f"{RESULTS}/tables/estimates.parquet",
        dataset=f"{RESULTS}/tables/dataset.parquet",
        curves=f"{RESULTS}/tables/curves.parquet",
        scores=f"{RESULTS}/tables/scores.parquet",
        coverage=f"{RESULTS}/tables/coverage.parquet",
        growth=f"{RESULTS}/tables/growth.parquet",
        held_out=f"{RESULTS}/tables/held_out.parquet",
        findings=f"{RESULTS}/tables/findings.parquet",
        benchmark=f"{RESULTS}/benchmark",
        # The demonstration takes minutes: it is part of the page where the campaign says so.
        search=f"{RESULTS}/search" if CONFIG["search"]["report"] else [],
        energy=recorded("energy"),
        windows=recorded("windows"),
        clocks=recorded("clocks"),
        channels=recorded("channels"),
        health=recorded("health"),
        utilisation=recorded("utilisation"),
        example=f"{RESULTS}/recordings/{TRAININGS[0]}/samples.parquet",
    output:
        page=report(
            f"{RESULTS}/report.html",
            caption="../report/page.rst",
            category="Report",
        ),
        scorecard=report(
            f"{RESULTS}/scorecard.json",
            caption="../report/scorecard.rst",
            category="Report",
        ),
        traces=f"{RESULTS}/traces.html",
        figures=report(
            directory(f"{RESULTS}/figures"),
            patterns=["{name}.png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/timings/report.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        sites=SITES,
        campaign=CONFIG,
        config_file=CONFIG_FILE,
        example=TRAININGS[0],
    script:
        "../scripts/report.py"
