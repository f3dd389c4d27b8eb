"""What members of a room with owned state (MSC3757) can rely on: keys that begin with a user's ID are that user's."""

from tests.http_client import path_of
from tests.server import Server, UserClient

KIND = "org.example.note"


async def _set(user: UserClient, room_id: str, state_key: str) -> tuple[int, str | None]:
    path = path_of("_matrix/client/v3/rooms", room_id, "state", KIND, state_key)
    answer = await user.put(path, json={})
    return answer.status, answer.errcode if answer.status != 200 else None


async def test_a_member_has_several_places_for_one_kind_of_state_and_others_none_of_them(
    server: Server,
) -> None:
    alice, bob, eve = [await server.register(name) for name in ("alice", "bob", "eve")]
    room_id = await alice.create_room(
        preset="public_chat",
        room_version="org.matrix.msc3757.11",
        power_level_content_override={"events": {KIND: 0}},
    )
    for user in (bob, eve):
        await user.join(room_id)
    for state_key in (bob.user_id, f"{bob.user_id}_phone", f"{bob.user_id}_laptop"):
        assert await _set(bob, room_id, state_key) == (200, None)
        assert await _set(eve, room_id, state_key) == (403, "M_FORBIDDEN")
    assert await _set(alice, room_id, f"{bob.user_id}_phone") == (200, None)
    # A key that is nobody's is a mistake, whoever sends it.
    for user in (alice, bob):
        assert await _set(user, room_id, "@nobody") == (400, "M_BAD_JSON")


async def test_versions_of_the_specification_know_no_places_beside_the_user_s_own(server: Server) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room(room_version="11")
    assert await _set(alice, room_id, alice.user_id) == (200, None)
    assert await _set(alice, room_id, f"{alice.user_id}_phone") == (403, "M_FORBIDDEN")
    available = (await alice.get("/_matrix/client/v3/capabilities")).ok()["capabilities"]["m.room_versions"]
    assert available["available"]["org.matrix.msc3757.11"] == "unstable"
    assert available["available"]["11"] == "stable"
