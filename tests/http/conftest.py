"""Fixtures of the listener that these tests speak to."""

from collections.abc import AsyncIterator

import pytest
from tests.http.place import Place


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place(forwarded=False)
    await made.listening.start()
    yield made
    await made.stop()


@pytest.fixture
async def proxied_place() -> AsyncIterator[Place]:
    made = Place(forwarded=True)
    await made.listening.start()
    yield made
    await made.stop()
