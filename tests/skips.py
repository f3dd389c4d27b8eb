"""A pytest plugin: says at the end of a run what was skipped and why, and lets CI fail for it.

With CI=true a skip fails the run unless its reason begins with one of `ALLOWED`.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

ALLOWED: tuple[str, ...] = ()
"""Beginnings of reasons that are good even where everything is installed."""


def _reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


class Skips:
    """Counts skipped tests by their reason."""

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.by_reason[_reason_of(report)] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.by_reason[_reason_of(report)] += 1

    def refused(self) -> list[str]:
        """Reasons that CI doesn't accept."""
        if os.environ.get("CI") != "true":
            return []
        return sorted(reason for reason in self.by_reason if not reason.startswith(ALLOWED or ("\0",)))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.refused() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.by_reason:
            return
        terminalreporter.section("skipped")
        refused = set(self.refused())
        for reason, count in self.by_reason.most_common():
            mark = " - not allowed in CI" if reason in refused else ""
            terminalreporter.write_line(f"{count:5} {reason}{mark}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Skips(), "ranvier-skips")
