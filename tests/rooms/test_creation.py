"""Making rooms: presets, overrides, room versions, and what is refused."""

import asyncio
from typing import Any

import pytest
from tests.http_client import path_of
from tests.rooms.reading import room_path, state_content, walk
from tests.server import Server, UserClient

CREATE = "/_matrix/client/v3/createRoom"
VERSIONS = [str(number) for number in range(1, 13)]


async def refused(user: UserClient, **body: Any) -> tuple[int, str | None]:
    answer = await user.post(CREATE, json=body, valid=False)
    return answer.status, answer.errcode


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_room_of_every_version_can_be_made_and_used(server: Server, version: str) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(room_version=version, invite=[bob.user_id], name="Tea", topic="Hot")
    await bob.join(room_id)
    await bob.send(room_id, "hello")
    create = await state_content(alice, room_id, "m.room.create")
    assert create["room_version"] == version
    assert ("creator" in create) == (int(version) <= 10)
    assert (":" in room_id) == (int(version) <= 11)
    assert (await state_content(bob, room_id, "m.room.name")) == {"name": "Tea"}


async def test_events_come_in_the_order_that_the_specification_gives(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(
        name="Tea",
        topic="Hot",
        room_alias_name="tea",
        invite=[bob.user_id],
        is_direct=True,
        initial_state=[{"type": "org.example.colour", "state_key": "", "content": {"colour": "green"}}],
    )
    events = await walk(alice, room_id, "f", 50)
    assert [event["type"] for event in events] == [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.guest_access",
        "org.example.colour",
        "m.room.name",
        "m.room.topic",
        "m.room.member",
    ]
    assert events[-1]["content"]["is_direct"] is True
    assert events[3]["content"] == {"alias": f"#tea:{server.server_name}"}
    assert events[9]["content"]["m.topic"]["m.text"][0]["body"] == "Hot"


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        ({}, ("invite", "can_join")),
        ({"visibility": "public"}, ("public", "forbidden")),
        ({"visibility": "public", "preset": "private_chat"}, ("invite", "can_join")),
        ({"preset": "public_chat"}, ("public", "forbidden")),
        ({"preset": "trusted_private_chat"}, ("invite", "can_join")),
    ],
)
async def test_the_preset_decides_the_rules(server: Server, body: Any, rules: tuple[str, str]) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room(**body)
    assert (await state_content(alice, room_id, "m.room.join_rules"))["join_rule"] == rules[0]
    assert await guest_access(alice, room_id) == rules[1]
    assert await state_content(alice, room_id, "m.room.history_visibility") == {
        "history_visibility": "shared"
    }
    listed = await alice.get(f"/_matrix/client/v3/directory/list/room/{room_id}")
    assert listed.ok()["visibility"] == body.get("visibility", "private")


async def guest_access(user: UserClient, room_id: str) -> str:
    """What the room's state says of guests; without an event they are kept out."""
    answer = await user.get(room_path(room_id, "state", "m.room.guest_access", ""))
    return answer.ok()["guest_access"] if answer.status == 200 else "forbidden"


async def test_creators_of_version_12_stand_outside_the_power_levels(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await alice.create_room(
        preset="trusted_private_chat",
        invite=[bob.user_id],
        creation_content={"additional_creators": [carol.user_id], "creator": "@x:y", "room_version": "1"},
    )
    create = await state_content(alice, room_id, "m.room.create")
    assert create["additional_creators"] == [carol.user_id, bob.user_id]
    assert create["room_version"] == "12"
    assert "creator" not in create
    levels = await state_content(alice, room_id, "m.room.power_levels")
    assert levels["users"] == {}
    assert levels["events"]["m.room.tombstone"] > levels["state_default"]


async def test_invitees_of_a_trusted_chat_are_equals_before_version_12(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(room_version="11", preset="trusted_private_chat", invite=[bob.user_id])
    levels = await state_content(alice, room_id, "m.room.power_levels")
    assert levels["users"] == {alice.user_id: 100, bob.user_id: 100}


async def test_power_levels_are_overridden_key_by_key(server: Server) -> None:
    alice = await server.register("alice")
    override = {"invite": 75, "events": {"m.room.name": 10}}
    room_id = await alice.create_room(power_level_content_override=override)
    levels = await state_content(alice, room_id, "m.room.power_levels")
    assert levels["invite"] == 75
    assert levels["kick"] == 50
    assert levels["events"]["m.room.name"] == 10
    assert levels["events"]["m.room.tombstone"] > levels["state_default"]


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"room_version": "13"}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"room_version": 12}, "M_BAD_JSON"),
        ({"invite": ["bob"]}, "M_INVALID_PARAM"),
        ({"invite": ["@alice:ranvier.test"]}, "M_INVALID_PARAM"),
        ({"room_alias_name": "with space"}, "M_INVALID_PARAM"),
        ({"room_alias_name": "a:b"}, "M_INVALID_PARAM"),
        ({"room_alias_name": ""}, "M_INVALID_PARAM"),
        ({"room_alias_name": "a" * 300}, "M_INVALID_PARAM"),
        ({"preset": "wild"}, "M_BAD_JSON"),
        ({"visibility": "secret"}, "M_BAD_JSON"),
        ({"initial_state": [{"type": "m.room.topic"}]}, "M_BAD_JSON"),
        (
            {"initial_state": [{"type": "m.room.create", "state_key": "", "content": {}}]},
            "M_INVALID_PARAM",
        ),
        ({"name": "nul \0"}, "M_BAD_JSON"),
        ({"creation_content": {"additional_creators": ["nobody"]}}, "M_INVALID_PARAM"),
        ({"creation_content": {"additional_creators": "@a:b"}}, "M_INVALID_PARAM"),
        ({"power_level_content_override": {"users": {"@alice:ranvier.test": 100}}}, "M_INVALID_ROOM_STATE"),
        (
            {"room_version": "11", "power_level_content_override": {"users": {}}, "name": "x"},
            "M_INVALID_ROOM_STATE",
        ),
        ({"power_level_content_override": {"ban": "high"}}, "M_INVALID_ROOM_STATE"),
        ({"topic": "x" * 70_000}, "M_TOO_LARGE"),
    ],
)
async def test_what_makes_no_room_is_refused(server: Server, body: Any, errcode: str) -> None:
    alice = await server.register("alice")
    status, found = await refused(alice, **body)
    assert (status, found) == (413 if errcode == "M_TOO_LARGE" else 400, errcode)
    assert (await alice.get("/_matrix/client/v3/joined_rooms")).ok()["joined_rooms"] == []


