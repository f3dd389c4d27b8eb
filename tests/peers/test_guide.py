"""The worker chapter of an administrator's guide for Synapse, followed word by word: what it promises holds here.

Four processes with Apache, PostgreSQL and Redis, and a Synapse on the other side of the federation.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.authority import Authority
from tests.http_client import Client, path_of
from tests.peers import picture as guide
from tests.peers.pair import ROOMS, hears_from_now
from tests.peers.picture import Picture
from tests.peers.synapse import Synapse
from tests.server import UserClient, register
from yarl import URL

from ranvier.protocol import x_matrix
from ranvier.protocol.signing import parse_key_file

RANVIERS = {
    "main": guide.MAIN_METRICS,
    "federation_reader": guide.READER_METRICS,
    "federation_sender": guide.SENDER_METRICS,
}


@pytest.fixture(scope="module")
def picture(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, postgres_socket: str
) -> Iterator[Picture]:
    """It runs."""
    missing = guide.lacking()
    if missing is not None:
        pytest.skip(missing)
    name = f"t{uuid.uuid4().hex}"
    for statement in (
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret'",
        f"CREATE DATABASE {name} ENCODING 'UTF8' LC_COLLATE='C' LC_CTYPE='C' template=template0 OWNER {name}",
    ):
        subprocess.run(["psql", "-q", "-h", postgres_socket, "-U", "postgres", "-c", statement], check=True)
    args = {"user": name, "password": "secret", "database": name, "host": postgres_socket}
    database = {"name": "psycopg2", "args": {**args, "cp_min": 5, "cp_max": 10}}
    with guide.alone_on_this_machine():
        made = Picture(tmp_path_factory.mktemp("guide"), authority, database)
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture
async def alice(picture: Picture) -> AsyncIterator[UserClient]:
    """A client of the main process."""
    async with Client(picture.base_url) as nobody:
        login = await register(nobody, f"alice-{uuid.uuid4().hex[:6]}")
    async with UserClient(picture.base_url, login) as user:
        yield user


@pytest.fixture
async def bob(synapse: Synapse) -> UserClient:
    """Somebody on the Synapse."""
    return await synapse.register(f"bob-{uuid.uuid4().hex[:6]}")


def at_reader(picture: Picture, user: UserClient) -> UserClient:
    """The same session, through the worker."""
    login = {"access_token": user.token, "user_id": user.user_id, "device_id": user.device_id}
    return UserClient(picture.reader_url, login)


async def shared_room(picture: Picture, alice: UserClient, bob: UserClient) -> str:
    """A room of alice's that bob of the Synapse is in."""
    room_id = await alice.create_room(preset="public_chat")
    path = path_of("_matrix/client/v3/join", room_id)
    (await bob.post(path, json={}, query={"via": picture.server_name})).ok()
    return room_id


def figures(name: str) -> dict[str, Any]:
    """What a process of Ranvier counts now: families by name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{RANVIERS[name]}/_synapse/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def transactions_taken(name: str) -> float:
    """How many transactions of other servers a process answered."""
    family = figures(name).get("synapse_http_server_requests_received")
    samples = family.samples if family is not None else []
    return sum(s.value for s in samples if s.labels.get("servlet") == "FederationSendServlet")


def transactions_sent(name: str) -> float:
    """How many transactions other servers took from a process."""
    family = figures(name).get("synapse_federation_client_sent_transactions")
    return sum(sample.value for sample in family.samples) if family is not None else 0


async def in_order(reader: UserClient, room_id: str, bodies: list[str]) -> None:
    """Wait until these messages are in the room for its reader; they stand there in this order, each once."""
    deadline = time.monotonic() + 60
    found: list[str] = []
    while len(found) < len(bodies) and time.monotonic() < deadline:
        await asyncio.sleep(0.3)
        found = await _bodies(reader, room_id, set(bodies))
    assert found == bodies


async def _bodies(reader: UserClient, room_id: str, wanted: set[str]) -> list[str]:
    path = path_of(ROOMS, room_id, "messages")
    page = (await reader.get(path, query={"dir": "b", "limit": 200})).ok()
    found = [event["content"].get("body") for event in reversed(page["chunk"])]
    return [body for body in found if body in wanted]


def _has_left(room_id: str, user_id: str) -> Any:
    """Finds in a sync's answer that somebody left a room."""

    def found(answer: Any) -> bool:
        room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
        events = [*room.get("timeline", {}).get("events", []), *room.get("state", {}).get("events", [])]
        return any(
            event.get("state_key") == user_id and event["content"].get("membership") == "leave"
            for event in events
        )

    return found


