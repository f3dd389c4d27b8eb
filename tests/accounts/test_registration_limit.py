"""How often an address may register."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.server import PASSWORD, Server


@pytest.fixture
def server_overrides() -> dict[str, Any]:
    return {"rc_registration": {"per_second": 0.001, "burst_count": 2}}


async def test_registrations_at_once_are_counted_like_one_after_the_other(server: Server):
    async def register(n: int) -> int:
        body = {"username": f"user{n}", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        return (await server.client.post("/_matrix/client/v3/register", json=body)).status

    found = await asyncio.gather(*(register(n) for n in range(8)))
    assert sorted(found) == [200, 200, *[429] * 6]


async def test_asking_what_a_registration_needs_counts_nothing(server: Server):
    for n in range(5):
        asked = await server.client.post("/_matrix/client/v3/register", json={"username": f"user{n}"})
        assert asked.status == 401
    await server.register("alice")
