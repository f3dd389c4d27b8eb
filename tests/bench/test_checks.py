"""The pieces of work against a small server that can be told to be faulty: what is wrong does not pass."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson
import pytest
from bench.arrivals import WrongCount
from bench.connection import Address, UnexpectedAnswer
from bench.progress import Bars
from bench.work import Work
from bench.work.delivery import measure_delivery
from bench.work.history import measure_messages
from bench.work.joining import measure_joins
from bench.work.registration import measure_registration
from bench.work.sending import measure_concurrent, measure_sequential
from bench.world import QUICK, World, registration_mac
from rich.console import Console

SIZES = replace(
    QUICK,
    registrations=3,
    sequential_sends=5,
    concurrent_sends=24,
    in_flight=4,
    crowd_users=3,
    crowd_rooms=2,
    waiting_clients=3,
    delivered_messages=3,
    history_events=200,
    history_passes=1,
    joins=3,
)


class SmallServer:
    """Rooms in a dict. `fault` names the one thing that it does wrong: to message 3, or to the third member."""

    name = "small"
    registration_secret = "shared"
    database_pids: tuple[int, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault = ""
        self.pids = [os.getpid()]
        self.address = Address("127.0.0.1", 0)
        self._names = map(str, itertools.count(1))
        self._timelines: dict[str, list[dict[str, Any]]] = {}
        self._members: dict[str, list[str]] = {}
        self._news = asyncio.Condition()

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self.address = Address(*server.sockets[0].getsockname()[:2])
        return server

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, target, _ = head.split(" ", 2)
                length = int(head.partition("Content-Length: ")[2].partition("\r")[0] or 0)
                user = head.partition("Bearer ")[2].partition("\r")[0]
                body = orjson.loads(await reader.readexactly(length) or b"{}")
                status, answer = await self._answer(method, target, user, body)
                content = orjson.dumps(answer)
                writer.write(
                    b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, method: str, target: str, user: str, body: Any) -> tuple[int, Any]:
        path, _, query = target.partition("?")
        parts = [unquote(part) for part in path.split("/")]
        options = {name: values[0] for name, values in parse_qs(query).items()}
        match (method, parts[-1]):
            case ("GET", "register"):
                return 200, {"nonce": next(self._names)}
            case ("POST", "register"):
                return self._register(body)
            case ("GET", "whoami"):
                return 200, {"user_id": "@mallory:x" if self.fault == "whoami" else user}
            case ("POST", "createRoom"):
                room_id = f"!{next(self._names)}:x"
                self._timelines[room_id], self._members[room_id] = [], [user]
                return 200, {"room_id": room_id}
            case ("POST", "join"):
                if not (self.fault == "lose" and len(self._members[parts[-2]]) == 2):
                    self._members[parts[-2]].append(user)
                return 200, {}
            case ("GET", "joined_members"):
                return 200, {"joined": {user_id: {} for user_id in self._members[parts[-2]]}}
            case ("PUT", _):
                return 200, {"event_id": await self._send(parts[5], body)}
            case ("GET", "messages"):
                return 200, self._page(parts[-2], options)
            case _:
                return 200, await self._sync(user, options)

    def _register(self, body: Any) -> tuple[int, Any]:
        mac = registration_mac("shared", body["nonce"], body["username"], body["password"])
        if body["mac"] != mac:
            return 403, {"errcode": "M_UNKNOWN"}
        user_id = f"@{body['username']}:x"
        return 200, {"user_id": user_id, "access_token": user_id}

    async def _send(self, room_id: str, body: Any) -> str:
        timeline = self._timelines[room_id]
        event = {"event_id": f"${next(self._names)}", "type": "m.room.message", "content": body}
        fault = self.fault if body["body"].endswith(" 3") else ""
        if fault == "change":
            event["content"] = {**body, "body": body["body"] + "."}
        async with self._news:
            timeline += [event] * {"lose": 0, "double": 2}.get(fault, 1)
            self._news.notify_all()
        return str(event["event_id"])

    def _page(self, room_id: str, options: dict[str, str]) -> Any:
        newest_first = self._timelines[room_id][::-1]
        start, limit = int(options.get("from", 0)), int(options["limit"])
        page: dict[str, Any] = {"chunk": newest_first[start : start + limit]}
        if start + limit < len(newest_first) + 1:
            page["end"] = str(start + limit)
        return page

    async def _sync(self, user: str, options: dict[str, str]) -> Any:
        since = orjson.loads(options.get("since", "{}"))
        mine = [room_id for room_id, members in self._members.items() if user in members]
        async with self._news:
            if since and int(options["timeout"]):
                await self._news.wait_for(
                    lambda: any(len(self._timelines[r]) > since.get(r, 0) for r in mine)
                )
        joined = {
            r: {"timeline": {"events": self._timelines[r][since.get(r, 0) :]}}
            for r in mine
            if len(self._timelines[r]) > since.get(r, 0)
        }
        lengths = {r: len(self._timelines[r]) for r in mine}
        return {"next_batch": orjson.dumps(lengths).decode(), "rooms": {"join": joined}}

    def install(self) -> str:
        return "1"

    async def start(self) -> float:
        return 0.0

    async def stop(self) -> None:
        self.pids = []

    def kill(self) -> None:
        self.pids = []


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SmallServer]:
    small = SmallServer(tmp_path)
    listening = await small.listen()
    yield small
    listening.close()


@pytest.fixture
def world(server: SmallServer) -> World:
    return World(server, SIZES, Bars(Console(quiet=True)), 0.0)


async def test_an_honest_server_passes_all_checks(world: World) -> None:
    (sequential,) = await measure_sequential(world)
    (concurrent,) = await measure_concurrent(world)
    (delivery,) = await measure_delivery(world)
    (pages,) = await measure_messages(world)
    assert sequential.operations == 5
    assert sequential.checked == "5 messages found exactly once by /messages"
    assert concurrent.operations == 24
    assert delivery.operations == 3 * 3
    assert pages.operations == 2
    assert sequential.p50_ms > 0
    assert sequential.server_cpu_ms > 0


@pytest.mark.parametrize("fault", ["lose", "double", "change"])
@pytest.mark.parametrize("work", [measure_sequential, measure_concurrent, measure_messages])
async def test_a_server_that_mistreats_one_message_does_not_pass(
    server: SmallServer, world: World, fault: str, work: Work
) -> None:
    server.fault = fault
    with pytest.raises(WrongCount):
        await work(world)


async def test_a_message_delivered_twice_does_not_pass(server: SmallServer, world: World) -> None:
    server.fault = "double"
    with pytest.raises(BaseExceptionGroup) as caught:
        await measure_delivery(world)
    assert caught.group_contains(WrongCount, match="arrived 2 times")


async def test_a_join_that_was_answered_but_not_done_does_not_pass(server: SmallServer, world: World) -> None:
    await world.users(SIZES.joins + 1)
    server.fault = "lose"
    with pytest.raises(WrongCount, match="joined members"):
        await measure_joins(world)


async def test_a_token_of_somebody_else_does_not_pass(server: SmallServer, world: World) -> None:
    server.fault = "whoami"
    with pytest.raises(WrongCount, match="whoami"):
        await measure_registration(world)


async def test_a_wrong_shared_secret_is_refused_and_shown(server: SmallServer, world: World) -> None:
    server.registration_secret = "another"
    with pytest.raises(BaseExceptionGroup) as caught:
        await world.users(1)
    assert caught.group_contains(UnexpectedAnswer, match="POST /_synapse/admin/v1/register HTTP/1.1: 403")