def test_each_box_of_the_picture_listens_where_the_guide_says_and_nowhere_else(picture: Picture):
    def ports(name: str) -> set[str]:
        return guide.listening_addresses(picture.programs[name].pid)

    def here(*numbers: int) -> set[str]:
        return {f"127.0.0.1:{number}" for number in numbers}

    assert ports("main") == here(guide.CLIENT_PORT, guide.REPLICATION_PORT, guide.MAIN_METRICS)
    assert ports("federation_reader") == here(guide.READER_PORT, guide.READER_METRICS)
    assert ports("federation_sender") == here(guide.SENDER_METRICS)
    assert ports("redis") == here(guide.REDIS_PORT)


def test_each_process_is_connected_to_redis(picture: Picture):
    for name in RANVIERS:
        pid = picture.programs[name].pid
        guide.until(lambda pid=pid: guide.connections_to(pid, guide.REDIS_PORT), f"{name} is connected")


def test_the_workers_asked_the_main_process_whether_they_are_of_one_server(picture: Picture):
    for name in ("federation_reader", "federation_sender"):
        guide.until(
            lambda name=name: any(
                line["event"] == "the main process is there" for line in picture.logged(name, "info")
            ),
            f"{name} found the main process",
        )


def test_the_sender_has_the_name_of_its_app_and_all_warnings_are_those_that_are_due(picture: Picture):
    [ready] = [line for line in picture.logged("federation_sender", "info") if line["event"] == "ready"][:1]
    assert ready["instance"] == "synapse.app.federation_sender"
    legacy = "`worker_replication_host` and `worker_replication_http_port`"
    assert [legacy in line for line in picture.warnings("federation_reader")].count(True) == 1
    assert any("there is no `worker_name`" in line for line in picture.warnings("federation_sender"))
    # Type=notify and `daemonize` stand side by side in the guide.
    [warning] = picture.logged("main", "warning")[:1]
    assert "`daemonize` is not followed" in warning["event"]


async def test_the_replication_listener_serves_workers_and_health_only(picture: Picture):
    async with Client(f"http://127.0.0.1:{guide.REPLICATION_PORT}", judged=False) as client:
        assert (await client.get("/health")).status == 200
        known = (await client.get("/_synapse/replication/process")).ok()
        assert (known["server_name"], known["instance"]) == (picture.server_name, "main")
        for path in ("/_matrix/client/versions", "/_matrix/federation/v1/version", "/_synapse/metrics"):
            answer = await client.get(path)
            assert (answer.status, answer.errcode) == (404, "M_UNRECOGNIZED")


async def test_the_worker_answers_all_of_its_resources_and_nothing_else(picture: Picture, alice: UserClient):
    async with at_reader(picture, alice) as user:
        room_id = await user.create_room()
        await user.send(room_id, "hello")
        assert (await user.sync())["rooms"]["join"][room_id]
        (await user.get("/_matrix/client/v3/devices")).ok()
        (await user.get("/_matrix/media/v3/config")).ok()
        (await user.get("/_matrix/federation/v1/version")).ok()
        (await user.get("/_matrix/key/v2/server")).ok()
    async with Client(picture.reader_url, judged=False) as client:
        for path in ("/_synapse/replication/process", "/_synapse/metrics", "/no/such/path"):
            answer = await client.get(path)
            assert (answer.status, answer.errcode) == (404, "M_UNRECOGNIZED")
        answer = await client.request("DELETE", "/_matrix/client/versions", valid=False)
        assert (answer.status, answer.errcode) == (405, "M_UNRECOGNIZED")


