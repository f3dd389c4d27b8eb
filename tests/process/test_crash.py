"""kill -9 at any moment: what was answered is there, once and whole; what was not is there whole, or not at all.

RANVIER_KILLS says how often the server is killed (6 times in an ordinary run), RANVIER_SEED repeats a run's choices.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import asyncpg
import pytest
from tests.process.crowd import (
    Courier,
    History,
    KeyBearer,
    Member,
    Noter,
    Reader,
    Registrar,
    Talker,
    Uploader,
    Wanderer,
)
from tests.server import ServerProcess, UserClient, register
from tests.store.invariants import Rows, find_faults

KILLS = int(os.environ.get("RANVIER_KILLS", "6"))
DEAD = (aiohttp.ClientError, ConnectionError, TimeoutError)


class Crowd:
    """Clients of every kind, in the same rooms."""

    def __init__(self, members: list[Member], histories: list[History]) -> None:
        self.members = members
        self.histories = histories
        self._clients: dict[str, UserClient] = {}

    @classmethod
    async def gather(cls, server: ServerProcess, random: Random) -> Crowd:
        clients: dict[str, UserClient] = {}
        async with server.client() as anonymous:
            for name in ("ann", "ben", "cat", "dan", "eve", "fay", "gus"):
                clients[name] = UserClient(server.base_url, await register(anonymous, name))
        ann, ben, cat, dan, eve, fay, gus = clients.values()
        square, corner = [await ann.create_room(preset="public_chat") for _ in range(2)]
        power = await ann.get(f"/_matrix/client/v3/rooms/{square}/state/m.room.power_levels")
        await ann.send_state(square, "m.room.power_levels", {**power.ok(), "state_default": 0})
        for client in (ben, cat, dan):
            await client.join(square)
        await ben.join(corner)
        histories = [History(ann, square), History(ann, corner)]
        made = cls(
            [
                Talker(ann, random, histories[0]),
                Talker(ben, random, histories[0]),
                Talker(ben, random, histories[1]),
                Noter(cat, random, square),
                Wanderer(eve, random, square),
                Wanderer(fay, random, corner),
                Reader(dan, random, [square]),
                Reader(ann, random, [square, corner]),
                Courier(cat, random, gus),
                KeyBearer(dan, random),
                Uploader(fay, random),
                Registrar(gus, random),
            ],
            histories,
        )
        made._clients = clients
        return made

    def answered(self) -> int:
        return sum(member.answered for member in self.members)

    async def work(self) -> None:
        """Keep the server busy until it dies."""
        await asyncio.gather(*(self._insist(member) for member in self.members for _ in range(member.width)))

    async def _insist(self, member: Member) -> None:
        while True:
            try:
                await member.act()
            except DEAD:
                return

    async def check(self) -> None:
        """Everything that was answered is there."""
        await asyncio.gather(*(member.check() for member in self.members))
        for member in self.members:
            if isinstance(member, Reader):
                await member.check()
        for history in self.histories:
            await history.read_on()
        for member in self.members:
            if isinstance(member, Talker):
                member.check_history()
            elif isinstance(member, Reader):
                for history in self.histories:
                    if history.room_id in member.seen:
                        told = [event["event_id"] for event in history.events]
                        seen = member.seen[history.room_id]
                        assert seen == told, f"sync told {set(seen) ^ set(told)} otherwise than /messages"

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


@pytest.fixture
async def server(database_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """The program on each database."""
    made = ServerProcess(tmp_path / "server", database=database_settings)
    await made.start()
    yield made
    await made.kill()


async def faults_of(settings: dict[str, Any], folder: Path) -> list[str]:
    """What is wrong in the database of a server that does not run."""
    if settings["name"] == "sqlite3":
        opened = sqlite3.connect(folder / settings["args"]["database"])

        async def read(query: str) -> Rows:
            return opened.execute(query).fetchall()

        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        faults = await find_faults(read)
        opened.close()
        return faults
    connection = await asyncpg.connect(**settings["args"])
    # What the dead process asked for last may still be carried out.
    others = (
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    while await connection.fetchval(others):  # noqa: ASYNC110 - another process's doing
        await asyncio.sleep(0.02)
    faults = await find_faults(connection.fetch)
    await connection.close()
    return faults


async def kill_somewhere(server: ServerProcess, crowd: Crowd, random: Random) -> None:
    """Let the crowd work, and kill the server after a random number of answers, and a little later than one."""
    enough = crowd.answered() + random.randrange(5, 400)
    work = asyncio.create_task(crowd.work())
    try:
        while crowd.answered() < enough:
            await asyncio.sleep(0.002)
            assert not work.done(), work.exception() or "the server died by itself"
        await asyncio.sleep(random.random() * 0.01)
    finally:
        await server.kill()
    await work


async def stumble(server: ServerProcess, random: Random) -> None:
    """Sometimes it is killed again before it has got up."""
    while random.random() < 0.2:
        starting = asyncio.create_task(server.start())
        await asyncio.sleep(random.random())
        await server.kill()
        await asyncio.gather(starting, return_exceptions=True)


@pytest.mark.timeout(120 + 20 * KILLS)
async def test_what_was_answered_survives_kills_at_any_moment(
    server: ServerProcess, database_settings: dict[str, Any]
):
    seed = os.environ.get("RANVIER_SEED") or secrets.token_hex(4)
    print(f"RANVIER_SEED={seed} RANVIER_KILLS={KILLS}")
    random = Random(seed)
    crowd = await Crowd.gather(server, random)
    try:
        for number in range(KILLS):
            await kill_somewhere(server, crowd, random)
            await stumble(server, random)
            faults = await faults_of(database_settings, server.folder)
            assert not faults, f"after kill {number}:\n" + "\n".join(faults[:50])
            await server.start()
            await crowd.check()
    except BaseException:
        print(server.words())
        raise
    finally:
        await crowd.close()
