"""Figures of one piece of work: rate, percentiles, CPU for each operation, and facts beside them."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Fact:
    """A figure that is not per operation. `compared`: it is the server's, and less of it is better."""

    name: str
    value: float
    unit: str
    compared: bool = False


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Latencies are milliseconds; `server_cpu_ms` and `database_cpu_ms` are the CPU milliseconds for each
    operation of the server's and the database's processes; `others_share` is how much of the machine other
    processes used meanwhile (0 to 1): the noise.
    """

    work: str
    operations: int = 0
    seconds: float = 0.0
    p50_ms: float = math.nan
    p99_ms: float = math.nan
    server_cpu_ms: float = math.nan
    database_cpu_ms: float = 0.0
    generator_cpu_us: float = math.nan
    others_share: float = 0.0
    facts: tuple[Fact, ...] = field(default=())
    checked: str = ""
    wrong: str = ""

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds if self.seconds else math.nan

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds for each operation, the database's included."""
        return self.server_cpu_ms + self.database_cpu_ms


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed: nearest rank."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def bucket_percentile(buckets: dict[float, float], share: float) -> float:
    """A percentile from cumulative histogram buckets (upper bound -> count), interpolated within its bucket.

    What lies in the last, unbounded bucket is given as the greatest finite bound; NaN when nothing was counted.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if total <= 0:
        return math.nan
    wanted, lower, below = share * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below) if count > below else bound
        lower, below = bound, count
    return lower


def histogram(text: str, name: str) -> dict[float, float]:
    """The cumulative buckets of one histogram in Prometheus' text format, summed over its other labels."""
    buckets: dict[float, float] = {}
    for line in text.splitlines():
        if line.startswith(f"{name}_bucket{{"):
            labels, _, count = line.rpartition(" ")
            bound = float(labels.partition('le="')[2].partition('"')[0].replace("+Inf", "inf"))
            buckets[bound] = buckets.get(bound, 0.0) + float(count)
    return buckets


def median_result(results: Sequence[Result]) -> Result:
    """The medians of several repeats of one piece of work; a repeat that was wrong makes the whole wrong."""
    wrong = next((result.wrong for result in results if result.wrong), "")
    good = [result for result in results if not result.wrong]
    if wrong or len(good) == 1:
        return replace(results[0], wrong=wrong) if wrong else good[0]

    def median(values: Iterable[float]) -> float:
        return statistics.median(values)

    first = good[0]
    return replace(
        first,
        seconds=first.operations / median(r.rate for r in good) if first.seconds else 0.0,
        p50_ms=median(r.p50_ms for r in good),
        p99_ms=median(r.p99_ms for r in good),
        server_cpu_ms=median(r.server_cpu_ms for r in good),
        database_cpu_ms=median(r.database_cpu_ms for r in good),
        generator_cpu_us=median(r.generator_cpu_us for r in good),
        others_share=median(r.others_share for r in good),
        facts=tuple(
            replace(fact, value=median(values))
            for fact in first.facts
            if (values := [f.value for r in good for f in r.facts if f.name == fact.name])
        ),
    )