def test_figures_are_at_the_path_that_dashboards_ask_and_at_the_others(picture: Picture):
    for path in ("/_synapse/metrics", "/metrics", "/"):
        with urllib.request.urlopen(f"http://127.0.0.1:{guide.READER_METRICS}{path}", timeout=20) as answer:
            assert b"process_cpu_seconds_total" in answer.read()


async def test_each_of_the_22_proxy_lines_leads_to_the_worker(picture: Picture, authority: Authority):
    gone = {"/_matrix/federation/v1/query_auth/", "/_matrix/federation/v1/get_groups_publicised"}
    assert len(guide.WORKER_PATHS) == 22
    before = _received("federation_reader"), _received("main")
    for path in guide.WORKER_PATHS:
        status, answer = await _through_apache(picture, authority, _example(path), _method(path))
        if path in gone:
            assert (status, answer["errcode"]) == (404, "M_UNRECOGNIZED"), path
        elif path == "/_matrix/key/v2/query":
            assert (status, answer) == (200, {"server_keys": []})
        else:
            # It is known, and asks who wants to know.
            assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED"), (path, answer)
    after = _received("federation_reader"), _received("main")
    assert after[0] - before[0] == 22
    assert after[1] == before[1]


def _received(name: str) -> float:
    """Requests that a process was asked."""
    family = figures(name).get("synapse_http_server_requests_received")
    return sum(sample.value for sample in family.samples) if family is not None else 0


_ROOM, _EVENT, _USER = "%21room%3Aexample.org", "%24event", "%40a%3Aexample.org"
_ENDS = {
    "send": "txn",
    "event": _EVENT,
    "query": "profile",
    "make_join": f"{_ROOM}/{_USER}",
    "make_leave": f"{_ROOM}/{_USER}",
    "send_join": f"{_ROOM}/{_EVENT}",
    "send_leave": f"{_ROOM}/{_EVENT}",
    "invite": f"{_ROOM}/{_EVENT}",
    "event_auth": f"{_ROOM}/{_EVENT}",
    "query_auth": f"{_ROOM}/{_EVENT}",
    "devices": _USER,
}
"""What stands behind a path that ends so, where it is not a room."""


def _example(path: str) -> str:
    """A whole path of a proxy line's."""
    return path + _ENDS.get(path.split("/")[-2], _ROOM) if path.endswith("/") else path


def _method(path: str) -> str:
    """How it is asked."""
    word = path.rstrip("/").split("/")[-1]
    if path == "/_matrix/key/v2/query" or word in ("get_missing_events", "query_auth"):
        return "POST"
    put = ("send", "send_join", "send_leave", "invite", "exchange_third_party_invite")
    return "PUT" if word in put else "GET"


async def _through_apache(
    picture: Picture, authority: Authority, path: str, method: str = "GET"
) -> tuple[int, Any]:
    """Status and answer, of a request to the proxy with the path exactly so."""
    context = ssl.create_default_context(cafile=str(authority.path))
    url = URL(f"https://localhost:{picture.port}{path}", encoded=True)
    body = {"server_keys": {}} if method != "GET" else None
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, json=body, ssl=context) as answer,
    ):
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith("{") else text


