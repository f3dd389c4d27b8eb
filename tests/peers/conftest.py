"""Synapse once for all tests, a fresh Ranvier for each; rooms begin on either, in each of several room versions.

RANVIER_TEST_PEERS=all takes all; otherwise each test is done with some of the combinations, drawn by RANVIER_TEST_SEED.
"""

from __future__ import annotations

import os
import random
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.authority import Authority
from tests.peers.pair import SEED, Pair, Side
from tests.peers.ranvier import Ranvier
from tests.peers.synapse import Synapse

HOSTS = ("ranvier", "synapse")
VERSIONS = ("6", "10", "11", "12")
TREE = Path(__file__).parents[2]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was drawn can be drawn again."""
    if any("tests/peers" in report.nodeid for report in terminalreporter.stats.get("failed", ())):
        terminalreporter.write_line(f"tests/peers drew from RANVIER_TEST_SEED={SEED}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" not in metafunc.fixturenames:
        return
    marked = metafunc.definition.get_closest_marker("versions")
    versions = marked.args if marked else VERSIONS
    ways = [(host, version) for host in HOSTS for version in versions]
    if os.environ.get("RANVIER_TEST_PEERS") != "all":
        dice = random.Random(f"{SEED} {metafunc.function.__name__}")
        # Both directions always.
        ways = [(host, dice.choice(versions)) for host in HOSTS]
    metafunc.parametrize("way", ways, ids=["-".join(way) for way in ways])


def _synapse_python() -> Path | None:
    python = TREE / ".cache" / "synapse" / "bin" / "python"
    if not python.exists():
        return None
    found = subprocess.run([str(python), "-c", "import synapse"], capture_output=True, check=False)
    return python if found.returncode == 0 else None


@pytest.fixture(scope="package")
def synapse_process(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Synapse]:
    """A Synapse that runs."""
    python = _synapse_python()
    if python is None:
        pytest.skip("Synapse is not installed (scripts/synapse)")
    made = Synapse(python, tmp_path_factory.mktemp("synapse"), authority)
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def synapse(synapse_process: Synapse) -> AsyncIterator[Synapse]:
    """The Synapse of all tests."""
    yield synapse_process
    await synapse_process.close_clients()


@pytest.fixture
def way() -> tuple[str, str]:
    """Where rooms begin, and their version."""
    return HOSTS[0], VERSIONS[-1]


@pytest.fixture
async def ranvier(
    request: pytest.FixtureRequest, tmp_path: Path, authority: Authority, way: tuple[str, str]
) -> AsyncIterator[Ranvier]:
    """A Ranvier of the test's own, on either database."""
    host, version = way
    database: dict[str, object] = {"name": "sqlite3", "args": {"database": "ranvier.db"}}
    if (HOSTS.index(host) + VERSIONS.index(version)) % 2:
        folder = request.getfixturevalue("postgres_socket")
        name = f"t{uuid.uuid4().hex}"
        connection = await asyncpg.connect(host=folder, user="postgres", database="postgres")
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        database = {"name": "asyncpg", "args": {"database": name, "user": "postgres", "host": folder}}
    made = Ranvier(
        tmp_path / "ranvier", authority, database=database, allow_device_name_lookup_over_federation=True
    )
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def pair(way: tuple[str, str], ranvier: Ranvier, synapse: Synapse) -> Pair:
    """Both, in their roles."""
    host, version = way
    sides: tuple[Side, Side] = (ranvier, synapse) if host == "ranvier" else (synapse, ranvier)
    return Pair(*sides, version)
