"""What clients see of rooms that only other servers are in: aliases, room directories, spaces, summaries."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import pytest
from tests.http_client import path_of
from tests.rooms.test_hierarchy import hierarchy, put_in, space, summary
from tests.server import Server

from ranvier.remote.failure import RemoteFailure
from ranvier.rooms.elsewhere import Elsewhere

ROOM = "!far:peer.example"
SPACE = "!space:peer.example"
HIDDEN = "!hidden:peer.example"


def described(room_id: str, **more: Any) -> dict[str, Any]:
    return {
        "room_id": room_id,
        "num_joined_members": 7,
        "world_readable": False,
        "guest_can_join": False,
        "join_rule": "public",
        "children_state": [],
        **more,
    }


def child(room_id: str) -> dict[str, Any]:
    return {
        "type": "m.space.child",
        "state_key": room_id,
        "sender": "@a:peer.example",
        "content": {"via": ["peer.example"]},
        "origin_server_ts": 1,
    }


class Peers:
    """Other servers, as far as these tests ask them: answers by (destination, path)."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.server_name = "ranvier.test"

    def tells(self, destination: str, path: str, answer: Any) -> None:
        self.answers[destination, path] = answer

    def hierarchy(self, room_id: str, room: Mapping[str, Any], *children: Any, closed: Any = ()) -> None:
        answer = {"room": room, "children": list(children), "inaccessible_children": list(closed)}
        self.tells("peer.example", f"/_matrix/federation/v1/hierarchy/{room_id}", answer)

    async def request(self, destination: str, method: str, path: str, **options: Any) -> Any:
        path = unquote(path)
        self.asked.append((destination, path, options.get("body") or options.get("query")))
        answer = self.answers.get((destination, path))
        if answer is None:
            raise RemoteFailure(destination, "it does not answer")
        if isinstance(answer, RemoteFailure):
            raise answer
        return answer


@pytest.fixture
def peers(server: Server) -> Peers:
    made = Peers()
    server.composition.parts.get(Elsewhere)._client = made
    return made


async def test_a_space_leads_to_rooms_of_other_servers(server, peers):
    alice = await server.register("alice")
    root = await space(alice, "Root")
    for room_id in (ROOM, SPACE, "!silent:other.example"):
        via = ["other.example" if "other" in room_id else "peer.example"]
        await put_in(alice, root, room_id, via=via, order=room_id[1:4])
    peers.hierarchy(ROOM, described(ROOM, name="Far", made_up="by a peer", topic="t"))
    inner = described("!inner:peer.example", name="Inner")
    locked = described("!locked:peer.example", join_rule="invite")
    state = [child(inner["room_id"]), child(HIDDEN), child(locked["room_id"]), {"type": "nonsense"}]
    peers.hierarchy(
        SPACE, described(SPACE, room_type="m.space", children_state=state), inner, locked, closed=[HIDDEN]
    )
    rooms = (await hierarchy(alice, root)).ok()["rooms"]
    assert [room["room_id"] for room in rooms] == [root, ROOM, SPACE, inner["room_id"]]
    assert rooms[1]["name"] == "Far"
    assert "made_up" not in rooms[1]
    assert [one["state_key"] for one in rooms[2]["children_state"]] == [
        HIDDEN,
        inner["room_id"],
        locked["room_id"],
    ]
    # What the space's server told of its children is not asked for again, nor is anything for a while.
    asked = [path for _, path, _ in peers.asked]
    assert not any("inner" in path or "hidden" in path for path in asked)
    assert sum("silent" in path for path in asked) == 1
    await hierarchy(alice, root)
    assert [path for _, path, _ in peers.asked if "silent" not in path] == [
        p for p in asked if "silent" not in p
    ]


async def test_what_is_known_here_counts_more_than_what_a_peer_says(server, peers):
    alice, bob = await server.register("alice"), await server.register("bob")
    private = await alice.create_room(name="Private", preset="private_chat")
    lie = described(private, name="Open to all")
    peers.hierarchy(SPACE, described(SPACE, room_type="m.space", children_state=[child(private)]), lie)
    rooms = (await hierarchy(bob, SPACE)).ok()["rooms"]
    assert [room["room_id"] for room in rooms] == [SPACE]
    rooms = (await hierarchy(alice, SPACE)).ok()["rooms"]
    assert [room.get("name") for room in rooms] == [None, "Private"]


async def test_a_summary_comes_from_a_server_that_the_client_names(server, peers):
    alice = await server.register("alice")
    room_id = "!elsewhere:gone.example"
    peers.hierarchy(room_id, described(room_id, name="Elsewhere", encryption="m.megolm.v1.aes-sha2"))
    assert (await summary(alice, room_id)).status == 404
    told = (await summary(alice, room_id, query=[("via", "gone.example"), ("via", "peer.example")])).ok()
    assert (told["name"], told["num_joined_members"]) == ("Elsewhere", 7)
    # Those who are not logged in don't make this server ask others.
    before = len(peers.asked)
    assert (await summary(server.client, ROOM, query={"via": "peer.example"})).status == 404
    assert len(peers.asked) == before
    closed = "!closed:peer.example"
    peers.hierarchy(closed, described(closed, join_rule="invite"))
    assert (await summary(alice, closed)).status == 404


async def test_an_alias_of_another_server_is_asked_for_there(server, peers):
    alice = await server.register("alice")
    path = "/_matrix/federation/v1/query/directory"
    peers.tells("peer.example", path, {"room_id": ROOM, "servers": ["peer.example", "third.example"]})
    found = await alice.get(path_of("_matrix/client/v3/directory/room", "#far:peer.example"))
    assert found.ok() == {"room_id": ROOM, "servers": ["peer.example", "third.example"]}
    peers.hierarchy(ROOM, described(ROOM, name="Far"))
    assert (await summary(alice, "#far:peer.example")).ok()["name"] == "Far"
    peers.tells("peer.example", path, RemoteFailure("peer.example", "no", status=404, errcode="M_NOT_FOUND"))
    assert (await alice.get(path_of("_matrix/client/v3/directory/room", "#gone:peer.example"))).status == 404
    assert (await alice.get(path_of("_matrix/client/v3/directory/room", "#x:silent.example"))).status == 502


async def test_the_room_directory_of_another_server_is_read_through_this_one(server, peers):
    alice = await server.register("alice")
    path = "/_matrix/federation/v1/publicRooms"
    chunk = [{**described(ROOM, name="Far"), "made_up": 1}]
    peers.tells("peer.example", path, {"chunk": chunk, "next_batch": "n", "total_room_count_estimate": 3})
    rooms = "/_matrix/client/v3/publicRooms"
    page = (await alice.get(rooms, query={"server": "peer.example", "limit": 5, "since": "s"})).ok()
    assert [room["name"] for room in page["chunk"]] == ["Far"]
    assert "made_up" not in page["chunk"][0]
    assert (page["next_batch"], page["total_room_count_estimate"]) == ("n", 3)
    assert sorted(peers.asked[-1][2]) == [("limit", "5"), ("since", "s")]
    search = {"filter": {"generic_search_term": "far", "room_types": [None, "m.space"]}, "limit": 5}
    (await alice.post(rooms, json=search, query={"server": "peer.example"})).ok()
    assert peers.asked[-1][2] == search
    assert (await alice.get(rooms, query={"server": "silent.example"})).status == 502
    assert (await alice.get(rooms, query={"server": "not a name"}, valid=False)).status == 400
