"""What a process tells its neighbours of itself each second, for `ranvier workers`: load, lag, memory."""

import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ranvier import __version__

_STATM: Final = Path("/proc/self/statm")


class Vitals:
    """Figures since the last time that they were asked for.

    `worst_lag` gives, and forgets, the longest time in seconds that the event loop was late; `requests` counts all
    requests since the start.
    """

    def __init__(
        self,
        worst_lag: Callable[[], float],
        requests: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worst_lag = worst_lag
        self._requests = requests
        self._clock = clock
        self._asked = clock()
        self._cpu = _cpu_seconds()
        self._answered = requests()

    def __call__(self) -> Mapping[str, Any]:
        """CPU as a share of one core, lag in milliseconds, memory in bytes, requests a second."""
        now, cpu, answered = self._clock(), _cpu_seconds(), self._requests()
        seconds = max(now - self._asked, 0.001)
        told = {
            "version": __version__,
            "cpu": round((cpu - self._cpu) / seconds, 3),
            "lag_ms": round(self._worst_lag() * 1000, 1),
            "memory": _memory(),
            "requests": round((answered - self._answered) / seconds, 1),
        }
        self._asked, self._cpu, self._answered = now, cpu, answered
        return told


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _memory() -> int:
    """Resident bytes; where the system does not tell, the most that it ever was."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
