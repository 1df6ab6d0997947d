"""Reading pickles that others made: arrays, text, numbers and containers, and nothing else.

A pickle is a programme. Run by Python's own `pickle.load`, one from the internet may do anything;
here it can name nothing but what an array of numbers is rebuilt from.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator
from typing import IO, Any

_CORE = ("numpy.core", "numpy._core")
"""NumPy 1 and 2 call the same rooms differently, and pickles keep the name."""

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    *((f"{core}.multiarray", "_reconstruct") for core in _CORE),
    *((f"{core}.numeric", "_frombuffer") for core in _CORE),
}

_LONG = {"BINSTRING": 4, "BINBYTES": 4, "BINUNICODE": 4, "BINBYTES8": 8, "BYTEARRAY8": 8}
"""Opcodes with long data, and the bytes in which they tell its length."""

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}

_SCAN = 4096
"""So many opcodes of the head are looked at: an import or the bulk stands well before that."""


class UnsafePickleError(Exception):
    """A pickle wants something that no table of numbers needs; the message says what."""


def _encode(text: str, codec: str = "latin1") -> bytes:
    """Do what protocol 2 of Python 3 needs to rebuild bytes."""
    if codec not in ("latin1", "latin-1"):
        raise UnsafePickleError(f"it wants the codec {codec!r}")
    return text.encode(codec)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        _refuse_unless_allowed(module, name)
        if (module, name) == ("_codecs", "encode"):
            return _encode
        found: Callable[..., Any] = super().find_class(module, name)
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError(f"it refers to {pid!r}, which lies outside of it")


def _refuse_unless_allowed(module: str, name: str) -> None:
    if (module, name) not in _ALLOWED:
        raise UnsafePickleError(f"it wants to import {module}.{name}")


def load(stream: IO[bytes]) -> Any:
    """Read a pickle of Python 2 or 3; text of Python 2 comes as bytes.

    Raises:
        UnsafePickleError: It wants something that is not allowed, or it is broken.
    """
    try:
        return _Unpickler(stream, encoding="bytes").load()
    except UnsafePickleError:
        raise
    except Exception as error:  # a broken pickle raises nearly anything
        reason = str(error) or type(error).__name__
        raise UnsafePickleError(f"it is no whole pickle: {reason}") from error


def longest(stream: IO[bytes]) -> int | None:
    """Return the bytes of the longest piece of data near a pickle's head, without reading it.

    Args:
        stream: Of a file; nothing is built, long data are skipped.

    Returns:
        None if there is none of more than a few bytes.

    Raises:
        UnsafePickleError: An import near the head is not allowed, or this is no pickle.
    """
    found = 0
    names = _Names()
    for count, (opcode, value) in enumerate(_opcodes(stream)):
        if opcode in _LONG:
            found = max(found, value)
        wanted = names.imported(opcode, value)
        if wanted is not None:
            _refuse_unless_allowed(*wanted)
        if count >= _SCAN:
            break
    return found or None


class _Names:
    """Follows a pickle's texts as far as it takes to know what it imports."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._memo: dict[int, str | None] = {}
        self._last: str | None = None

    def imported(self, opcode: str, value: Any) -> tuple[str, str] | None:
        """Take the next opcode; return module and name if it imports something."""
        if opcode == "GLOBAL":
            module, _, name = str(value).partition(" ")
            self._last = None
            return module, name
        if opcode == "STACK_GLOBAL":
            self._last = None
            return (self._texts[-2], self._texts[-1]) if len(self._texts) >= 2 else ("", "")
        if opcode == "MEMOIZE":
            self._memo[len(self._memo)] = self._last
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[int(value)] = self._last
        else:
            if opcode in ("GET", "BINGET", "LONG_BINGET"):
                value = self._memo.get(int(value))
            self._last = value if isinstance(value, str) else None
            if self._last is not None:
                self._texts.append(self._last)
        return None


def _opcodes(stream: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield the names of opcodes with their arguments; of long data only the length."""
    try:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        while True:
            opcode = _OPCODES[stream.read(1).decode("latin-1")]
            value: Any = None
            if opcode.name in _LONG:
                value = int.from_bytes(stream.read(_LONG[opcode.name]), "little")
                if value > size - stream.tell():
                    raise UnsafePickleError("it is no whole pickle: its data are cut off")
                stream.seek(value, io.SEEK_CUR)
            elif opcode.arg is not None:
                value = opcode.arg.reader(stream)
            yield opcode.name, value
            if opcode.name == "STOP":
                return
    except (KeyError, ValueError, OverflowError) as error:
        raise UnsafePickleError("it is no pickle, or it is cut off") from error
