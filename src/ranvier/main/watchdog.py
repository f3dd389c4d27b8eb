"""Notices when the event loop hangs, and logs what hangs: a thread that looks at the loop's beats once a second."""

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

STUCK_S: Final = 2.0
"""A loop that has run nothing for so long hangs: clients wait, and leases and cluster membership run out soon."""
_LOOK_S: Final = 0.5

_log = logging.getLogger("ranvier.main")


class Watchdog:
    """Watches the loop of the thread that makes it. `last_beat` tells when the loop last ran, by `time.monotonic`."""

    def __init__(self, last_beat: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._last_beat = last_beat
        self._clock = clock
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._hangs_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self.hangs = 0
        """How often it was noticed."""

    def start(self) -> None:
        """Watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def _run(self) -> None:
        looked = self._clock()
        while not self._stopped.wait(_LOOK_S):
            now = self._clock()
            # Where this thread itself did not run, the whole process stood still: nothing of it hangs.
            if now - looked < STUCK_S / 2:
                self._look(now)
            looked = now

    def _look(self, now: float) -> None:
        beat = self._last_beat()
        if now - beat > STUCK_S:
            if self._hangs_since is None:
                self._hangs_since = beat
                self.hangs += 1
                _log.error(
                    "the event loop hangs here:\n%s", self._stack(), extra={"seconds": round(now - beat, 1)}
                )
        elif self._hangs_since is not None:
            _log.warning("the event loop turns again", extra={"seconds": round(beat - self._hangs_since, 1)})
            self._hangs_since = None

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._watched)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""
