"""One process that a supervisor started, as the supervisor sees it."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Sequence
from typing import Final

from ranvier.main.handed_over import VARIABLE, HandedOver
from ranvier.main.systemd import VARIABLE as NOTIFY_VARIABLE

HANGS_S: Final = 15.0
"""A process whose event loop says nothing for so long is ended."""
_LAST_WORDS_S: Final = 2.0
_STOPPING_S: Final = 30.0
_MOST_BYTES: Final = 65_536
_NOT_STARTED: Final = 127
"""The exit status of what could not be started, as shells have it."""

_log = logging.getLogger("ranvier.main")


class Child:
    """Starts with its making; must be made on the event loop. `sockets` are file descriptors for each listener."""

    def __init__(self, number: int, command: Sequence[str], sockets: Sequence[Sequence[int]]) -> None:
        self.number = number
        self.pid: int | None = None
        self.where: list[str] = []
        self.lived = 0.0
        self._heard: float | None = None
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[bool] = self._loop.create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._running = asyncio.create_task(self._run(command, sockets), name=f"child {number}")

    async def _run(self, command: Sequence[str], sockets: Sequence[Sequence[int]]) -> int:
        """Its exit status."""
        report, reporting = os.pipe()
        lifeline, holding = os.pipe()
        started = time.monotonic()
        try:
            handed = HandedOver(self.number, sockets, reporting, lifeline)
            environment = {name: value for name, value in os.environ.items() if name != NOTIFY_VARIABLE}
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    env={**environment, VARIABLE: handed.text()},
                    pass_fds=handed.descriptors,
                    stdin=asyncio.subprocess.DEVNULL,
                    # Ctrl-C is for the supervisor, which tells its processes.
                    start_new_session=True,
                )
            finally:
                os.close(reporting)
                os.close(lifeline)
            self.pid = self._process.pid
            os.set_blocking(report, False)
            self._loop.add_reader(report, self._hear, report)
            return await self._process.wait()
        except OSError as error:
            # The program may be about to be exchanged, or the machine be short of something.
            _log.error("a process can't be started", extra={"number": self.number, "error": str(error)})
            return _NOT_STARTED
        finally:
            self.lived = time.monotonic() - started
            self._loop.remove_reader(report)
            os.close(report)
            os.close(holding)
            if not self._ready.done():
                self._ready.set_result(False)

    def _hear(self, report: int) -> None:
        try:
            said = os.read(report, _MOST_BYTES)
        except BlockingIOError:
            return
        if not said:
            self._loop.remove_reader(report)
            return
        self._heard = time.monotonic()
        if not self._ready.done() and said.startswith(b"{"):
            self.where = json.loads(said.partition(b"\n")[0])["listening"]
            self._ready.set_result(True)

    async def until_ready(self) -> bool:
        """Whether it answers; False once it ended without."""
        return await asyncio.shield(self._ready)

    async def until_end(self) -> int:
        """Its exit status, negative for a signal, once it ended."""
        return await asyncio.shield(self._running)

    def hangs(self, now: float) -> bool:
        """Whether its event loop stands still, or all of it."""
        return self._heard is not None and not self._running.done() and now - self._heard > HANGS_S

    def end_hanging(self) -> None:
        """Have it say where it is, then end it in any case."""
        self._heard = None
        self._signal(signal.SIGABRT)
        self._loop.call_later(_LAST_WORDS_S, self._signal, signal.SIGKILL)

    def retire(self) -> None:
        """Another one has its place: it stops without failing anybody."""
        self._signal(signal.SIGUSR1)
        self._loop.call_later(_STOPPING_S, self._signal, signal.SIGKILL)

    async def stop(self) -> None:
        """Have it stop in order, and see to it that it does."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._running), _STOPPING_S)
            return
        self._signal(signal.SIGKILL)
        await self.until_end()

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
