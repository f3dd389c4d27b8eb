"""Figures as plain numbers, counted where things happen and written out only when somebody asks for them.

The text is the Prometheus exposition format, version 0.0.4.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper edges of the buckets of a histogram of seconds."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: the family's name with `suffix`, labels, value."""

    value: float
    labels: Labels = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Lines of one name; `kind` is counter, gauge or histogram."""

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


class Histogram:
    """How many observations fell below each edge, and their sum."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: tuple[float, ...] = SECONDS) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def samples(self, labels: Labels) -> Iterator[Sample]:
        """The cumulative buckets, the sum and the count."""
        below = 0
        for edge, count in zip((*self.edges, float("inf")), self.counts, strict=True):
            below += count
            yield Sample(below, {**labels, "le": _number(edge)}, "_bucket")
        yield Sample(self.total, labels, "_sum")
        yield Sample(below, labels, "_count")


class Traffic:
    """The requests of one endpoint: how many came, are being answered, and went out by status."""

    __slots__ = ("in_flight", "received", "seconds", "sent_bytes")

    def __init__(self) -> None:
        self.received = 0
        self.in_flight = 0
        self.sent_bytes = 0
        self.seconds: dict[int, Histogram] = {}

    def begin(self) -> None:
        """A request came."""
        self.received += 1
        self.in_flight += 1

    def finish(self, status: int, seconds: float, size: int) -> None:
        """It was answered."""
        self.in_flight -= 1
        self.sent_bytes += size
        histogram = self.seconds.get(status)
        if histogram is None:
            histogram = self.seconds[status] = Histogram()
        histogram.observe(seconds)


def render(families: Iterable[Family], labels: Labels) -> bytes:
    """The text that Prometheus scrapes; `labels` stand on every line of a name that begins with `synapse_`."""
    lines = []
    for family in families:
        common = labels if family.name.startswith("synapse_") else {}
        lines.append(f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n")
        for sample in family.samples:
            text = ",".join(f'{key}="{_escape(value)}"' for key, value in {**sample.labels, **common}.items())
            braces = f"{{{text}}}" if text else ""
            lines.append(f"{family.name}{sample.suffix}{braces} {_number(sample.value)}\n")
    return "".join(lines).encode()


def families_of(traffic: Iterable[tuple[str, str, Traffic]]) -> Iterator[Family]:
    """The families of the HTTP server, from (method, servlet, traffic); endpoints that nobody called are left out."""
    called = [(method, servlet, counts) for method, servlet, counts in traffic if counts.received]
    yield Family(
        "synapse_http_server_requests_received_total",
        "counter",
        "Requests that came.",
        [Sample(t.received, {"method": m, "servlet": s}) for m, s, t in called],
    )
    yield Family(
        "synapse_http_server_in_flight_requests_count",
        "gauge",
        "Requests that are being answered.",
        [Sample(t.in_flight, {"method": m, "servlet": s}) for m, s, t in called],
    )
    yield Family(
        "synapse_http_server_response_count_total",
        "counter",
        "Requests that were answered.",
        [
            Sample(sum(sum(h.counts) for h in t.seconds.values()), {"method": m, "servlet": s, "tag": ""})
            for m, s, t in called
        ],
    )
    yield Family(
        "synapse_http_server_responses_total",
        "counter",
        "Answers by status.",
        [
            Sample(count, {"method": method, "code": str(code)})
            for (method, code), count in _by_status(called).items()
        ],
    )
    yield Family(
        "synapse_http_server_response_size_total",
        "counter",
        "Bytes of the bodies that were sent.",
        [Sample(t.sent_bytes, {"method": m, "servlet": s, "tag": ""}) for m, s, t in called],
    )
    yield Family(
        "synapse_http_server_response_time_seconds",
        "histogram",
        "Seconds from a request's head to the end of its answer.",
        [
            sample
            for m, s, t in called
            for code, histogram in t.seconds.items()
            for sample in histogram.samples({"method": m, "servlet": s, "tag": "", "code": str(code)})
        ],
    )


def _by_status(called: Iterable[tuple[str, str, Traffic]]) -> dict[tuple[str, int], int]:
    found: dict[tuple[str, int], int] = {}
    for method, _, counts in called:
        for code, histogram in counts.seconds.items():
            found[method, code] = found.get((method, code), 0) + sum(histogram.counts)
    return found


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return repr(value)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
