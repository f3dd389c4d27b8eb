"""What the tests of encryption share: the floor's parts over a database, and people in it."""

from collections.abc import Iterable
from typing import cast

import pytest
from tests.encryption.people import Person
from tests.nobody import NobodyAnswers

from ranvier.encryption.cross_signing import CrossSigning
from ranvier.encryption.key_backups import KeyBackups
from ranvier.encryption.keys import Keys
from ranvier.encryption.remote_keys import RemoteKeys
from ranvier.encryption.remote_lists import RemoteLists
from ranvier.encryption.to_device import ToDevice
from ranvier.remote.client import FederationClient
from ranvier.store import devices
from ranvier.store.database import Database, Transaction
from ranvier.store.writer import Writer

SERVER_NAME = "example.org"


class Clock:
    """A time (milliseconds since the epoch) that moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1_700_000_000_000

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(database: Database, writer: Writer, clock: Clock) -> Keys:
    client = cast(FederationClient, NobodyAnswers())
    remote = RemoteKeys(
        SERVER_NAME, database, client, RemoteLists(SERVER_NAME, database, writer, client, clock)
    )
    return Keys(database, writer, remote, SERVER_NAME, clock)


@pytest.fixture
def cross_signing(database: Database, writer: Writer) -> CrossSigning:
    return CrossSigning(database, writer)


@pytest.fixture
def backups(database: Database, writer: Writer) -> KeyBackups:
    return KeyBackups(database, writer)


@pytest.fixture
def to_device(writer: Writer, clock: Clock) -> ToDevice:
    return ToDevice(writer, SERVER_NAME, clock)


async def log_in(writer: Writer, people: Iterable[Person]) -> None:
    """Make the devices of these people known to the server."""

    async def write(transaction: Transaction) -> None:
        for person in people:
            for device_id in person.devices:
                await devices.add(transaction, person.user_id, device_id, f"{device_id}'s name", 0)

    await writer.run(write)


@pytest.fixture
async def alice(writer: Writer) -> Person:
    """Has the devices PHONE and LAPTOP."""
    person = Person("@alice:example.org", "PHONE", "LAPTOP")
    await log_in(writer, [person])
    return person


@pytest.fixture
async def bob(writer: Writer) -> Person:
    """Has the device TABLET."""
    person = Person("@bob:example.org", "TABLET")
    await log_in(writer, [person])
    return person
