"""Who searches finds what they may see, and nothing else."""

from typing import Any

from tests.http_client import path_of
from tests.server import Server, UserClient, start_server

SEARCH = "/_matrix/client/v3/search"


async def _search(user: UserClient, term: str, next_batch: str | None = None, **criteria: Any) -> Any:
    body = {"search_categories": {"room_events": {"search_term": term, **criteria}}}
    query = {"next_batch": next_batch} if next_batch is not None else {}
    return (await user.post(SEARCH, json=body, query=query)).ok()["search_categories"]["room_events"]


def _ids(found: Any) -> list[str]:
    return [one["result"]["event_id"] for one in found["results"]]


async def test_words_are_found_at_once_by_their_beginnings_whatever_their_case_and_accents(server: Server):
    alice = await server.register("alice")
    room = await alice.create_room(name="Café Übersee", topic="Where sailors meet")
    hello = await alice.send(room, "Hello, World")
    asian = await alice.send(room, "明日は東京で会いましょう")
    for term, expected in (
        ("hello", [hello]),
        ("WOR hel", [hello]),
        ("hello moon", []),
        ("東京", [asian]),
        ("京東", []),
        ("'quo\"ted) : * <-> & hello", []),
        ("  ", []),
    ):
        found = await _search(alice, term)
        assert _ids(found) == expected, term
        assert found["count"] == len(expected)
    assert (await _search(alice, "hel"))["highlights"] == ["hello"]
    named = await _search(alice, "cafe uber")
    assert [one["result"]["type"] for one in named["results"]] == ["m.room.name"]
    assert _ids(await _search(alice, "sailors", keys=["content.body"])) == []
    assert len(_ids(await _search(alice, "sailors", keys=["content.topic"]))) == 1


async def test_only_those_find_a_message_who_may_see_it(server: Server):
    alice, bob, eve = [await server.register(name) for name in ("alice", "bob", "eve")]
    room = await alice.create_room(preset="public_chat")
    await alice.send_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    early = await alice.send(room, "treasure of old")
    await bob.join(room)
    seen = await alice.send(room, "treasure in sight")
    await bob.leave(room)
    late = await alice.send(room, "treasure of late")
    assert set(_ids(await _search(alice, "treasure"))) == {early, seen, late}
    assert _ids(await _search(bob, "treasure")) == [seen]
    assert _ids(await _search(eve, "treasure")) == []
    (await bob.post(path_of("_matrix/client/v3/rooms", room, "forget"), json={})).ok()
    assert _ids(await _search(bob, "treasure")) == []


async def test_what_is_redacted_or_by_an_ignored_user_is_not_found(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    said, kept = await bob.send(room, "a secret"), await alice.send(room, "no secret")
    path = path_of("_matrix/client/v3/rooms", room, "redact", said, "r1")
    (await bob.put(path, json={})).ok()
    other = await bob.send(room, "another secret")
    assert set(_ids(await _search(alice, "secret"))) == {kept, other}
    ignoring = path_of("_matrix/client/v3/user", alice.user_id, "account_data", "m.ignored_user_list")
    (await alice.put(ignoring, json={"ignored_users": {bob.user_id: {}}})).ok()
    assert _ids(await _search(alice, "secret")) == [kept]


async def test_pages_show_everything_once_in_either_order_and_within_a_room(server: Server):
    alice = await server.register("alice")
    rooms = [await alice.create_room() for _ in range(2)]
    sent = [await alice.send(rooms[number % 2], f"message number {number}") for number in range(9)]
    for order in ("recent", "rank"):
        pages, token = [], None
        while True:
            found = await _search(
                alice, "message", token, order_by=order, filter={"limit": 4}, keys=["content.body"]
            )
            assert found["count"] == 9
            pages += _ids(found)
            token = found.get("next_batch")
            if token is None:
                break
        assert sorted(pages) == sorted(sent), order
        if order == "recent":
            assert pages == sent[::-1]
    grouped = await _search(
        alice,
        "message",
        order_by="recent",
        filter={"limit": 2},
        groupings={"group_by": [{"key": "room_id"}, {"key": "sender"}]},
    )
    group = grouped["groups"]["room_id"][rooms[0]]
    assert group["results"] == [sent[8]]
    assert grouped["groups"]["sender"][alice.user_id]["results"] == sent[:-3:-1]
    inside = await _search(alice, "message", group["next_batch"], order_by="recent", filter={"limit": 2})
    assert _ids(inside) == [sent[6], sent[4]]
    refused = await alice.post(
        SEARCH,
        json={"search_categories": {"room_events": {"search_term": "x", "order_by": "rank"}}},
        query={"next_batch": group["next_batch"]},
    )
    assert refused.errcode == "M_INVALID_PARAM"


async def test_a_result_comes_with_what_surrounds_it_when_that_is_asked_for(server: Server):
    alice = await server.register("alice")
    room = await alice.create_room()
    sent = [await alice.send(room, f"line {word}") for word in ("one", "two", "three", "four", "five")]
    found = await _search(
        alice,
        "three",
        event_context={"before_limit": 1, "after_limit": 5, "include_profile": True},
        include_state=True,
        filter={"rooms": [room]},
    )
    [context] = [one["context"] for one in found["results"]]
    assert [event["event_id"] for event in context["events_before"]] == [sent[1]]
    assert [event["event_id"] for event in context["events_after"]] == sent[3:]
    assert context["profile_info"] == {alice.user_id: {"displayname": "alice"}}
    assert "m.room.create" in {event["type"] for event in found["state"][room]}
    assert _ids(await _search(alice, "three", filter={"not_rooms": [room]})) == []
    assert _ids(await _search(alice, "three", filter={"senders": ["@bob:ranvier.test"]})) == []


async def test_a_restart_loses_nothing_and_what_was_said_before_the_index_is_found(
    database_settings, tmp_path
):
    without = await start_server(tmp_path, database=database_settings, enable_search=False)
    alice = await without.register("alice")
    room = await alice.create_room()
    first = await alice.send(room, "needle one")
    refused = await alice.post(SEARCH, json={"search_categories": {"room_events": {"search_term": "x"}}})
    assert refused.status == 400
    await without.close()
    found = [first]
    for number in range(2):
        again = await start_server(tmp_path, database=database_settings)
        alice = await again.login("alice")
        assert set(_ids(await _search(alice, "needle"))) == set(found)
        found.append(await alice.send(room, f"needle {number}"))
        await again.close()