async def test_what_the_guide_does_not_list_falls_through_to_the_main_process_and_works(
    picture: Picture, authority: Authority
):
    before = _received("main")
    paths = {
        "/_matrix/federation/v1/version": 200,
        "/_matrix/key/v2/server": 200,
        "/_matrix/federation/v1/openid/userinfo?access_token=x": 401,
        "/_matrix/federation/v1/make_knock/%21a%3Ab.org/%40a%3Ab.org": 401,
        "/_matrix/federation/v1/hierarchy/%21a%3Ab.org": 401,
        "/_matrix/federation/v1/timestamp_to_event/%21a%3Ab.org?ts=1&dir=f": 401,
        "/_matrix/media/v3/config": 401,
        "/_matrix/static/": 200,
        "/_matrix/client/versions": 200,
    }
    for path, status in paths.items():
        assert (await _through_apache(picture, authority, path))[0] == status, path
    assert _received("main") - before == len(paths)


async def test_escaped_characters_pass_the_proxy_as_they_are(
    picture: Picture, authority: Authority, alice: UserClient
):
    room_id = await alice.create_room()
    state_key = "a/b #!$ ü%2F"
    event_id = await alice.send_state(room_id, "com.example.note", {"n": 1}, state_key)
    path = path_of("_matrix/client/v3/rooms", room_id, "state", "com.example.note", state_key)
    status, answer = await _through_apache(
        picture, authority, f"/{path.lstrip('/')}?access_token={alice.token}"
    )
    assert (status, answer) == (200, {"n": 1}), (event_id, answer)


async def test_a_message_written_by_one_process_wakes_a_sync_at_another_at_once(
    picture: Picture, alice: UserClient
):
    room_id = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    async with at_reader(picture, alice) as user:
        for number in range(5):
            waiting = asyncio.create_task(alice.sync(since, timeout=10_000))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            event_id = await user.send(room_id, f"hello {number}")
            answer = await waiting
            assert time.monotonic() - began < 1
            told = answer["rooms"]["join"][room_id]["timeline"]["events"]
            assert [event["event_id"] for event in told] == [event_id]
            since = answer["next_batch"]


async def test_a_busy_federated_room_leaves_the_main_process_out_of_federation(
    picture: Picture, alice: UserClient, bob: UserClient
):
    room_id = await shared_room(picture, alice, bob)
    hears = {alice: await hears_from_now(alice), bob: await hears_from_now(bob)}
    for number in range(5):
        for speaker, listener in ((alice, bob), (bob, alice)):
            said = await speaker.send(room_id, f"{speaker.user_id} {number}")
            await hears[listener].event(room_id, said)
    assert transactions_taken("federation_reader") > 0
    assert transactions_sent("federation_sender") > 0
    for name in ("main", "federation_sender"):
        assert transactions_taken(name) == 0, name
    for name in ("main", "federation_reader"):
        assert transactions_sent(name) == 0, name
    # What came in is not only answered but also worked through by the reader.
    assert await _who_works_on(picture, "inbox") == {"federation_reader"}
    assert await _who_works_on(picture, "destinations") == {"synapse.app.federation_sender"}


async def _who_works_on(picture: Picture, queue: str) -> set[str]:
    """The names of the processes that have portions of a queue."""
    args = picture.database
    connection = await asyncpg.connect(host=args["host"], user=args["user"], database=args["database"])
    rows = await connection.fetch(
        "SELECT DISTINCT p.instance FROM leases l JOIN processes p ON p.id = l.holder WHERE l.name = $1",
        queue,
    )
    await connection.close()
    return {row[0] for row in rows}


async def test_who_is_invited_from_the_other_server_joins_talks_leaves_and_comes_back(
    picture: Picture, alice: UserClient, bob: UserClient
):
    room_id = await bob.create_room(preset="private_chat")
    hears = await hears_from_now(alice)
    await bob.invite(room_id, alice.user_id)
    await hears.membership(room_id, "invite")
    await alice.join(room_id)
    bob_hears = await hears_from_now(bob)
    await bob_hears.event(room_id, await alice.send(room_id, "I am here"))
    await alice.leave(room_id)
    await bob_hears.until(_has_left(room_id, alice.user_id), "that alice left")
    await bob.invite(room_id, alice.user_id)
    await hears.membership(room_id, "invite")
    await alice.join(room_id)
    await bob_hears.event(room_id, await alice.send(room_id, "here again"))


