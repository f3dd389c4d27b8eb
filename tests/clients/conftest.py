"""Servers, clients and the record of their traffic.

The SDKs are imported by fixtures only, so that a machine without them can skip these tests and say why.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.clients.homeserver import HomeserverProcess, new_homeserver
from tests.clients.traffic import Record, Traffic

if TYPE_CHECKING:
    from tests.clients.conversation import Conversation
    from tests.clients.people import People

OLDEST_NODE = 20
_RECORD = pytest.StashKey[Record]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RECORD] = Record.from_environment()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    record = config.stash[_RECORD]
    record.close()
    if config.get_verbosity() >= 0 and (lines := record.list_endpoints()):
        terminalreporter.section("endpoints that the clients called")
        for line in lines:
            terminalreporter.write_line(line)


def _lacking() -> str | None:
    """Why these tests can't run on this machine, or None."""
    if importlib.util.find_spec("nio") is None or importlib.util.find_spec("vodozemac") is None:
        return "matrix-nio with encryption is not installed (pip install -e '.[clients]')"
    if shutil.which("node") is None or shutil.which("npm") is None or _node_version() < OLDEST_NODE:
        return f"Node {OLDEST_NODE} or newer, with npm, is not installed"
    return None


def _node_version() -> int:
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    return int(version.removeprefix("v").partition(".")[0])


@pytest.fixture(scope="session", autouse=True)
def _sdks() -> None:
    """Skips where an SDK is lacking, except in CI; installs what the Node program needs."""
    if lacking := _lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(f"the client tests must run in CI: {lacking}")
        pytest.skip(lacking)
    from tests.clients.js_device import install

    install()


@pytest.fixture(scope="module")
def server(_sdks: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeserverProcess]:
    """A running server with open registration, shared by the tests of a module."""
    process = new_homeserver(tmp_path_factory.mktemp("server"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def traffic(request: pytest.FixtureRequest) -> Iterator[Traffic]:
    """What the clients of this test ask and are answered; judged when the test ends."""
    traffic = Traffic()
    yield traffic
    request.config.stash[_RECORD].keep(traffic)
    traffic.check()


@pytest_asyncio.fixture
async def people(server: HomeserverProcess, traffic: Traffic, tmp_path: Path) -> AsyncIterator[People]:
    from tests.clients.js_device import JsProgram
    from tests.clients.people import People

    program = await JsProgram.start(traffic, tmp_path / "node.log")
    people = People(server, program, traffic, tmp_path)
    yield people
    await people.close()
    await program.close()


@pytest_asyncio.fixture
async def conversation(people: People) -> Conversation:
    """Alice with nio and Bob with matrix-js-sdk, syncing, before they share a room."""
    from tests.clients.conversation import Conversation

    return Conversation(people, await people.nio("alice"), await people.js("bob"))
