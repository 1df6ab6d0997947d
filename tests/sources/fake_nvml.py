"""A small stand-in for the module pynvml: two GPUs that fail on order."""

from types import SimpleNamespace
from typing import Any

NOT_SUPPORTED, NO_PERMISSION, TIMEOUT, LOST, UNKNOWN = 3, 4, 10, 15, 999
STAMP_US = 1_795_000_000_123_456


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML code {value}")
        self.value = value


class FakeNvml:
    """Two GPUs; `fail` maps a function or a field id to an NVML return code."""

    NVMLError = NVMLError

    def __init__(self, gpus: int = 2, **fail: int) -> None:
        self.gpus = gpus
        self.fail: dict[Any, int] = dict(fail)
        self.power_mw = {185: 301_250, 186: 129_500}
        self.scopes_mw: dict[int, int] = {}
        self.value_type = 1
        self.stamp_us = STAMP_US
        self.energy_mj = 2**40 + 1
        self.calls: list[str] = []
        self.open = 0
        self.mig = [0, 0]
        self.board = b"NVIDIA H100 80GB HBM3"
        self.architecture = 9
        self.lost: set[int] = set()
        self.usage_mw = 222_000

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise NVMLError(self.fail[name])

    def nvmlInit(self) -> None:  # noqa: N802
        self._call("nvmlInit")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetFieldValues(  # noqa: N802
        self, handle: int, fields: list[tuple[int, int]]
    ) -> Any:
        self._call("nvmlDeviceGetFieldValues")
        if handle in self.lost:
            raise NVMLError(LOST)
        assert 83 not in {field for field, _ in fields}, "the counter is never read with power"
        member = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")[self.value_type]
        return [
            SimpleNamespace(
                fieldId=field,
                scopeId=scope,
                timestamp=self.stamp_us,
                valueType=self.value_type,
                nvmlReturn=self._code(handle, field, scope),
                # Only the member of the right type is there: reading another one is an error.
                value=SimpleNamespace(**{member: self._power_mw(handle, field, scope)}),
            )
            for field, scope in fields
        ]

    def _code(self, handle: int, field: int, scope: int) -> int:
        lacks_scope = scope != 0 and scope not in self.scopes_mw
        return self.fail.get(field, NOT_SUPPORTED if lacks_scope else 0)

    def _power_mw(self, handle: int, field: int, scope: int) -> int:
        return self.scopes_mw.get(scope, self.power_mw[field]) + 1000 * handle

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlSystemGetDriverVersion": "580.159",
            "nvmlDeviceGetCount": self.gpus,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetPersistenceMode": 1,
            "nvmlDeviceGetArchitecture": self.architecture,
            "nvmlDeviceGetTotalEnergyConsumption": self.energy_mj,
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=41),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=5 * 2**30),
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetPowerUsage": self.usage_mw,
            "nvmlDeviceGetCurrentClocksEventReasons": 4,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 4,
            "nvmlDeviceGetMigMode": self.mig,
        }

        def call(*arguments: Any) -> Any:
            self._call(name)
            if arguments and arguments[0] in self.lost:
                raise NVMLError(LOST)
            if name == "nvmlDeviceGetHandleByIndex":
                return arguments[0]
            if name == "nvmlDeviceGetUUID":
                return f"GPU-{arguments[0]:04d}"
            if name == "nvmlDeviceGetName":
                return self.board
            return answers[name]

        if name.startswith("_"):
            raise AttributeError(name)
        return call
