"""The table side by side, and the file of results."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Result, median_result

# Beyond this share of a core the generator, not the server, may have set the rate.
GENERATOR_SHARE = 0.6


@dataclass(frozen=True)
class Report:
    """All results of one run: of each server, the rows of each repeat."""

    machine: Mapping[str, Any]
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    repeats: Mapping[str, Sequence[Sequence[Result]]]

    def medians(self, server: str) -> dict[str, Result]:
        """By the work's name, the medians over the repeats."""
        rows: dict[str, list[Result]] = {}
        for repeat in self.repeats[server]:
            for result in repeat:
                rows.setdefault(result.work, []).append(result)
        return {work: median_result(results) for work, results in rows.items()}

    @property
    def wrong(self) -> list[str]:
        """Everything that failed its check."""
        return [
            f"{server}: {result.work}: {result.wrong}"
            for server, repeats in self.repeats.items()
            for repeat in repeats
            for result in repeat
            if result.wrong
        ]

    def write(self, file: Path) -> None:
        """Results as JSON: medians, and every repeat."""
        document = {
            "machine": self.machine,
            "options": self.options,
            "versions": self.versions,
            "medians": {
                server: [_plain(r) for r in self.medians(server).values()] for server in self.repeats
            },
            "repeats": {
                server: [[_plain(result) for result in repeat] for repeat in repeats]
                for server, repeats in self.repeats.items()
            },
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def show(self, console: Console) -> None:
        """Print the tables, what to beware of, and what was wrong."""
        medians = {server: self.medians(server) for server in self.repeats}
        console.print(_work_table(medians, self._title()))
        console.print(_fact_table(medians))
        for warning in self._warnings(medians):
            console.print(warning, highlight=False, soft_wrap=True)
        for wrong in self.wrong:
            console.print("WRONG", wrong, style="red", highlight=False, markup=False, soft_wrap=True)

    def _title(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{versions}; {self.options['database']}; {self.machine['cores']} × {self.machine['processor']}"
        )

    def _warnings(self, medians: Mapping[str, Mapping[str, Result]]) -> list[str]:
        found = []
        for server, rows in medians.items():
            shares = [row.others_share for row in rows.values() if row.operations]
            if shares:
                found.append(
                    f"{server}: other processes used {sum(shares) / len(shares):.0%} of the machine, "
                    f"at most {max(shares):.0%}."
                )
            for row in rows.values():
                if row.generator_cpu_us * row.rate / 1e6 > GENERATOR_SHARE:
                    found.append(
                        f"{server}: {row.work}: the generator used {row.generator_cpu_us * row.rate / 1e6:.0%} "
                        "of a core; the rate may be its, not the server's."
                    )
        return found


def number(value: float) -> str:
    """Three figures that count, or "-" where there is nothing."""
    if math.isnan(value):
        return "-"
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def spoken_value(value: float, unit: str) -> str:
    """A fact's value; one without a unit is a count."""
    if math.isnan(value):
        return "-"
    return f"{number(value)} {unit}" if unit else f"{value:,.0f}"


def ratio(first: float, second: float) -> str:
    """How many times the second is the first, or "-"."""
    if math.isnan(first) or math.isnan(second) or not first:
        return "-"
    return f"{number(second / first)}×"


def _work_table(medians: Mapping[str, Mapping[str, Result]], title: str) -> Table:
    with_database = any(row.database_cpu_ms for rows in medians.values() for row in rows.values())
    table = Table(title=title, title_justify="left")
    table.add_column("work")
    for server in medians:
        headings = [
            f"{server}\nrate/s",
            "\np50 ms",
            "\np99 ms",
            "CPU\nms/op",
            *(["of it\ndatabase"] * with_database),
        ]
        for heading in headings:
            table.add_column(heading, justify="right")
    if len(medians) == 2:
        for heading in ("ratio\nrate", "\np50", "\nCPU"):
            table.add_column(heading, justify="right")
    for work in _names(medians):
        rows = [found.get(work, Result(work)) for found in medians.values()]
        if any(row.operations or row.wrong for row in rows):
            table.add_row(
                work, *(cell for row in rows for cell in _cells(row, with_database)), *_ratios(rows)
            )
    return table


def _cells(row: Result, with_database: bool) -> tuple[str, ...]:
    figures = [row.rate, row.p50_ms, row.p99_ms, row.cpu_ms, *([row.database_cpu_ms] * with_database)]
    cells = tuple(number(figure) for figure in figures)
    return ("[red]wrong[/]", *cells[1:]) if row.wrong else cells


def _ratios(rows: Sequence[Result]) -> tuple[str, ...]:
    if len(rows) != 2:
        return ()
    first, second = rows
    return (
        ratio(second.rate, first.rate),
        ratio(first.p50_ms, second.p50_ms),
        ratio(first.cpu_ms, second.cpu_ms),
    )


def _fact_table(medians: Mapping[str, Mapping[str, Result]]) -> Table:
    table = Table()
    table.add_column("beside it")
    for server in medians:
        table.add_column(server, justify="right")
    if len(medians) == 2:
        table.add_column("ratio", justify="right")
    facts = {
        server: {fact.name: fact for row in rows.values() for fact in row.facts}
        for server, rows in medians.items()
    }
    kinds = {name: fact for found in facts.values() for name, fact in found.items()}
    for name, kind in kinds.items():
        values = [found[name].value if name in found else math.nan for found in facts.values()]
        cells = [spoken_value(value, kind.unit) for value in values]
        if len(values) == 2:
            cells.append(ratio(*values) if kind.compared else "")
        table.add_row(name, *cells)
    return table


def _names(medians: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for rows in medians.values() for name in rows))


def _plain(result: Result) -> dict[str, Any]:
    """For JSON: figures rounded, what does not exist left out, the rate and CPU spelled out."""
    plain: dict[str, Any] = {}
    for name, value in {**asdict(result), "rate": result.rate, "cpu_ms": result.cpu_ms}.items():
        if isinstance(value, float):
            if not math.isnan(value):
                plain[name] = float(f"{value:.5g}")
        elif name != "facts" and value:
            plain[name] = value
    facts = {
        fact.name: {"value": float(f"{fact.value:.5g}"), "unit": fact.unit}
        for fact in result.facts
        if not math.isnan(fact.value)
    }
    return {**plain, **({"facts": facts} if facts else {})}
