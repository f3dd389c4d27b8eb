"""Read markers that come together are set together."""

from tests.http_client import path_of
from tests.server import Server, UserClient


async def test_markers_are_all_set_or_none_is(server: Server):
    alice = await server.register("alice")
    room, other = await alice.create_room(), await alice.create_room()
    here, there = await alice.send(room, "here"), await alice.send(other, "there")
    path = path_of("_matrix/client/v3/rooms", room, "read_markers")
    for wrong in (there, "$nothing", "a\0b", "x" * 70_000):
        for marks in ({"m.fully_read": here, "m.read": wrong}, {"m.fully_read": wrong, "m.read": here}):
            answer = await alice.post(path, json=marks, valid=False)
            assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")
            assert len(answer.body) < 1000
    marked = path_of("_matrix/client/v3/user", alice.user_id, "rooms", room, "account_data", "m.fully_read")
    assert (await alice.get(marked)).status == 404
    assert "m.receipt" not in await _kinds(alice, room)
    (await alice.post(path, json={"m.fully_read": here, "m.read": here})).ok()
    assert (await alice.get(marked)).ok() == {"event_id": here}
    assert "m.receipt" in await _kinds(alice, room)


async def _kinds(alice: UserClient, room: str) -> set[str]:
    joined = (await alice.sync())["rooms"]["join"][room]
    return {event["type"] for event in joined.get("ephemeral", {}).get("events", ())}
