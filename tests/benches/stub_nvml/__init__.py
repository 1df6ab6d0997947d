"""A stub NVIDIA driver: ``libnvidia-ml.so.1`` and ``nvidia-smi`` that play a scripted true power.

The library is C, built with gcc, and is found by the real nvidia-ml-py (and so by every tool that
uses it) in a process that runs in `StubDriver.env`. What its sensors show is a closed form of the
script, see ``model.h``; everything about it is simulated.

Example:
    >>> driver = StubDriver.build(folder, [StubGpu(update_s=0.1, window_s=0.025)])
    >>> script = PowerScript(time.monotonic_ns(), loads.square(20.0, period_s=1.0))
    >>> driver.play(0, script)
    >>> subprocess.run([sys.executable, "reads_nvml.py"], env=driver.env)
    >>> script.energy_j(start_ns, end_ns)
"""

from stub_nvml import loads
from stub_nvml.compiling import compiled, compiler
from stub_nvml.driver import StubDriver, StubGpu
from stub_nvml.script import PowerScript

__all__ = ["PowerScript", "StubDriver", "StubGpu", "compiled", "compiler", "loads"]
