"""Results of tests: as Go prints them, as `results.json` keeps them, and what speaks against a run."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

Outcome = Literal["pass", "fail", "skip"]
_OUTCOMES = {"pass", "fail", "skip"}
_COLOUR = re.compile(r"\x1b\[\d+m")
_NO_FAULT = ("[CSAPI]", "WARNING: ", " times: ", "SendEventSynced waiting", "StopServer", "StartServer")


@dataclass(frozen=True)
class Result:
    """`why` says why a test does not pass; it is empty for those that do."""

    result: Outcome
    why: str = ""


@dataclass
class Run:
    """What `go test -json` said, event by event."""

    results: dict[str, Outcome] = field(default_factory=dict)
    output: dict[str, list[str]] = field(default_factory=dict)
    packages: dict[str, Outcome] = field(default_factory=dict)
    home: dict[str, str] = field(default_factory=dict)
    stray: list[str] = field(default_factory=list)

    def hear(self, line: str) -> str | None:
        """Take one line of output; answers the name of a top-level test that it ends."""
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            self.stray.append(line)
            return None
        action, test, package = event.get("Action"), event.get("Test"), event.get("Package", "")
        if action in {"output", "build-output"}:
            self.output.setdefault(test or package, []).append(event["Output"])
        elif test is None:
            if action in _OUTCOMES:
                self.packages[package] = action
        elif action == "run":
            # A test that never ends, as its program died, has failed.
            self.results[test], self.home[test] = "fail", package
        elif action in _OUTCOMES:
            self.results[test], self.home[test] = cast(Outcome, action), package
            return test if "/" not in test else None
        return None

    def take_over(self, later: "Run") -> None:
        """Let a second try's results stand in the place of the first's."""
        again = {name.split("/")[0] for name in later.results}
        self.results = {
            name: result for name, result in self.results.items() if name.split("/")[0] not in again
        }
        self.results.update(later.results)
        self.output.update(later.output)

    def first_fault(self, test: str) -> str:
        """The first line of a test's output that says what went wrong; empty without one."""
        for line in self.output.get(test, []):
            text = _COLOUR.sub("", line).strip()
            if ".go:" in text and not any(words in text for words in _NO_FAULT):
                return text
        return ""


@dataclass(frozen=True)
class Verdict:
    """What differs from the list. All but `better` speak against a change."""

    worse: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    better: tuple[str, ...] = ()
    unexplained: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the run may pass."""
        return not (self.worse or self.unlisted or self.missing or self.unexplained)


def compare(
    known: Mapping[str, Result], found: Mapping[str, Outcome], listed_tests: Collection[str]
) -> Verdict:
    """Hold a run against the list; `listed_tests` are the top-level tests that the run should have had."""
    expected = {name for name in known if name.split("/")[0] in listed_tests}
    return Verdict(
        worse=_sorted(name for name in found if _result(known, name) == "pass" and found[name] != "pass"),
        unlisted=_sorted(name for name in found if name not in known),
        # Sub-tests of a test that failed may not be reached; that test itself is then told.
        missing=_sorted(
            name
            for name in expected - set(found)
            if known[name].result == "pass" and not _failed_above(name, found)
        ),
        better=_sorted(
            name for name in found if found[name] == "pass" and _result(known, name) not in {"pass", None}
        ),
        unexplained=_sorted(
            name for name, result in known.items() if (result.result != "pass") != bool(result.why)
        ),
    )


def update(
    known: Mapping[str, Result], found: Mapping[str, Outcome], listed_tests: Collection[str]
) -> dict[str, Result]:
    """The list after a run: reasons stay with tests that still don't pass, or come from the test above them."""
    kept = {name: result for name, result in known.items() if name.split("/")[0] not in listed_tests}
    for name, outcome in found.items():
        kept[name] = Result(outcome, "" if outcome == "pass" else _why(known, name))
    return dict(sorted(kept.items()))


def load(path: Path) -> dict[str, Result]:
    """Read the list; an absent file is an empty one."""
    if not path.exists():
        return {}
    return {
        name: Result(row["result"], row.get("why", "")) for name, row in json.loads(path.read_text()).items()
    }


def save(path: Path, results: Mapping[str, Result]) -> None:
    """Write the list, sorted, a line for each test."""
    rows = [
        f"  {json.dumps(name)}: "
        + json.dumps({"result": row.result, **({"why": row.why} if row.why else {})}, ensure_ascii=False)
        for name, row in sorted(results.items())
    ]
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n")


def _why(known: Mapping[str, Result], name: str) -> str:
    while name:
        if name in known and known[name].why:
            return known[name].why
        name = name.rpartition("/")[0]
    return ""


def _failed_above(name: str, found: Mapping[str, Outcome]) -> bool:
    while name := name.rpartition("/")[0]:
        if found.get(name) in {"fail", "skip"}:
            return True
    return False


def _result(known: Mapping[str, Result], name: str) -> Outcome | None:
    return known[name].result if name in known else None


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))
