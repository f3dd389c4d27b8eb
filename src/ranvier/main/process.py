"""One process from its start to its end: composition, listeners, the word to systemd, signals."""

import asyncio
import contextlib
import faulthandler
import gc
import io
import logging
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace

import uvloop

from ranvier import __version__
from ranvier.config import Config, Listener, Secret, Tls
from ranvier.http.certificate import BadCertificate, Certificate
from ranvier.http.connection import Answer, Send
from ranvier.http.listening import AddressTaken, Listening
from ranvier.http.request import Request
from ranvier.main.addresses import addresses_of
from ranvier.main.compose import Composition, compose
from ranvier.main.daemon import Detached, detach_if_asked
from ranvier.main.databases import CannotStart
from ranvier.main.figures import Figures, metrics_answer
from ranvier.main.handed_over import HandedOver
from ranvier.main.logs import start_logging
from ranvier.main.remote_parts import AroundNetwork
from ranvier.main.replication import PATH as REPLICATION_PATH
from ranvier.main.replication import replication_answer
from ranvier.main.systemd import READY, STOPPING, reloading, tell_systemd
from ranvier.main.vitals import Vitals
from ranvier.main.watchdog import Watchdog

_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter: at Python's 5 ms SQLite's writer waits longer than it writes."""
_COLLECT_AFTER = 20_000
"""Objects made between two collections of the youngest generation: docs/decisions/0032-garbage-collection.md."""
_DRAIN_SECONDS = 10.0
RETIRING_S = 3.0
"""How long the clients of a process that another one replaces have for one more request."""
_METRICS_PATH = "/_synapse/metrics"

_log = logging.getLogger("ranvier.main")


def serve(
    config: Config,
    on_ready: Callable[[list[str]], None] = lambda _: None,
    handed_over: HandedOver | None = None,
) -> None:
    """Run the server until SIGTERM or SIGINT; raises `SystemExit` with status 1 if it can't start.

    `on_ready` is told once where it listens. Callers may have switched the garbage collector off; it is on from then.
    `handed_over` is what a supervisor gave, if it is one of several equal processes.
    """
    start_logging(config.operation.log_level, config.operation.log_format)
    detached = None
    if handed_over is not None:
        config = numbered(config, handed_over.number)
    else:
        detached = detach_if_asked(config)
    tune()
    try:
        uvloop.run(_Serving(config, on_ready, handed_over, detached).run())
    except (CannotStart, AddressTaken) as error:
        _log.critical(str(error))
        raise SystemExit(1) from None
    finally:
        if detached is not None:
            detached.end()


def numbered(config: Config, number: int) -> Config:
    """The configuration of one of several equal processes."""
    processes = config.processes
    return replace(config, processes=replace(processes, instance=f"{processes.instance}-{number}"))


def tune() -> None:
    """Set the interpreter up for a server: short turns for threads, rare collections, last words after a crash."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(_COLLECT_AFTER, 4, 250)
    with contextlib.suppress(io.UnsupportedOperation):
        faulthandler.enable()


class _Serving:
    """One run of a process: until a signal, or the end of its supervisor, stops it."""

    def __init__(
        self,
        config: Config,
        on_ready: Callable[[list[str]], None],
        handed_over: HandedOver | None,
        detached: Detached | None,
    ) -> None:
        self._config = config
        self._on_ready = on_ready
        self._handed_over = handed_over
        self._detached = detached
        self._stopped = asyncio.Event()
        self._retires = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        process = await Process.start(self._config, handed_over=self._handed_over)
        watchdog = Watchdog(lambda: process.figures.lag.beat)
        watchdog.start()
        loop.add_signal_handler(signal.SIGHUP, self._reload, process)
        # What stands now stays: no collection need look at it again.
        gc.freeze()
        gc.enable()
        self._tell(process)
        await self._stopped.wait()
        tell_systemd(STOPPING)
        _log.info("stopping")
        watchdog.stop()
        await process.stop(RETIRING_S if self._retires else 0.0)
        _log.info("stopped")

    def _tell(self, process: "Process") -> None:
        """It answers: all who wait for that hear it."""
        where = [
            f"https://{address}" if listening.speaks_tls else str(address)
            for listening in process.listenings
            for address in listening.bound
        ]
        server, instance = self._config.server.name, self._config.processes.instance
        _log.info(
            "ready",
            extra={"server": server, "version": __version__, "instance": instance, "listening": where},
        )
        if self._handed_over is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._retire)
            self._handed_over.when_left(self._stopped.set)
            self._handed_over.say_ready(where)
            self._handed_over.beat()
        else:
            self._on_ready(where)
            if self._detached is not None:
                self._detached.ready()
            tell_systemd(READY)

    def _retire(self) -> None:
        """Another process takes this one's place: stop, but let every client know before its connection ends."""
        self._retires = True
        self._stopped.set()

    def _reload(self, process: "Process") -> None:
        tell_systemd(reloading())
        if process.certificate is not None:
            process.certificate.reload()
        tell_systemd(READY)


