"""Reading ``nvidia-smi -q -x``, whose tags changed twice, without ever inventing a number.

Tags: ``power_readings`` became ``gpu_power_readings`` by driver 535, its ``power_draw`` became
``average_power_draw`` and ``instant_power_draw`` in 570 (measurement.md section 4). EA-HAS-Bench's
tracer answers such changes with 0.0 W (case F17).
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from wattproof.sources.base import Status
from wattproof.sources.nvml.meaning import KEPLER, NAMES, Meaning, meaning

SECTIONS = ("gpu_power_readings", "power_readings")
DRAWS = ("power_draw", "average_power_draw", "instant_power_draw")
"""In order of preference: what older drivers call power_draw is the average on Ampere and later."""
LIMITS = ("current_power_limit", "power_limit", "enforced_power_limit")

_REASONS = {
    "n/a": Status.NOT_SUPPORTED,
    "not supported": Status.NOT_SUPPORTED,
    "requested functionality has been deprecated": Status.NOT_SUPPORTED,
    "insufficient permissions": Status.NO_PERMISSION,
    "gpu is lost": Status.DEVICE_LOST,
    "gpu requires reset": Status.DEVICE_LOST,
    "err!": Status.ERROR,
    "unknown error": Status.ERROR,
}
"""What nvidia-smi prints in place of a number, mostly in brackets."""

Value = tuple[float | None, Status]


@dataclass(frozen=True, slots=True)
class GpuReport:
    """One ``<gpu>`` of a report.

    Attributes:
        uuid: GPU UUID.
        name: Product name.
        element: The XML element, for `power` and `utilisation`.
    """

    uuid: str
    name: str
    element: ElementTree.Element

    def power_tag(self) -> str | None:
        """Return the path of the tag that carries the power draw, None if none is known.

        A tag with a number comes before one without: some boards have no average.
        """
        paths = [f"{section}/{draw}" for section in SECTIONS for draw in DRAWS]
        there = [path for path in paths if self.element.find(path) is not None]
        told = [path for path in there if self.power(path)[1] is Status.OK]
        return next(iter([*told, *there]), None)

    def power(self, tag: str) -> Value:
        """Return the power in watts from the tag found at the start, or why there is none."""
        return watts(self.element.findtext(tag))

    def meaning(self) -> Meaning:
        """Return what is known of the board's power sensor."""
        generation = (self.element.findtext("product_architecture") or "").partition(" ")[0]
        known = generation in NAMES
        return meaning(KEPLER + NAMES.index(generation) if known else None, self.name)

    def utilisation(self) -> Value:
        """Return the utilisation in percent, or why there is none."""
        return parse_value(self.element.findtext("utilization/gpu_util"), "%")

    def limit_w(self) -> float | None:
        """Return the power limit in watts; None if the report does not tell."""
        for section in SECTIONS:
            for limit in LIMITS:
                value, _ = parse_value(self.element.findtext(f"{section}/{limit}"), "W")
                if value is not None:
                    return value
        return None


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report: driver version and GPUs in the order of the tool (PCI order)."""

    driver: str
    gpus: tuple[GpuReport, ...]


def parse_report(text: bytes) -> Report | None:
    """Parse the XML; None if it is not a whole report."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    if root.tag != "nvidia_smi_log":
        return None
    gpus = tuple(
        GpuReport(
            (element.findtext("uuid") or "").strip(),
            (element.findtext("product_name") or "").strip(),
            element,
        )
        for element in root.findall("gpu")
    )
    return Report((root.findtext("driver_version") or "").strip(), gpus)


def parse_value(text: str | None, unit: str) -> Value:
    """Parse ``123.45 W``, ``45 %`` or a bare number (``nounits``).

    Returns:
        The number and OK, or None and the reason: a tag that is not there is MISSING, ``N/A``
        NOT_SUPPORTED, ``ERR!`` ERROR and so on, anything else GARBLED.
    """
    if text is None:
        return None, Status.MISSING
    word = text.strip()
    reason = _REASONS.get(word.lower().strip("[]"))
    if reason is not None:
        return None, reason
    number = word.removesuffix(unit).strip()
    if not number or not number.replace(".", "", 1).isdecimal() or not number.isascii():
        return None, Status.GARBLED
    return float(number), Status.OK


def watts(text: str | None) -> Value:
    """Parse a power draw. No board draws nothing: 0 W is no measurement."""
    value, status = parse_value(text, "W")
    return (None, Status.MISSING) if value == 0.0 else (value, status)
