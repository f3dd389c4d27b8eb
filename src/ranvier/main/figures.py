"""The figures of the process itself, and the application that shows all figures to Prometheus."""

import asyncio
import gc
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ranvier import __version__
from ranvier.http.connection import Answer, Send
from ranvier.http.metrics import CONTENT_TYPE, Family, Histogram, Sample, Traffic, families_of, render
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.http.router import Route
from ranvier.store.writer import Writer

_LAG_SECONDS = 0.1
_LAG_EDGES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

SERVLETS: Mapping[str, str] = {
    # The names under which dashboards know these operations.
    "send_message": "RoomSendEventRestServlet",
    "sync": "SyncRestServlet",
    "send_transaction": "FederationSendServlet",
    "login": "LoginRestServlet",
}


class EventLoopLag:
    """How late the event loop is, measured by a timer ten times a second."""

    def __init__(self) -> None:
        self.histogram = Histogram(_LAG_EDGES)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._worst = 0.0
        self.beat = time.monotonic()
        """When it was measured last, by `time.monotonic`."""

    def start(self) -> None:
        """Begin to measure."""
        self.beat = time.monotonic()
        loop = asyncio.get_running_loop()
        self._due = loop.time() + _LAG_SECONDS
        self._timer = loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        late = max(0.0, asyncio.get_running_loop().time() - self._due)
        self.histogram.observe(late)
        self._worst = max(self._worst, late)
        self.start()

    def worst(self) -> float:
        """The most that it was late since this was asked last, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()


class GarbageCollections:
    """Seconds that the collector took, by generation."""

    def __init__(self) -> None:
        self.histograms = [Histogram(_LAG_EDGES) for _ in range(3)]
        self._began = 0.0

    def start(self) -> None:
        """Begin to measure."""
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Measure no more."""
        if self._note in gc.callbacks:
            gc.callbacks.remove(self._note)

    def _note(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.histograms[info["generation"]].observe(time.perf_counter() - self._began)


class Figures:
    """All figures of a process, gathered when somebody asks."""

    def __init__(
        self,
        server_name: str,
        writer: Writer,
        routes: Iterable[Route],
        strays: Traffic,
        connections: Callable[[], int],
        of_parts: Callable[[], Iterable[Family]] = tuple,
    ) -> None:
        self._server_name = server_name
        self._writer = writer
        self._routes = list(routes)
        self._strays = strays
        self._connections = connections
        self._of_parts = of_parts
        self._started = time.time()
        self.lag = EventLoopLag()
        self.collections = GarbageCollections()

    def start(self) -> None:
        """Begin to measure what must be sampled."""
        self.lag.start()
        self.collections.start()

    def stop(self) -> None:
        """Measure no more."""
        self.lag.stop()
        self.collections.stop()

    @property
    def requests(self) -> int:
        """Requests since the start."""
        return sum(route.traffic.received for route in self._routes) + self._strays.received

    def text(self) -> bytes:
        """The text for Prometheus."""
        return render(self._families(), {"server_name": self._server_name})

    def _families(self) -> Iterator[Family]:
        yield from _process(self._started)
        yield from self._python()
        called = [
            (route.endpoint.method, SERVLETS.get(route.endpoint.name, route.endpoint.name), route.traffic)
            for route in self._routes
        ]
        yield from families_of([*called, ("", "unrecognized", self._strays)])
        build = {
            "version": __version__,
            "pythonversion": f"{platform.python_implementation()} {platform.python_version()}",
            "osversion": f"{platform.system()} {platform.release()}",
        }
        for name in ("ranvier_build_info", "synapse_build_info"):
            yield Family(name, "gauge", "What runs here.", [Sample(1, build)])
        yield Family("synapse_server_name_info", "gauge", "Whose server this is.", [Sample(1)])
        yield Family(
            "ranvier_connections", "gauge", "Open connections of clients.", [Sample(self._connections())]
        )
        yield Family(
            "ranvier_writer_batches_total",
            "counter",
            "Commits of the writer.",
            [Sample(self._writer.batches)],
        )
        yield Family(
            "ranvier_writer_operations_total",
            "counter",
            "Operations that these commits made durable.",
            [Sample(self._writer.operations)],
        )
        yield from self._of_parts()

    def _python(self) -> Iterator[Family]:
        yield Family(
            "ranvier_event_loop_lag_seconds",
            "histogram",
            "How late the event loop runs what is due, sampled ten times a second.",
            list(self.lag.histogram.samples({})),
        )
        yield Family(
            "python_gc_time",
            "histogram",
            "Seconds of the garbage collector.",
            [
                sample
                for generation, histogram in enumerate(self.collections.histograms)
                for sample in histogram.samples({"gen": str(generation)})
            ],
        )
        yield Family(
            "python_gc_counts",
            "gauge",
            "Objects that the next collection will look at.",
            [Sample(count, {"gen": str(generation)}) for generation, count in enumerate(gc.get_count())],
        )
        for name, key, text in (
            ("python_gc_collections_total", "collections", "Collections."),
            ("python_gc_objects_collected_total", "collected", "Objects that were freed by them."),
            ("python_gc_unreachable_total", "uncollectable", "Objects that could not be freed."),
        ):
            label = "gen" if name == "python_gc_unreachable_total" else "generation"
            samples = [Sample(stats[key], {label: str(n)}) for n, stats in enumerate(gc.get_stats())]
            yield Family(name, "counter", text, samples)


def _process(started: float) -> Iterator[Family]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    total = usage.ru_utime + usage.ru_stime
    yield Family("process_cpu_seconds_total", "counter", "CPU seconds, of user and system.", [Sample(total)])
    yield Family(
        "process_cpu_user_seconds_total", "counter", "CPU seconds of user.", [Sample(usage.ru_utime)]
    )
    yield Family(
        "process_cpu_system_seconds_total", "counter", "CPU seconds of the system.", [Sample(usage.ru_stime)]
    )
    yield Family(
        "process_start_time_seconds", "gauge", "When it started, since the epoch.", [Sample(started)]
    )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Family("process_max_fds", "gauge", "File descriptors it may open.", [Sample(soft)])
    folder = Path("/proc/self")
    if folder.exists():
        pages = (folder / "statm").read_text().split()
        size = os.sysconf("SC_PAGE_SIZE")
        yield Family(
            "process_virtual_memory_bytes", "gauge", "Virtual memory.", [Sample(int(pages[0]) * size)]
        )
        yield Family(
            "process_resident_memory_bytes", "gauge", "Resident memory.", [Sample(int(pages[1]) * size)]
        )
        count = sum(1 for _ in (folder / "fd").iterdir())
        yield Family("process_open_fds", "gauge", "Open file descriptors.", [Sample(count)])


def metrics_answer(text: Callable[[], bytes]) -> Answer:
    """What shows the figures, whatever the path."""

    async def show(request: Request, send: Send) -> None:
        if request.method in ("GET", "HEAD"):
            await send(Response(200, text(), [(b"content-type", CONTENT_TYPE)]))
        else:
            await send(Response(405, headers=[]))

    return show
