"""Bad input through the whole server: what no event may hold, and ids that are none."""

import json

import pytest
from tests.http_client import path_of
from tests.server import Server

SEND = "_matrix/client/v3/rooms"


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        (b'{"n":1.5}', 400, "M_BAD_JSON"),
        (b'{"n":1e3}', 400, "M_BAD_JSON"),
        (b'{"n":9007199254740992}', 400, "M_BAD_JSON"),
        (b'{"n":-9007199254740992}', 400, "M_BAD_JSON"),
        (b'{"n":123456789012345678901234567890}', 400, "M_BAD_JSON"),
        (b'{"n":NaN}', 400, "M_NOT_JSON"),
        (b'{"a":1,"a":2}', 400, "M_BAD_JSON"),
        (b"[]", 400, "M_BAD_JSON"),
        (b"{", 400, "M_NOT_JSON"),
        (b'{"body":"\xff"}', 400, "M_NOT_JSON"),
        (json.dumps({"body": "x" * 65_536}).encode(), 413, "M_TOO_LARGE"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, 400, "M_BAD_JSON"),
    ],
)
async def test_an_event_that_may_not_be_is_refused(server: Server, body: bytes, status: int, errcode: str):
    alice = await server.register("alice")
    room = await alice.create_room(preset="private_chat")
    for path in (
        path_of(SEND, room, "send", "m.room.message", "t1"),
        path_of(SEND, room, "state", "org.example.state", ""),
    ):
        answer = await alice.put(path, body=body, valid=False)
        assert answer.status == status, answer.body[:500]
        assert answer.errcode == errcode or (errcode == "M_BAD_JSON" and answer.errcode == "M_NOT_JSON")


async def test_the_largest_integers_and_what_is_just_small_enough_are_accepted(server: Server):
    alice = await server.register("alice")
    room = await alice.create_room(preset="private_chat")
    content = {"msgtype": "m.text", "body": "x" * 60_000, "n": [2**53 - 1, -(2**53) + 1]}
    assert (await alice.send(room, content)).startswith("$")


@pytest.mark.parametrize(
    "room", ["!", "not a room", "#alias:ranvier.test", "!a:b" + "c" * 300, "!null\x01:test", "€"]
)
async def test_a_room_id_that_is_none_gets_a_refusal(server: Server, room: str):
    alice = await server.register("alice")
    for method, parts, body in (
        ("PUT", ("send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "x"}),
        ("PUT", ("state", "m.room.name", ""), {"name": "x"}),
        ("POST", ("join",), {}),
        ("POST", ("leave",), {}),
        ("POST", ("invite",), {"user_id": "@bob:ranvier.test"}),
        ("GET", ("state", "m.room.name", ""), None),
    ):
        answer = await alice.request(method, path_of(SEND, room, *parts), json=body, valid=False)
        # Whether there is such a room the server that its id names would have to say, and can't be reached.
        asked_elsewhere = answer.status == 502 and parts == ("join",)
        assert 400 <= answer.status < 500 or asked_elsewhere, (method, parts, answer.status, answer.body)


@pytest.mark.parametrize("kind", ["x" * 256, "ä" * 200, "a\x00b"])
async def test_a_type_that_is_none_gets_a_refusal(server: Server, kind: str):
    alice = await server.register("alice")
    room = await alice.create_room(preset="private_chat")
    answer = await alice.put(
        path_of(SEND, room, "send", kind, "t1"), json={"msgtype": "m.text", "body": "x"}, valid=False
    )
    assert 400 <= answer.status < 500, answer.body
    answer = await alice.put(path_of(SEND, room, "state", kind, "x" * 300), json={}, valid=False)
    assert 400 <= answer.status < 500, answer.body


async def test_a_transaction_id_of_any_length_and_letters_is_a_transaction_id(server: Server):
    alice = await server.register("alice")
    room = await alice.create_room(preset="private_chat")
    for txn_id in ("ä/b%c?d#e", "🐈", "x" * 255):
        first = await alice.send(room, "hello", txn_id=txn_id)
        assert await alice.send(room, "hello", txn_id=txn_id) == first
    answer = await alice.put(
        path_of(SEND, room, "send", "m.room.message", "x" * 10_000),
        json={"msgtype": "m.text", "body": ""},
        valid=False,
    )
    assert answer.status in (200, 400, 413)
