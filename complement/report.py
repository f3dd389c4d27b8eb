"""What a run is told as, at the end and while it goes on."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from complement.results import Run, Verdict
from complement.suite import MODULE


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201 - a program's output


def tell(test: str, run: Run) -> None:
    """A top-level test has ended."""
    say(f"{run.results[test]:5} {test}")


def count(run: Run) -> None:
    """Results by package, and what of Go's output belongs to no test."""
    by_package: dict[str, Counter[str]] = {}
    for name, outcome in run.results.items():
        by_package.setdefault(run.home[name].removeprefix(f"{MODULE}/"), Counter())[outcome] += 1
    for package, counts in sorted(by_package.items()):
        say(f"{package:16} {counts['pass']:4} pass {counts['fail']:4} fail {counts['skip']:4} skip")
    for package in find_broken(run):
        say(f"{package} did not run:\n{''.join(run.output.get(package, []))[-2000:]}")
    for line in run.stray[-20:]:
        say(line.rstrip())


def find_broken(run: Run) -> list[str]:
    """Packages that failed without a test: they don't build, or ended before the first."""
    having_tests = set(run.home.values())
    return sorted(
        name for name, outcome in run.packages.items() if outcome == "fail" and name not in having_tests
    )


def explain(run: Run, verdict: Verdict) -> None:
    """Each difference from the list, a line each."""
    _list("passes now (write it down with --write)", verdict.better)
    for name in verdict.worse:
        say(f"passed before: {name}  {run.first_fault(name)}")
    _list("is not in the list", verdict.unlisted)
    _list("did not run", verdict.missing)
    _list("the list has no reason why it does not pass, or one for a pass", verdict.unexplained)


def write(run: Run, path: Path) -> None:
    """Results with the first fault of each test, as JSON."""
    rows = {
        name: {"result": outcome, "fault": run.first_fault(name)} for name, outcome in run.results.items()
    }
    path.write_text(json.dumps(dict(sorted(rows.items())), indent=1))


def _list(what: str, names: Iterable[str]) -> None:
    for name in names:
        say(f"{what}: {name}")