async def test_an_alias_that_is_taken_makes_no_room(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    await alice.create_room(room_alias_name="tea")
    assert await refused(bob, room_alias_name="tea") == (400, "M_ROOM_IN_USE")
    assert (await bob.get("/_matrix/client/v3/joined_rooms")).ok()["joined_rooms"] == []


async def test_third_party_invites_are_refused(server: Server) -> None:
    alice = await server.register("alice")
    invite = {
        "id_server": "id.example.org",
        "id_access_token": "abc",
        "medium": "email",
        "address": "bob@example.org",
    }
    answer = await alice.post(CREATE, json={"invite_3pid": [invite]})
    assert (answer.status, answer.errcode) == (403, "M_THREEPID_DENIED")
    room_id = await alice.create_room()
    answer = await alice.post(room_path(room_id, "invite"), json=invite)
    assert (answer.status, answer.errcode) == (403, "M_THREEPID_DENIED")


class TestWithEncryptionByDefault:
    @pytest.fixture
    def server_overrides(self) -> dict[str, Any]:
        return {"encryption_enabled_by_default_for_room_type": "invite"}

    async def test_rooms_by_invitation_are_encrypted_at_once(self, server: Server) -> None:
        alice = await server.register("alice")
        private = await alice.create_room()
        algorithm = (await state_content(alice, private, "m.room.encryption"))["algorithm"]
        assert algorithm == "m.megolm.v1.aes-sha2"
        public = await alice.create_room(preset="public_chat")
        missing = await alice.get(room_path(public, "state", "m.room.encryption", ""))
        assert (missing.status, missing.errcode) == (404, "M_NOT_FOUND")


async def test_rooms_that_are_made_at_once_do_not_disturb_each_other(server: Server) -> None:
    alice = await server.register("alice")
    makings = [alice.post(CREATE, json={"name": str(n), "room_alias_name": f"room{n % 3}"}) for n in range(9)]
    makings += [alice.post(CREATE, json={"name": str(n)}) for n in range(9, 20)]
    answers = await asyncio.gather(*makings)
    made = [answer.ok()["room_id"] for answer in answers if answer.status == 200]
    assert sorted(a.errcode for a in answers if a.status != 200) == ["M_ROOM_IN_USE"] * 6
    assert len(set(made)) == 14
    for room_id in made:
        await alice.send(room_id, "hello")


async def test_who_blocks_invites_is_not_invited(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    path = f"/_matrix/client/v3/user/{bob.user_id}/account_data/m.invite_permission_config"
    (await bob.put(path, json={"default_action": "block"})).ok()
    answer = await alice.post(CREATE, json={"invite": [bob.user_id]})
    assert (answer.status, answer.errcode) == (403, "M_INVITE_BLOCKED")
    room_id = await alice.create_room()
    answer = await alice.post(room_path(room_id, "invite"), json={"user_id": bob.user_id})
    assert (answer.status, answer.errcode) == (403, "M_INVITE_BLOCKED")
    member = room_path(room_id, "state", "m.room.member", bob.user_id)
    answer = await alice.put(member, json={"membership": "invite"})
    assert (answer.status, answer.errcode) == (403, "M_INVITE_BLOCKED")
    (await bob.put(path, json={})).ok()
    await alice.invite(room_id, bob.user_id)


async def test_a_creator_s_power_can_t_be_set_where_it_is_infinite(server: Server):
    alice = await server.register("alice")
    room_id = await alice.create_room(room_version="12")
    path = path_of("_matrix/client/v3/rooms", room_id, "state", "m.room.power_levels", "")
    answer = await alice.put(path, json={"users": {alice.user_id: 50}})
    assert (answer.status, answer.errcode) == (400, "M_BAD_JSON")
    path = path_of("_matrix/client/v3/rooms", room_id, "state", "m.room.create", "")
    answer = await alice.put(path, json={"room_version": "12"})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_an_invite_that_is_ignored_seems_to_arrive_and_is_not_shown(server: Server) -> None:
    """MSC4155."""
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    kind = "org.matrix.msc4155.invite_permission_config"
    path = path_of("_matrix/client/v3/user", alice.user_id, "account_data", kind)
    (await alice.put(path, json={"ignored_users": [bob.user_id], "blocked_users": ["@car*"]})).ok()
    since = (await alice.sync())["next_batch"]
    await bob.create_room(invite=[alice.user_id])
    hidden = await bob.create_room()
    await bob.invite(hidden, alice.user_id)
    refused = await carol.post(
        path_of("_matrix/client/v3/rooms", await carol.create_room(), "invite"),
        json={"user_id": alice.user_id},
    )
    assert (refused.status, refused.errcode) == (403, "M_INVITE_BLOCKED")
    for answer in (await alice.sync(), await alice.sync(since)):
        assert "invite" not in answer.get("rooms", {})
    (await alice.put(path, json={})).ok()
    assert hidden in (await alice.sync())["rooms"]["invite"]