class Process:
    """A composition that listens."""

    def __init__(
        self,
        composition: Composition,
        listeners: Iterable[Listener],
        *,
        metrics: bool,
        certificate: Certificate | None = None,
        replication_secret: Secret | None = None,
        handed_over: HandedOver | None = None,
    ) -> None:
        self.composition = composition
        self.certificate = certificate
        self._replication_secret = replication_secret
        self._handed_over = handed_over
        self.figures = Figures(
            composition.ground.server_name,
            composition.ground.writer,
            composition.routes,
            composition.strays,
            lambda: sum(listening.connections for listening in self.listenings),
            composition.parts.families,
        )
        self.listenings = [
            self._listening(listener, metrics, place) for place, listener in enumerate(listeners)
        ]

    @classmethod
    async def start(
        cls,
        config: Config,
        around_network: AroundNetwork | None = None,
        handed_over: HandedOver | None = None,
    ) -> "Process":
        """Compose, start, and listen; raises `CannotStart` or `AddressTaken`.

        What `around_network` makes of the network brings calls to other servers in its place. `handed_over` has the
        sockets to listen on, where a supervisor opened them.
        """
        if handed_over is not None and len(handed_over.sockets) != len(config.listeners):
            raise CannotStart(
                "`listeners` changed, and their sockets are the supervisor's: restart the server as a whole."
            )
        certificate = _certificate(config.tls)
        composition = await compose(config, around_network=around_network)
        process = cls(
            composition,
            config.listeners,
            metrics=config.operation.metrics,
            certificate=certificate,
            replication_secret=config.processes.replication_secret,
            handed_over=handed_over,
        )
        try:
            figures = process.figures
            composition.ground.neighbours.tell(Vitals(figures.lag.worst, lambda: figures.requests))
            await composition.start()
            figures.start()
            for listening in process.listenings:
                await listening.start()
        except BaseException:
            await process.stop()
            raise
        return process

    def _listening(self, listener: Listener, metrics: bool, place: int) -> Listening:
        opened = self._handed_over.opened(place) if self._handed_over is not None else None
        shown = metrics_answer(self.figures.text)
        if listener.kind == "metrics":
            return Listening(shown, addresses_of(listener), opened=opened)
        answer: Answer = self.composition.application(listener.resources, forwarded=listener.x_forwarded)
        if metrics and "metrics" in listener.resources:
            answer = _either(answer, _METRICS_PATH, shown)
        if "replication" in listener.resources:
            me = self.composition.identity
            answer = _either(answer, REPLICATION_PATH, replication_answer(me, self._replication_secret))
        return Listening(
            answer, addresses_of(listener), self.certificate if listener.tls else None, opened=opened
        )

    async def stop(self, retiring: float = 0.0) -> None:
        """Take no more requests, answer those under way, commit, close.

        With `retiring` seconds, another process has taken this one's place: clients hear with their next answers that
        their connections end.
        """
        if retiring:
            # Those who wait for news wait elsewhere from now on.
            loop = asyncio.get_running_loop()
            loop.call_soon(self.composition.ground.bell.close)
            await asyncio.gather(*(listening.retire(retiring) for listening in self.listenings))
        for listening in self.listenings:
            listening.stop_accepting()
        self.composition.ground.bell.close()
        await self.composition.ground.neighbours.withdraw()
        for listening in self.listenings:
            if not await listening.drain(_DRAIN_SECONDS):
                _log.warning("some requests were not answered in time")
        self.figures.stop()
        await self.composition.stop()


def _certificate(files: Tls | None) -> Certificate | None:
    if files is None:
        return None
    try:
        return Certificate(files.certificate, files.private_key)
    except BadCertificate as error:
        raise CannotStart(str(error)) from error


def _either(application: Answer, path: str, at_path: Answer) -> Answer:
    """The application, with something else at a path."""
    raw = path.encode()

    async def answer(request: Request, send: Send) -> None:
        await (at_path if request.raw_path == raw else application)(request, send)

    return answer
