"""What is printed and written down."""

import io
import json
import math
from pathlib import Path

import pytest
from bench.figures import Fact, Result
from bench.report import Report, number, ratio
from rich.console import Console

MACHINE = {"cores": 2, "processor": "Example"}
OPTIONS = {"database": "sqlite"}


def _report(ranvier: Result, synapse: Result) -> Report:
    versions = {"ranvier": "1", "synapse": "2"}
    return Report(MACHINE, OPTIONS, versions, {"ranvier": [[ranvier]], "synapse": [[synapse]]})


def _shown(report: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    report.show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


FAST = Result("send", 1_000, 1.0, 2.0, 4.0, 0.5, facts=(Fact("lag", 1.5, "ms"),))
SLOW = Result("send", 1_000, 10.0, 20.0, 60.0, 11.0, facts=(Fact("lag", math.nan, "ms"),))


def test_two_servers_stand_side_by_side_with_how_many_times_the_first_is_better() -> None:
    row = next(line for line in _shown(_report(FAST, SLOW)).splitlines() if "│ send" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == [
        "send",
        "1,000",
        "2.00",
        "4.00",
        "0.50",
        "100",
        "20.0",
        "60.0",
        "11.0",
        "10.0×",
        "10.0×",
        "22.0×",
    ]


def test_the_database_has_a_column_only_where_it_has_processes() -> None:
    assert "of it" not in _shown(_report(FAST, SLOW))
    with_database = Result("send", 1_000, 10.0, 20.0, 60.0, 11.0, database_cpu_ms=4.0)
    assert "of it" in _shown(_report(FAST, with_database))


def test_a_figure_that_does_not_exist_is_a_dash() -> None:
    line = next(line for line in _shown(_report(FAST, SLOW)).splitlines() if "│ lag" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["lag", "1.50 ms", "-", ""]


def test_only_what_a_server_needs_is_compared_among_the_facts() -> None:
    first = Result("memory", facts=(Fact("held", 50.0, "MiB", compared=True), Fact("fsync", 1.0, "ms")))
    second = Result("memory", facts=(Fact("held", 100.0, "MiB", compared=True), Fact("fsync", 2.0, "ms")))
    shown = _shown(_report(first, second))
    assert "2.00×" in next(line for line in shown.splitlines() if "│ held" in line)
    assert "×" not in next(line for line in shown.splitlines() if "│ fsync" in line)


def test_wrong_work_is_shown_and_counted() -> None:
    report = _report(FAST, Result("send", wrong="$b is missing"))
    assert report.wrong == ["synapse: send: $b is missing"]
    assert "WRONG synapse: send: $b is missing" in _shown(report)


def test_a_generator_that_was_the_limit_is_named() -> None:
    busy = Result("send", 1_000, 1.0, 2.0, 4.0, 0.5, generator_cpu_us=700.0)
    assert "the generator used 70% of a core" in _shown(_report(busy, SLOW))
    assert "the generator used" not in _shown(_report(FAST, SLOW))


def test_other_processes_on_the_machine_are_named() -> None:
    noisy = Result("send", 1_000, 1.0, 2.0, 4.0, 0.5, others_share=0.42)
    assert "other processes used 42% of the machine" in _shown(_report(noisy, SLOW))


def test_the_file_is_json_without_holes_and_holds_medians_and_every_repeat(tmp_path: Path) -> None:
    slower = Result("send", 1_000, 3.0, 4.0, 4.0, 0.7, facts=FAST.facts)
    report = Report(MACHINE, OPTIONS, {"ranvier": "1"}, {"ranvier": [[FAST], [slower], [slower]]})
    report.write(tmp_path / "new" / "results.json")
    found = json.loads((tmp_path / "new" / "results.json").read_text(), parse_constant=pytest.fail)
    assert found["medians"]["ranvier"][0]["cpu_ms"] == 0.7
    assert [repeat[0]["cpu_ms"] for repeat in found["repeats"]["ranvier"]] == [0.5, 0.7, 0.7]
    assert found["medians"]["ranvier"][0]["facts"] == {"lag": {"value": 1.5, "unit": "ms"}}
    assert found["machine"] == MACHINE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0312, "0.03"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (12_345.6, "12,346"),
        (math.nan, "-"),
    ],
)
def test_numbers_are_short(value: float, expected: str) -> None:
    assert number(value) == expected


def test_a_ratio_with_nothing_is_a_dash() -> None:
    assert ratio(0.0, 5.0) == ratio(math.nan, 1.0) == ratio(1.0, math.nan) == "-"
    assert ratio(2.0, 5.0) == "2.50×"