async def test_a_transaction_that_comes_twice_by_two_processes_happens_once(
    picture: Picture, synapse: Synapse, alice: UserClient
):
    key = parse_key_file((synapse.log.parent / "signing.key").read_text(), synapse.server_name)[0]
    txn_id = uuid.uuid4().hex
    messages = {alice.user_id: {alice.device_id: {"n": 1}}}
    unit = {"sender": f"@b:{synapse.server_name}", "type": "com.example.note", "message_id": txn_id}
    edu = {"edu_type": "m.direct_to_device", "content": {**unit, "messages": messages}}
    body = {
        "origin": synapse.server_name,
        "origin_server_ts": int(time.time() * 1000),
        "pdus": [],
        "edus": [edu],
    }
    target = f"/_matrix/federation/v1/send/{txn_id}"
    header = x_matrix.make(key, picture.server_name, "PUT", target, body)
    answers = []
    for base in (picture.reader_url, picture.base_url):
        async with (
            aiohttp.ClientSession() as session,
            session.put(base + target, json=body, headers={"Authorization": header}) as answer,
        ):
            answers.append((answer.status, await answer.json()))
    assert answers == [(200, {"pdus": {}})] * 2
    arrived = [e for e in (await alice.sync())["to_device"]["events"] if e["type"] == "com.example.note"]
    assert [event["content"] for event in arrived] == [{"n": 1}]


async def test_without_a_sender_messages_wait_and_come_in_order_when_one_starts(
    picture: Picture, alice: UserClient, bob: UserClient
):
    room_id = await shared_room(picture, alice, bob)
    sender = picture.programs["federation_sender"]
    assert await asyncio.to_thread(sender.stop) == 0
    said = [f"while nobody sends {number}" for number in range(20)]
    for body in said:
        await alice.send(room_id, body)
    assert transactions_sent("main") == 0
    await asyncio.to_thread(sender.start)
    await in_order(bob, room_id, said)


async def test_redis_may_go_and_come_back_and_no_message_is_lost(
    picture: Picture, alice: UserClient, bob: UserClient
):
    room_id = await shared_room(picture, alice, bob)
    redis = picture.programs["redis"]
    redis.kill()
    said = [f"without Redis {number}" for number in range(5)]
    for body in said:
        await alice.send(room_id, body)
    await in_order(bob, room_id, said)
    redis.start(waits=False)
    again = [f"with Redis again {number}" for number in range(5)]
    for body in again:
        await alice.send(room_id, body)
    await in_order(bob, room_id, again)


@pytest.mark.parametrize("name", list(RANVIERS))
async def test_each_process_may_be_killed_while_people_talk_and_every_message_arrives_once(
    picture: Picture, alice: UserClient, bob: UserClient, name: str
):
    room_id = await shared_room(picture, alice, bob)
    said: dict[UserClient, list[str]] = {alice: [], bob: []}

    async def talk(speaker: UserClient) -> None:
        for number in range(15):
            body = f"{speaker.user_id} {name} {number}"
            await _insist(speaker, room_id, body, f"{name}{number}")
            said[speaker].append(body)
            await asyncio.sleep(0.1)

    talking = asyncio.gather(talk(alice), talk(bob))
    await asyncio.sleep(0.5)
    picture.programs[name].kill()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(picture.programs[name].start)
    await talking
    await in_order(bob, room_id, said[alice])
    await in_order(alice, room_id, said[bob])


async def _insist(speaker: UserClient, room_id: str, body: str, txn_id: str) -> None:
    """Send as a client does: again with the same transaction id until there is an answer."""
    deadline = time.monotonic() + 60
    while True:
        try:
            await speaker.send(room_id, body, txn_id=txn_id)
            return
        except (aiohttp.ClientError, TimeoutError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)


def test_the_logs_have_no_error_in_the_end(picture: Picture):
    for name in RANVIERS:
        assert picture.logged(name, "error", "critical") == [], name
