"""Several equal processes behind one address: started, watched, replaced one by one without a failed request.

The supervisor opens the sockets and hands them to each process that it starts, so no connection waits for a process
that is gone or hangs: whichever process is free takes it. It serves nothing itself.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ranvier.config import Config, ConfigError, SqliteStore
from ranvier.http.listening import AddressTaken, open_all
from ranvier.main.addresses import addresses_of
from ranvier.main.children import Child
from ranvier.main.daemon import Detached, detach_if_asked
from ranvier.main.logs import start_logging
from ranvier.main.systemd import READY, STOPPING, reloading, tell_systemd

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 30.0
_STABLE_S: Final = 60.0
"""A process that ran for so long is started again at once when it ends."""
_STARTING_S: Final = 300.0
"""A new process may take so long to answer, a change of the schema included."""
_LOOK_S: Final = 1.0

_log = logging.getLogger("ranvier.main")


def processes_of(config: Config) -> int:
    """How many equal processes the configuration asks for on this machine."""
    workers = config.processes.workers
    if workers is not None:
        return workers
    return 1 if isinstance(config.database, SqliteStore) else len(os.sched_getaffinity(0))


def supervise(
    config: Config,
    command: Sequence[str],
    reload: Callable[[], Config],
    on_ready: Callable[[list[str]], None] = lambda _: None,
) -> None:
    """Run `processes_of(config)` processes of a command until SIGTERM or SIGINT; `SystemExit` 1 if they can't start.

    `reload` reads the configuration anew, for SIGHUP. `on_ready` is told once where they listen.
    """
    gc.enable()
    start_logging(config.operation.log_level, config.operation.log_format)
    detached = detach_if_asked(config)
    supervisor = Supervisor(config, command, reload)
    try:
        asyncio.run(supervisor.run(lambda where: _tell(where, on_ready, detached)))
    except AddressTaken as error:
        _log.critical(str(error))
        raise SystemExit(1) from None
    finally:
        if detached is not None:
            detached.end()


def _tell(where: list[str], on_ready: Callable[[list[str]], None], detached: Detached | None) -> None:
    on_ready(where)
    if detached is not None:
        detached.ready()
    tell_systemd(READY)


class Sockets:
    """The sockets of all listeners: those of metrics apart for each process, the others shared."""

    def __init__(self, config: Config) -> None:
        self._listeners = config.listeners
        self._opened: dict[tuple[int, int], list[socket.socket]] = {}

    def of(self, number: int) -> list[list[socket.socket]]:
        """Those of a process, a list for each listener; raises `AddressTaken`."""
        found = []
        for place, listener in enumerate(self._listeners):
            key = (place, number if listener.kind == "metrics" else 0)
            if key not in self._opened:
                self._opened[key] = open_all(addresses_of(listener, number))
            found.append(self._opened[key])
        return found

    def close(self) -> None:
        """Listen no more."""
        for sockets in self._opened.values():
            for opened in sockets:
                opened.close()
        for listener in self._listeners:
            if listener.path is not None:
                with contextlib.suppress(FileNotFoundError):
                    listener.path.unlink()


class Supervisor:
    """Keeps a number of processes alive."""

    def __init__(self, config: Config, command: Sequence[str], reload: Callable[[], Config]) -> None:
        self._config = config
        self._command = list(command)
        self._reload_configuration = reload
        self._sockets = Sockets(config)
        self._children: dict[int, Child] = {}
        self._keepers: dict[int, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._wants_reload = asyncio.Event()

    async def run(self, on_ready: Callable[[list[str]], None]) -> None:
        """Start all, then watch until a signal stops them."""
        loop = asyncio.get_running_loop()
        for stopper in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stopper, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._wants_reload.set)
        try:
            count = processes_of(self._config)
            where = await self._start_all(count)
            if where is None:
                return
            for number in range(1, count + 1):
                self._keep(number)
            _log.info("ready", extra={"processes": count, "listening": where})
            on_ready(where)
            await self._watch()
            tell_systemd(STOPPING)
            _log.info("stopping")
        finally:
            await self._stop_all()
            self._sockets.close()
        _log.info("stopped")

    async def _start_all(self, count: int) -> list[str] | None:
        """Where they listen; None if they were to stop before. The first makes what a new server needs, alone."""
        for number in range(1, count + 1):
            self._sockets.of(number)
        first = await self._start_in_turn([1])
        rest = await self._start_in_turn(range(2, count + 1)) if first is not None else None
        return list(dict.fromkeys([*first, *rest])) if first is not None and rest is not None else None

    async def _start_in_turn(self, numbers: Sequence[int]) -> list[str] | None:
        started = [self._start(number) for number in numbers]
        self._children.update({child.number: child for child in started})
        waiting = asyncio.gather(*(child.until_ready() for child in started))
        stopping = asyncio.create_task(self._stopping.wait())
        either: list[asyncio.Future[Any]] = [waiting, stopping]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not waiting.done():
            waiting.cancel()
            return None
        if not all(waiting.result()):
            # It has told why.
            raise SystemExit(1)
        return [address for child in started for address in child.where]

    def _start(self, number: int) -> Child:
        sockets = self._sockets.of(number)
        return Child(number, self._command, [[opened.fileno() for opened in of_one] for of_one in sockets])

    def _keep(self, number: int) -> None:
        self._keepers[number] = asyncio.create_task(self._keep_alive(number), name=f"process {number}")

    async def _keep_alive(self, number: int) -> None:
        """Start the process again whenever it ends."""
        pause = 0.0
        while True:
            child = self._children[number]
            status = await child.until_end()
            if self._children[number] is not child:
                continue
            pause = 0.0 if child.lived > _STABLE_S else min(max(2 * pause, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            _log.error(
                "a process ended; it is started again",
                extra={"number": number, "pid": child.pid, "status": status, "seconds": round(pause, 1)},
            )
            await asyncio.sleep(pause)
            if self._children[number] is child:
                self._children[number] = self._start(number)

    async def _watch(self) -> None:
        """Look after those that hang, and reload when asked to, until it is time to stop."""
        stopping = asyncio.create_task(self._stopping.wait())
        reloading_task: asyncio.Task[None] | None = None
        while not stopping.done():
            await asyncio.wait([stopping], timeout=_LOOK_S)
            now = time.monotonic()
            for child in self._children.values():
                if child.hangs(now):
                    _log.error(
                        "a process hangs; it is ended", extra={"number": child.number, "pid": child.pid}
                    )
                    child.end_hanging()
            if self._wants_reload.is_set() and (reloading_task is None or reloading_task.done()):
                self._wants_reload.clear()
                reloading_task = asyncio.create_task(self._reload())
        if reloading_task is not None:
            reloading_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reloading_task

    async def _reload(self) -> None:
        """Replace all processes, one after the other, by new ones with the configuration and program of now."""
        tell_systemd(reloading())
        try:
            config = self._reload_configuration()
        except ConfigError as error:
            _log.error("the configuration can't be used; all goes on as it was", extra={"faults": str(error)})
            tell_systemd(READY)
            return
        if config.listeners != self._config.listeners or processes_of(config) != processes_of(self._config):
            _log.error(
                "`listeners` and `workers` change with a restart of the whole server only; all goes on as it was"
            )
            tell_systemd(READY)
            return
        for number in sorted(self._children):
            if not await self._replace(number):
                break
        else:
            _log.info("all processes are new", extra={"processes": len(self._children)})
        tell_systemd(READY)

    async def _replace(self, number: int) -> bool:
        """Whether a new process took the old one's place."""
        new = self._start(number)
        try:
            async with asyncio.timeout(_STARTING_S):
                is_ready = await new.until_ready()
        except (TimeoutError, asyncio.CancelledError) as error:
            await new.stop()
            if isinstance(error, asyncio.CancelledError):
                raise
            is_ready = False
        if not is_ready:
            _log.error("the new process did not start; the old ones go on", extra={"number": number})
            return False
        # Not the one of before: it may have ended, and been started anew.
        old, self._children[number] = self._children[number], new
        old.retire()
        # The next one only when this one is gone: no more than one process more than there should be.
        await old.until_end()
        return True

    async def _stop_all(self) -> None:
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*(child.stop() for child in self._children.values()))
