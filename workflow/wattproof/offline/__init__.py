"""Whole recordings of the virtual node without waiting: same model, same tables, no clock.

`record` makes a recording of a campaign (rule ``recording``), `simulate` one in memory for tests.
The instruments are those of live mode: the recorder's own sources open a simulated driver whose
clock stands still and say what they are; their readings come from the sensor models that live mode
asks one value at a time, here for all instants at once; health and tables are made by the
recorder's own code.
"""

from wattproof.offline.base import RunTimeline
from wattproof.offline.programme import Training, load_events
from wattproof.offline.record import record
from wattproof.offline.simulate import METER, PROGRAMME, SOURCES, Simulated, simulate

__all__ = [
    "METER",
    "PROGRAMME",
    "SOURCES",
    "RunTimeline",
    "Simulated",
    "Training",
    "load_events",
    "record",
    "simulate",
]
