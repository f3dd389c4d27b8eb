"""Profiles through a running server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.http_client import path_of
from tests.server import Server

from ranvier.accounts.profiles import ProfileRules, Profiles
from ranvier.protocol.refusal import Refusal
from ranvier.store.log import EVERYONE, Kind

from .conftest import SERVER, Floor

PROFILE = "/_matrix/client/v3/profile"


async def test_fields_are_set_read_and_removed(server: Server):
    alice = await server.register("alice")
    base = f"{PROFILE}/{alice.user_id}"
    assert (await server.client.get(base)).ok() == {"displayname": "alice"}
    fields: dict[str, Any] = {
        "displayname": "Alice ✨",
        "avatar_url": "mxc://ranvier.test/abc_-1",
        "m.tz": "Europe/London",
        "org.example.colours": ["red", {"deep": 1.5}],
        "org.example.nothing": None,
    }
    for name, value in fields.items():
        (await alice.put(f"{base}/{name}", json={name: value})).ok()
        assert (await server.client.get(f"{base}/{name}")).ok() == {name: value}
    assert (await server.client.get(base)).ok() == fields
    for name in fields:
        (await alice.delete(f"{base}/{name}")).ok()
        (await alice.delete(f"{base}/{name}")).ok()
        assert (await server.client.get(f"{base}/{name}")).status == 404
    assert (await server.client.get(base)).ok() == {}


async def test_an_empty_name_or_avatar_is_none(server: Server):
    alice = await server.register("alice")
    base = f"{PROFILE}/{alice.user_id}"
    for name in ("displayname", "avatar_url"):
        (await alice.put(f"{base}/{name}", json={name: ""})).ok()
    assert (await alice.get(base)).ok() == {}


@pytest.mark.parametrize(
    ("name", "value", "errcode"),
    [
        ("displayname", 5, "M_BAD_JSON"),
        ("displayname", None, "M_BAD_JSON"),
        ("displayname", "x" * 257, "M_INVALID_PARAM"),
        ("displayname", "a\0b", "M_INVALID_PARAM"),
        ("avatar_url", "x" * 1001, "M_INVALID_PARAM"),
        ("avatar_url", {"url": "mxc://a.test/1"}, "M_BAD_JSON"),
        ("m.tz", 1, "M_BAD_JSON"),
        ("plain", "x", "M_INVALID_PARAM"),
        ("Org.Example", "x", "M_INVALID_PARAM"),
        ("org." + "x" * 300, "x", "M_KEY_TOO_LARGE"),
        ("org.example.big", "x" * 65_536, "M_PROFILE_TOO_LARGE"),
    ],
)
async def test_what_is_no_field_is_refused(server: Server, name: str, value: Any, errcode: str):
    alice = await server.register("alice")
    answer = await alice.put(
        path_of("_matrix/client/v3/profile", alice.user_id, name), json={name: value}, valid=False
    )
    assert (answer.status, answer.errcode) == (400, errcode)


async def test_an_avatar_is_shown_as_it_was_given_whatever_it_names(server: Server):
    alice = await server.register("alice")
    room_id = await alice.create_room()
    path = path_of("_matrix/client/v3/profile", alice.user_id, "avatar_url")
    (await alice.put(path, json={"avatar_url": "a lemur"}, valid=False)).ok()
    state = path_of("_matrix/client/v3/rooms", room_id, "state", "m.room.member", alice.user_id)
    async with asyncio.timeout(10):
        while (await alice.get(state)).ok().get("avatar_url") != "a lemur":  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_the_body_must_hold_the_field_of_the_path(server: Server):
    alice = await server.register("alice")
    path = f"{PROFILE}/{alice.user_id}/displayname"
    assert (await alice.put(path, json={"avatar_url": "x"})).errcode == "M_MISSING_PARAM"


async def test_a_profile_as_a_whole_is_bounded(server: Server):
    alice = await server.register("alice")
    base = f"{PROFILE}/{alice.user_id}"
    for number in range(6):
        (await alice.put(f"{base}/org.example.n{number}", json={f"org.example.n{number}": "x" * 10_000})).ok()
    answer = await alice.put(f"{base}/org.example.more", json={"org.example.more": "x" * 10_000})
    assert answer.errcode == "M_PROFILE_TOO_LARGE"


async def test_nobody_changes_the_profile_of_another_but_an_administrator(server: Server):
    alice = await server.register("alice")
    mallory = await server.register("mallory")
    path = f"{PROFILE}/{alice.user_id}/displayname"
    for answer in (await mallory.put(path, json={"displayname": "x"}), await mallory.delete(path)):
        assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert (await alice.get(path)).ok() == {"displayname": "alice"}


async def test_unknown_and_impossible_users_have_no_profile(server: Server):
    assert (await server.client.get(f"{PROFILE}/@nobody:ranvier.test")).errcode == "M_NOT_FOUND"
    assert (await server.client.get(f"{PROFILE}/nobody", valid=False)).errcode == "M_INVALID_PARAM"


def profiles_of(floor: Floor, told: list[Any], **rules: Any) -> Profiles:
    async def changed(user_id: str, fields: Any) -> None:
        told.append((user_id, dict(fields)))

    async def fetch(user_id: str) -> dict[str, Any]:
        return {"displayname": f"{user_id}, from afar"}

    return Profiles(ProfileRules(SERVER, **rules), floor.database, floor.writer, changed, fetch)


async def test_rooms_are_told_of_names_and_avatars_that_really_changed(floor: Floor):
    told: list[Any] = []
    requester = await floor.requester(await floor.make("alice"))
    profiles = profiles_of(floor, told)
    user_id = requester.user_id
    await profiles.set_field(requester, user_id, "displayname", "alice")
    await profiles.set_field(requester, user_id, "org.example.x", 1)
    assert told == []
    await profiles.set_field(requester, user_id, "displayname", "Alice")
    await profiles.remove_field(requester, user_id, "displayname")
    await profiles.remove_field(requester, user_id, "avatar_url")
    assert told == [(user_id, {"displayname": "Alice"}), (user_id, {"displayname": None})]
    # Once when the account was made, then for each change of any field.
    assert floor.heard(Kind.PROFILE) == [(EVERYONE, user_id)] * 4


async def test_a_user_of_another_server_is_asked_for_there(floor: Floor):
    profiles = profiles_of(floor, [])
    assert await profiles.read("@bob:elsewhere.test", None) == {
        "displayname": "@bob:elsewhere.test, from afar"
    }
    assert await profiles.read_field("@bob:elsewhere.test", "displayname", None)
    with pytest.raises(Refusal, match="M_NOT_FOUND"):
        await profiles.read_field("@bob:elsewhere.test", "avatar_url", None)


async def test_names_may_be_fixed_once_set(floor: Floor):
    requester = await floor.requester(await floor.make("alice"))
    profiles = profiles_of(floor, [], set_displayname=False, set_avatar_url=False)
    with pytest.raises(Refusal, match="M_FORBIDDEN"):
        await profiles.set_field(requester, requester.user_id, "displayname", "Other")
    await profiles.set_field(requester, requester.user_id, "avatar_url", "mxc://a.test/1")
    with pytest.raises(Refusal, match="M_FORBIDDEN"):
        await profiles.remove_field(requester, requester.user_id, "avatar_url")


async def test_profiles_may_be_for_those_who_share_a_room(floor: Floor):
    alice = await floor.requester(await floor.make("alice"))
    await floor.make("bob")
    profiles = profiles_of(floor, [], only_shared_rooms=True)
    with pytest.raises(Refusal, match="M_MISSING_TOKEN"):
        await profiles.read(f"@bob:{SERVER}", None)
    with pytest.raises(Refusal, match="M_FORBIDDEN"):
        await profiles.read(f"@bob:{SERVER}", alice)
    await profiles.read(alice.user_id, alice)
    rows = [(user, "!r:x", 1, "join", 1, user, False) for user in (alice.user_id, f"@bob:{SERVER}")]
    columns = "user_id, room_id, room, membership, event, sender, forgotten"
    await floor.writer.run(lambda transaction: transaction.insert("memberships", columns, rows))
    assert await profiles.read(f"@bob:{SERVER}", alice) == {"displayname": "bob"}
