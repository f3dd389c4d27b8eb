"""One process from its start to its end: composition, listeners, the word to systemd, signals."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable

import uvloop

from ranvier import __version__
from ranvier.config import Config, Listener, Tls
from ranvier.http.certificate import BadCertificate, Certificate
from ranvier.http.connection import Answer, Send
from ranvier.http.listening import Address, AddressTaken, Listening
from ranvier.http.request import Request
from ranvier.main.compose import Composition, compose
from ranvier.main.databases import CannotStart
from ranvier.main.figures import Figures, metrics_answer
from ranvier.main.logs import start_logging
from ranvier.main.remote_parts import AroundNetwork

_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter: at Python's 5 ms SQLite's writer waits longer than it writes."""
_COLLECT_AFTER = 20_000
"""Objects made between two collections of the youngest generation: docs/decisions/0032-garbage-collection.md."""
_DRAIN_SECONDS = 10.0
_METRICS_PATH = b"/_synapse/metrics"

_log = logging.getLogger("ranvier.main")


def serve(config: Config, on_ready: Callable[[list[str]], None] = lambda _: None) -> None:
    """Run the server until SIGTERM or SIGINT; raises `SystemExit` with status 1 if it can't start.

    `on_ready` is told once where it listens. Callers may have switched the garbage collector off; it is on from then.
    """
    start_logging(config.operation.log_level, config.operation.log_format)
    tune()
    try:
        uvloop.run(_serve(config, on_ready))
    except (CannotStart, AddressTaken) as error:
        _log.critical(str(error))
        raise SystemExit(1) from None


def tune() -> None:
    """Set the interpreter up for a server: short turns for threads, rare collections."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(_COLLECT_AFTER, 20, 50)


async def _serve(config: Config, on_ready: Callable[[list[str]], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    process = await Process.start(config)
    if process.certificate is not None:
        loop.add_signal_handler(signal.SIGHUP, process.certificate.reload)
    # What stands now stays: no collection need look at it again.
    gc.freeze()
    gc.enable()
    where = [
        f"https://{address}" if listening.speaks_tls else str(address)
        for listening in process.listenings
        for address in listening.bound
    ]
    _log.info("ready", extra={"server": config.server.name, "version": __version__, "listening": where})
    on_ready(where)
    tell_systemd("READY=1")
    await stopped.wait()
    tell_systemd("STOPPING=1")
    _log.info("stopping")
    await process.stop()
    _log.info("stopped")


class Process:
    """A composition that listens."""

    def __init__(
        self,
        composition: Composition,
        listeners: Iterable[Listener],
        *,
        metrics: bool,
        certificate: Certificate | None = None,
    ) -> None:
        self.composition = composition
        self.certificate = certificate
        self.figures = Figures(
            composition.ground.server_name,
            composition.ground.writer,
            composition.routes,
            composition.strays,
            lambda: sum(listening.connections for listening in self.listenings),
            composition.parts.families,
        )
        self.listenings = [self._listening(listener, metrics) for listener in listeners]

    @classmethod
    async def start(cls, config: Config, around_network: AroundNetwork | None = None) -> "Process":
        """Compose, start, and listen; raises `CannotStart` or `AddressTaken`.

        What `around_network` makes of the network brings calls to other servers in its place.
        """
        certificate = _certificate(config.tls)
        composition = await compose(config, around_network=around_network)
        process = cls(
            composition, config.listeners, metrics=config.operation.metrics, certificate=certificate
        )
        try:
            await composition.start()
            process.figures.start()
            for listening in process.listenings:
                await listening.start()
        except BaseException:
            await process.stop()
            raise
        return process

    def _listening(self, listener: Listener, metrics: bool) -> Listening:
        shown = metrics_answer(self.figures.text)
        if listener.kind == "metrics":
            return Listening(shown, _addresses(listener))
        answer: Answer = self.composition.application(listener.resources, forwarded=listener.x_forwarded)
        if metrics and "metrics" in listener.resources:
            answer = _either(answer, shown)
        return Listening(answer, _addresses(listener), self.certificate if listener.tls else None)

    async def stop(self) -> None:
        """Take no more requests, answer those under way, commit, close."""
        for listening in self.listenings:
            listening.stop_accepting()
        self.composition.ground.bell.close()
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


def _either(application: Answer, shown: Answer) -> Answer:
    """The application, with the figures at their path."""

    async def answer(request: Request, send: Send) -> None:
        await (shown if request.raw_path == _METRICS_PATH else application)(request, send)

    return answer


def _addresses(listener: Listener) -> list[Address]:
    if listener.path is not None:
        return [Address(path=listener.path)]
    assert listener.port is not None
    hosts = listener.addresses or (("::", "0.0.0.0") if socket.has_dualstack_ipv6() else ("0.0.0.0",))  # noqa: S104
    return [Address(host, listener.port) for host in hosts]


def tell_systemd(message: str) -> None:
    """Say it on the socket that systemd named, if it did (sd_notify(3))."""
    where = os.environ.get("NOTIFY_SOCKET")
    if not where:
        return
    path = "\0" + where[1:] if where.startswith("@") else where
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.sendto(message.encode(), path)
