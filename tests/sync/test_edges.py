"""Where sync is easily wrong: what was redacted meanwhile, rooms one never was in, parts of filters, heroes."""

import json
from typing import Any

import pytest
from tests.http_client import path_of
from tests.server import Server, UserClient
from tests.sync.test_sync import bodies, joined, receipt

LAZY = {"state": {"lazy_load_members": True}}


def room_filter(**parts: Any) -> str:
    return json.dumps({"room": parts})


def state_of(section: Any, name: str = "state") -> dict[tuple[str, str], Any]:
    return {(e["type"], e["state_key"]): e for e in section.get(name, {}).get("events", [])}


async def redact(client: UserClient, room_id: str, event_id: str) -> None:
    (
        await client.put(path_of("_matrix/client/v3/rooms", room_id, "redact", event_id, event_id), json={})
    ).ok()


@pytest.fixture
async def pair(server: Server) -> tuple[UserClient, UserClient, str]:
    """Alice and Bob in a room that Alice made."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    await bob.join(room_id)
    return alice, bob, room_id


async def test_what_was_redacted_since_is_shown_bare(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    event_id = await alice.send(room_id, "a secret")
    await redact(alice, room_id, event_id)
    events = {e["event_id"]: e for e in joined(await bob.sync(since), room_id)["timeline"]["events"]}
    assert events[event_id]["content"] == {}
    assert "redacted_because" in events[event_id]["unsigned"]


async def test_state_that_was_redacted_since_is_bare_and_gives_no_content_away_through_what_replaced_it(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    first = await alice.send_state(room_id, "m.room.topic", {"topic": "a secret"})
    second = await alice.send_state(room_id, "m.room.topic", {"topic": "harmless"})
    await redact(alice, room_id, first)
    events = {e["event_id"]: e for e in joined(await bob.sync(since), room_id)["timeline"]["events"]}
    assert events[first]["content"] == {}
    assert events[second]["unsigned"]["prev_content"] == {}
    await redact(alice, room_id, second)
    answer = await bob.sync(since, filter=room_filter(timeline={"limit": 1}))
    assert state_of(joined(answer, room_id))["m.room.topic", ""]["content"] == {}


async def test_parts_of_a_filter_leave_out_rooms_of_their_own(pair):
    alice, bob, room_id = pair
    event_id = await alice.send(room_id, "hello")
    await receipt(alice, room_id, event_id)
    path = path_of(
        "_matrix/client/v3/user", bob.user_id, "rooms", room_id, "account_data", "org.example.note"
    )
    (await bob.put(path, json={"a": 1})).ok()
    none = {"not_rooms": [room_id]}
    section = joined(await bob.sync(filter=room_filter(timeline=none)), room_id)
    assert section["timeline"]["events"] == []
    assert state_of(section) and "ephemeral" in section and "account_data" in section
    section = joined(await bob.sync(filter=room_filter(state=none)), room_id)
    assert section["state"]["events"] == [] and bodies(section) == ["hello"]
    section = joined(await bob.sync(filter=room_filter(ephemeral=none)), room_id)
    assert "ephemeral" not in section and "account_data" in section
    section = joined(await bob.sync(filter=room_filter(account_data={"rooms": []})), room_id)
    assert "account_data" not in section and "ephemeral" in section


async def test_lazily_loaded_heroes_come_with_their_names(server: Server):
    alice = await server.register("alice")
    others = [await server.register(f"user{number}") for number in range(7)]
    room_id = await alice.create_room(preset="public_chat")
    for other in others:
        await other.join(room_id)
    for number in range(12):
        await alice.send(room_id, f"{number}")
    lazy = room_filter(**LAZY)
    answer = await alice.sync(filter=lazy)
    section = joined(answer, room_id)
    heroes = section["summary"]["m.heroes"]
    assert heroes == [other.user_id for other in others[:5]]
    assert {("m.room.member", hero) for hero in heroes} <= set(state_of(section))
    # Whom the client has already is not sent again.
    await others[0].leave(room_id)
    later = joined(await alice.sync(answer["next_batch"], filter=lazy), room_id)
    assert later["summary"]["m.heroes"] == [other.user_id for other in others[1:6]]
    assert set(state_of(later)) == {("m.room.member", others[5].user_id)}


async def test_a_room_that_loses_its_name_gets_heroes(pair):
    alice, bob, room_id = pair
    await alice.send_state(room_id, "m.room.name", {"name": "Home"})
    answer = await bob.sync()
    assert "m.heroes" not in joined(answer, room_id)["summary"]
    await alice.send_state(room_id, "m.room.name", {})
    section = joined(await bob.sync(answer["next_batch"]), room_id)
    assert section["summary"]["m.heroes"] == [alice.user_id]


async def test_an_invite_that_was_rejected_shows_nothing_of_the_room(pair, server: Server):
    alice, _, room_id = pair
    carol, dora = await server.register("carol"), await server.register("dora")
    await alice.send_state(room_id, "org.example.secret", {"a": 1})
    await alice.invite(room_id, carol.user_id)
    since = (await carol.sync())["next_batch"]
    await carol.leave(room_id)
    path = path_of("_matrix/client/v3/rooms", room_id, "ban")
    (await alice.post(path, json={"user_id": dora.user_id})).ok()
    await alice.send_state(room_id, "org.example.secret", {"a": 2})
    for client, token in ((carol, None), (carol, since), (dora, None)):
        answer = await client.sync(token, filter=room_filter(include_leave=True))
        section = answer["rooms"]["leave"][room_id]
        assert section["timeline"]["events"][-1]["content"]["membership"] in ("leave", "ban")
        shown = [*section["timeline"]["events"], *section["state"]["events"]]
        assert {e["state_key"] for e in shown} <= {client.user_id}
        assert "org.example.secret" not in json.dumps(answer)


async def test_who_is_banned_after_leaving_learns_nothing_of_the_time_between(pair):
    alice, bob, room_id = pair
    since = (await bob.sync())["next_batch"]
    await bob.leave(room_id)
    await alice.send_state(room_id, "org.example.secret", {"a": 1})
    path = path_of("_matrix/client/v3/rooms", room_id, "ban")
    (await alice.post(path, json={"user_id": bob.user_id})).ok()
    await alice.send_state(room_id, "org.example.secret", {"a": 2})
    for token in (since, None):
        for limit in (1, 10):
            for after in ("true", "false"):
                wanted = room_filter(include_leave=True, timeline={"limit": limit})
                answer = await bob.sync(token, filter=wanted, use_state_after=after)
                assert "org.example.secret" not in json.dumps(answer)
                section = answer["rooms"]["leave"][room_id]
                assert section["timeline"]["events"][-1]["content"]["membership"] == "ban"


async def test_a_room_that_was_left_and_forgotten_at_once_is_told_to_other_devices(pair, server: Server):
    _, bob, room_id = pair
    phone = await server.login("bob")
    since = (await phone.sync())["next_batch"]
    await bob.leave(room_id)
    (await bob.post(path_of("_matrix/client/v3/rooms", room_id, "forget"), json={})).ok()
    answer = await phone.sync(since)
    section = answer["rooms"]["leave"][room_id]
    assert section["timeline"]["events"][-1]["content"]["membership"] == "leave"
    assert "leave" not in (await phone.sync(answer["next_batch"])).get("rooms", {})
    whole = await phone.sync(filter=room_filter(include_leave=True))
    assert room_id not in whole.get("rooms", {}).get("leave", {})


async def test_forgetting_a_room_later_says_nothing_new(pair):
    _, bob, room_id = pair
    await bob.leave(room_id)
    since = (await bob.sync())["next_batch"]
    (await bob.post(path_of("_matrix/client/v3/rooms", room_id, "forget"), json={})).ok()
    assert "rooms" not in await bob.sync(since)


async def test_a_left_room_comes_with_what_one_noted_of_it(pair):
    _, bob, room_id = pair
    path = path_of(
        "_matrix/client/v3/user", bob.user_id, "rooms", room_id, "account_data", "org.example.note"
    )
    (await bob.put(path, json={"a": 1})).ok()
    await bob.leave(room_id)
    answer = await bob.sync(filter=room_filter(include_leave=True))
    events = answer["rooms"]["leave"][room_id]["account_data"]["events"]
    assert events == [{"type": "org.example.note", "content": {"a": 1}}]


async def test_state_after_is_there_in_every_room_of_the_answer(pair):
    alice, bob, room_id = pair
    event_id = await alice.send(room_id, "hello")
    since = (await bob.sync())["next_batch"]
    await receipt(alice, room_id, event_id)
    section = joined(await bob.sync(since, use_state_after="true"), room_id)
    assert section["state_after"] == {"events": []}
    assert "state" not in section


async def test_who_left_and_came_back_has_the_state_of_the_time_between(pair):
    alice, bob, room_id = pair
    await alice.send_state(room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    since = (await bob.sync())["next_batch"]
    await bob.leave(room_id)
    await alice.send_state(room_id, "m.room.topic", {"topic": "between"})
    await alice.invite(room_id, bob.user_id)
    await bob.join(room_id)
    await alice.send(room_id, "welcome back")
    for after in ("state", "state_after"):
        answer = await bob.sync(since, use_state_after=json.dumps(after == "state_after"))
        section = joined(answer, room_id)
        assert state_of(section, after)["m.room.topic", ""]["content"] == {"topic": "between"}
        assert bodies(section) == ["welcome back"]
