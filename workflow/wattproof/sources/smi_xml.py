"""Reading ``nvidia-smi -q -x``, whose tags changed twice, without ever inventing a number.

Tags: ``power_readings`` became ``gpu_power_readings`` by driver 535, its ``power_draw`` became
``average_power_draw`` and ``instant_power_draw`` in 570 (measurement.md section 4). EA-HAS-Bench's
tracer answers such changes with 0.0 W (case F17).
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from wattproof.sources.base import Status

SECTIONS = ("gpu_power_readings", "power_readings")
DRAWS = ("power_draw", "average_power_draw", "instant_power_draw")
"""In order of preference: what older drivers call power_draw is the average on Ampere and later."""
LIMITS = ("current_power_limit", "power_limit", "enforced_power_limit")

_UNSUPPORTED = {"n/a", "[n/a]", "not supported", "[not supported]"}
_FAILED = {"err!", "[unknown error]", "unknown error", "[gpu is lost]"}

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
        """Return the path of the tag that carries the power draw, None if none is known."""
        for section in SECTIONS:
            for draw in DRAWS:
                path = f"{section}/{draw}"
                if self.element.find(path) is not None:
                    return path
        return None

    def power(self, tag: str) -> Value:
        """Return the power in watts from the tag found at the start, or why there is none."""
        return parse_value(self.element.findtext(tag), "W")

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
        NOT_SUPPORTED, ``ERR!`` ERROR, anything else GARBLED.
    """
    if text is None:
        return None, Status.MISSING
    word = text.strip()
    if word.lower() in _UNSUPPORTED:
        return None, Status.NOT_SUPPORTED
    if word.lower() in _FAILED:
        return None, Status.ERROR
    number = word.removesuffix(unit).strip()
    if not number or not number.replace(".", "", 1).isdecimal() or not number.isascii():
        return None, Status.GARBLED
    return float(number), Status.OK
