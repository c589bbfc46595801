"""Processes of their own, the cores they run on, and the memory they take.

What is measured runs in an interpreter of its own: one section cannot leave garbage, a high-water mark or a warm cache
to the next.
"""

import os
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_MB = 1024


def apart(run: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What `run` gives in a new interpreter."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, *args, **kwargs).result()


def cores() -> list[int]:
    """The cores that this process may use; two zeros where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 0]


def pin(*wanted: int, process: int = 0) -> None:
    """Stay on these cores, or let another process, where the system knows of such a thing."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, wanted)


def resident() -> float:
    """MB that this process holds now."""
    return _status("VmRSS")


def forget_peak() -> None:
    """Begin anew to look for the most that this process holds."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def peak() -> float:
    """The most that this process has held, in MB."""
    return _status("VmHWM")


def _status(name: str) -> float:
    if not _STATUS.exists():  # not Linux: all there is, and it never sinks
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB
    # Not `ru_maxrss`: a new process inherits that of the one that started it.
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / _MB
