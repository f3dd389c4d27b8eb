"""A name server, and what reaches other servers through them."""

from collections.abc import AsyncIterator

import pytest
from tests.authority import Authority
from tests.remote.name_server import NameServer
from tests.remote.neighbourhood import Neighbourhood


@pytest.fixture
async def name_server() -> AsyncIterator[NameServer]:
    made = NameServer()
    await made.start()
    yield made
    made.stop()


@pytest.fixture
async def neighbourhood(authority: Authority, name_server: NameServer) -> AsyncIterator[Neighbourhood]:
    made = Neighbourhood(authority, name_server)
    yield made
    await made.close()
