"""Every flag by its name: what it tells a person, how bad it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
"""Worst first."""

RELIABLE, RANGE, HOLISTIC = "reliable", "range", "holistic"


@dataclass(frozen=True, slots=True)
class Flag:
    """What is known of a flag.

    Attributes:
        sentence: What it tells a person.
        remedy: What to do about it.
        severity: error (the figures must not be used as they are), warning, or note.
        principle: Which of the paper's principles it touches: reliable, range or holistic.
    """

    sentence: str
    remedy: str
    severity: str = WARNING
    principle: str = RELIABLE


FLAGS: dict[str, Flag] = {
    # ------------------------------------------------------------ windows (energy, flag_windows)
    "no_samples": Flag(
        "The instrument gave no good reading inside the window, so its energy is unknown.",
        "Use another source for this window, or measure again.",
        ERROR,
    ),
    "few_samples": Flag(
        "The instrument gave fewer good readings than analysis.min_samples.",
        "Drop these windows (as SMI (corrected) does), or sample faster.",
    ),
    "low_coverage": Flag(
        "Good readings cover less of the window than analysis.min_coverage, so its energy is "
        "refused, or only a mean stands for it.",
        "Use another source for this window, or measure again.",
    ),
    "gap": Flag(
        "There is a hole between readings longer than analysis.max_gap_s, which is not bridged.",
        "Find what stalled the instrument; use a counter, which counts through holes.",
    ),
    "clock_not_proven": Flag(
        "The instrument's clock could not be aligned with the recording's, so its energy is not "
        "compared with others.",
        "Record a synchronisation pattern, or exchange stamped messages between the machines.",
        ERROR,
    ),
    "short_window": Flag(
        "The window is shorter than five periods of the instrument: the energy depends on when "
        "readings happened to fall.",
        "Sample faster, or compare longer windows.",
        NOTE,
    ),
    "counter_wrap": Flag(
        "The energy counter passed its maximum inside the window; this was recognised and "
        "corrected.",
        "None.",
        NOTE,
    ),
    "counter_reset": Flag(
        "The energy counter restarted or jumped inside the window; what it counted between the "
        "two readings is unknown.",
        "Use the integral of power for these windows; look for a driver reload.",
    ),
    "counter_ambiguous": Flag(
        "Readings of the energy counter contradict each other or allow more than one number of "
        "wraps inside the window, so some of them were not used.",
        "Read the counter more often.",
    ),
    "counter_ring_mismatch": Flag(
        "The energy counter and the driver's own power samples of this device contradict each "
        "other, so the samples were not used to place the counter's energy in time.",
        "Run 'wattproof characterise' on this board.",
    ),
    "shared": Flag(
        "Other runs were at work on the node at the same time: the node's energy is shared among "
        "them, each with its own GPU.",
        "None; train one run at a time (plan.setting: single) for energies that nobody shares.",
        NOTE,
    ),
    "energy_outside_limits": Flag(
        "The mean power is below half of the device's idle power or more than 5 % above its power "
        "limit: physically implausible.",
        "Check unit, device and power limit.",
        ERROR,
    ),
    "sample_ratio_low": Flag(
        "The instrument gave fewer than half of the readings that its period promises.",
        "Query NVML directly instead of starting nvidia-smi for each sample.",
    ),
    "constant_meter": Flag(
        "The meter shows the same power in every window of the session: it is frozen, or its steps "
        "are larger than the node's variation.",
        "Check that the meter measures this node and that its range fits.",
        ERROR,
    ),
    "counter_stands_still": Flag(
        "The energy counter has the same value at the begin and at the end of windows of 5 s and "
        "more, as if the device had drawn nothing.",
        "Use the integral of power; look whether the counter is supported on this board.",
        ERROR,
    ),
    "counter_integral_mismatch": Flag(
        "The energy counter and the integral of the same device's power differ by more than 10 %.",
        "Compare both with a meter before one of them is published.",
    ),
    # ------------------------------------------------------------------------- single series
    "failed_readings": Flag(
        "Many readings of this instrument failed.",
        "Look at the statuses; a failed read must never count as 0.",
    ),
    "zero_means_missing": Flag(
        "Some values are exactly 0 although the device never draws nothing: they stand for "
        "missing readings.",
        "Treat 0 as missing (zero_is_missing in the manifest).",
        ERROR,
    ),
    "negative_power": Flag(
        "Power is negative, so the sign of this channel is wrong, or the sensor is.",
        "Correct sign in the manifest, or leave the channel out.",
        ERROR,
    ),
    "glitch_values": Flag(
        "Single values are far outside what the device can draw.",
        "Leave these readings out before integrating.",
        ERROR,
    ),
    "doubled_stamps": Flag(
        "Readings share their time stamp with the one before: rows were written twice, or several "
        "devices share a channel.",
        "Remove doubled rows, or say which device each row is of.",
    ),
    "whole_second_stamps": Flag(
        "All time stamps are whole seconds, so each edge of a window is uncertain by up to a "
        "second.",
        "Log fractions of seconds.",
    ),
    "coarse_quantisation": Flag(
        "The steps of the values are large against the variation that is to be measured.",
        "Use a finer range or a better instrument for differences of this size.",
    ),
    "running_average": Flag(
        "The values are running averages passed off as readings: they lag and hide what is short.",
        "Ask for the readings themselves, or say averaging_s in the manifest.",
        ERROR,
    ),
    "clipped_values": Flag(
        "The values stop at one highest value again and again: the instrument was overranged or "
        "clipped.",
        "Choose a larger range.",
        ERROR,
    ),
    "throttling": Flag(
        "The GPU was throttled during runs: energy and time are those of a slowed-down board.",
        "Check cooling and power limit; leave the runs out or report them as such.",
        WARNING,
        RANGE,
    ),
    "source_restarted": Flag(
        "The instrument or its source was restarted during the recording.",
        "Look at the gap around the restart.",
    ),
    "frozen_sensor": Flag(
        "The sensor repeated one value for a long time while other sensors moved.",
        "Leave that stretch out; look why the sensor froze.",
        ERROR,
    ),
    # --------------------------------------------------------------------------- two series
    "meter_elsewhere": Flag(
        "The meter does not follow the node's own sensors: it measures another device.",
        "Check the wiring: which plug or phase the meter is on.",
        ERROR,
    ),
    "streams_swapped": Flag(
        "Streams of two devices are exchanged: each follows the other one's sensors.",
        "Exchange the two files, or the names of their devices.",
        ERROR,
    ),
    "wrong_unit": Flag(
        "The values are off by a factor that units differ by (1000, 3600 …).",
        "Correct the unit.",
        ERROR,
    ),
    "time_zone_shift": Flag(
        "The clock of this log is whole hours off: its stamps are in another time zone, or summer "
        "time.",
        "Say time_zone in the manifest.",
        WARNING,
    ),
    "clock_far_off": Flag(
        "The clock of this log is days or years off; it was aligned by its levels.",
        "Set the clock before measuring.",
        WARNING,
    ),
    "limits_changed": Flag(
        "The power limit of a board changed between sessions.",
        "Do not pool runs under different limits.",
        WARNING,
        RANGE,
    ),
    "empty_window": Flag(
        "A window ends when it begins, or before: stop equals start.",
        "Correct the marks.",
        ERROR,
    ),
    "samples_scatter": Flag(
        "Two registers of one device agree on energies while their single samples scatter.",
        "Compare energies of windows, not samples.",
        NOTE,
    ),
    # ------------------------------------------------------------------- rows of figures
    "constant_factor": Flag(
        "One figure is a constant multiple of others in every row, such as a PUE: it holds no "
        "measurement of its own.",
        "Divide by the factor, and report device energy and overhead apart.",
        ERROR,
        HOLISTIC,
    ),
    "factor_not_told": Flag(
        "A total is more than its parts, but they vary too little to tell a factor from a device "
        "that is not listed.",
        "Ask what the total contains; use the energies of the devices.",
        NOTE,
        HOLISTIC,
    ),
    "device_names_differ": Flag(
        "One device has several names in one table: the driver changed, or there were two hosts.",
        "Say which rows come from which host and driver.",
        NOTE,
    ),
    "energy_before_epochs": Flag(
        "Energy is booked before the first epoch: start-up that short trainings pay for most.",
        "Compare trainings of equal length, or take the energy of epochs alone.",
        NOTE,
        HOLISTIC,
    ),
    "parts_do_not_add_up": Flag(
        "A total is a nearly constant multiple of the parts that are told: a factor such as a PUE, "
        "or a device that is not listed, is in it.",
        "Ask what the total contains; use the energies of the devices.",
        WARNING,
        HOLISTIC,
    ),
    "extrapolated_rows": Flag(
        "Energies at several budgets are exact multiples of one another: they were extrapolated, "
        "not measured.",
        "Use only the rows that were measured.",
        ERROR,
    ),
    "duplicated_networks": Flag(
        "Networks stand in more than one part of the split, so scores on held-out rows are too "
        "good.",
        "Split by network.",
        ERROR,
        "",
    ),
    "repeated_rows": Flag(
        "Rows repeat another row's figures exactly.",
        "Remove the repeats.",
    ),
    "energy_time_implausible": Flag(
        "Energy over time gives a power that the device cannot have.",
        "Check units of energy and time.",
        ERROR,
    ),
    "no_idle": Flag(
        "There is no idle measurement, so the span from idle to limit cannot be told.",
        "Measure idle power on the same device.",
        NOTE,
        RANGE,
    ),
    # ------------------------------------------------------------------- published figures
    "published_reproduced": Flag("The published figure comes out of the raw log.", "None.", NOTE),
    "published_not_reproduced": Flag(
        "The published figure does not come out of the raw log.",
        "Ask which log and which factor the figure was made from.",
        ERROR,
    ),
    "idle_in_published_figure": Flag(
        "The official rule averages idle time before and after the run into the figure.",
        "Integrate inside the run windows.",
        WARNING,
        HOLISTIC,
    ),
    # --------------------------------------------------------------- what a log did not say
    "no_marks": Flag("Nothing marks runs in these logs.", "Give windows in the manifest.", NOTE),
    "no_start": Flag("The log does not say when it began.", "Give start in the manifest.", NOTE),
    "inferred_unit": Flag("A unit was inferred.", "Give unit in the manifest.", WARNING),
    "inferred_columns": Flag(
        "The meaning of columns was inferred.", "Name columns in the manifest.", WARNING
    ),
    "inferred_devices": Flag(
        "Which row is of which device was inferred.", "Log the device.", WARNING
    ),
    "inferred_step": Flag("The time step was inferred.", "Give step_s in the manifest.", WARNING),
    "inferred_time_zone": Flag(
        "The time zone was inferred.", "Say time_zone in the manifest.", NOTE
    ),
    "inferred_time_unit": Flag(
        "The unit of time stamps was inferred.", "Say time_format in the manifest.", NOTE
    ),
    "inferred_day_order": Flag(
        "The order of day and month was inferred.", "Say day_first in the manifest.", NOTE
    ),
    "summer_time": Flag("The log runs over a change of summer time.", "Log in UTC.", WARNING),
    "broken_lines": Flag("Lines of the log could not be read.", "Look at them.", WARNING),
    "broken_stamps": Flag("Time stamps could not be read.", "Look at these rows.", WARNING),
    "stamps_backwards": Flag(
        "Time stamps go backwards in the file.",
        "Look whether the clock was set; rows were sorted by time.",
        WARNING,
    ),
    "lost_intervals": Flag("The tool lost intervals of a counter.", "Measure again.", ERROR),
    "whole_second_start": Flag(
        "The start of the log is only known to a second.", "Give start in the manifest.", NOTE
    ),
    "truncated_lines": Flag("Lines of the log are cut off.", "Restore the log.", NOTE),
    "marks_on_another_clock": Flag(
        "The marks of the runs are by another machine's clock than the readings.",
        "Exchange stamped messages between the machines, or mark runs where power is recorded.",
        WARNING,
    ),
    "published_not_checked": Flag(
        "A published figure could not be checked.", "Give the log that it was made from.", NOTE
    ),
    "unnamed_runs": Flag("Rows do not say which run they are of.", "Give run ids.", NOTE),
    "totals_so_far": Flag(
        "Rows of one run are totals so far, not parts of it.", "Never add them up.", NOTE
    ),
    "energy_missing": Flag("Rows lack an energy.", "Leave them out of sums.", WARNING),
    "negative_energy": Flag(
        "Rows hold a negative energy: a counter was reset or wrapped.",
        "Leave these runs out, or measure again.",
        ERROR,
    ),
    "mixed_tracking_modes": Flag(
        "Some rows are of one process and some of the whole node.",
        "Compare rows of one mode only.",
        WARNING,
        HOLISTIC,
    ),
}
"""Every flag of windows, recordings and sets by its name."""


def describe(flag: str) -> str:
    """Return the sentence of a flag; for an unknown one its name, so that none is ever hidden."""
    known = FLAGS.get(flag)
    return known.sentence if known else f"Flag '{flag}' (no description)."
