"""Going on in the background, as `daemonize` asks: detached from the terminal, with the process's number in a file."""

import logging
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from ranvier.config import Config
from ranvier.config.process_records import Daemon
from ranvier.main import systemd

_READY: Final = b"1"

_log = logging.getLogger("ranvier.main")


def detach_if_asked(config: Config) -> "Detached | None":
    """Go on in the background if the configuration says so and nobody waits for this very process."""
    daemon = config.processes.daemon
    if daemon is None:
        return None
    if systemd.is_listening():
        _log.warning("`daemonize` is not followed: systemd waits for this process itself")
        return None
    return Detached(daemon, config.server.data_directory / f"{config.processes.instance}.log")


class Detached:
    """This process, detached from the one that was called, which waits until `ready` and then ends with status 0.

    Must be made before there is any thread or event loop.
    """

    def __init__(self, daemon: Daemon, log: Path) -> None:
        self._pid_file = daemon.pid_file
        self._is_written = False
        self._log = log
        told, self._tell = os.pipe()
        if os.fork():
            os.close(self._tell)
            # Nothing is said where the other one ends before it is ready: it has told why.
            os._exit(0 if os.read(told, 1) == _READY else 1)
        os.close(told)
        os.setsid()
        # A second time, so that it is no leader of its session and can't get a terminal again.
        if os.fork():
            os._exit(0)

    def ready(self) -> None:
        """The server answers: write the number, let go of the terminal, and let the caller go on."""
        if self._pid_file is not None:
            try:
                self._pid_file.parent.mkdir(parents=True, exist_ok=True)
                self._pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
                self._is_written = True
            except OSError as error:
                _log.warning(
                    "the file for the process's number can't be written",
                    extra={"file": str(self._pid_file), "error": error.strerror},
                )
        self._let_go()
        os.write(self._tell, _READY)
        os.close(self._tell)

    def _let_go(self) -> None:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        # Where the caller sent standard error to a file, logs go on there.
        if not stat.S_ISREG(os.fstat(2).st_mode):
            _log.info("logs go on in a file", extra={"file": str(self._log)})
            sys.stderr.flush()
            into = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
            os.dup2(into, 2)
            os.close(into)
        os.close(nothing)

    def end(self) -> None:
        """The process ends in order: its number stands for nothing any more."""
        # A process that never got so far leaves the file of the one that runs.
        if self._pid_file is not None and self._is_written:
            with suppress(OSError):
                self._pid_file.unlink()
