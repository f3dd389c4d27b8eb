"""What people who follow threads can rely on (MSC4306)."""

from __future__ import annotations

from typing import Any

from tests.http_client import Response, path_of
from tests.server import Server, UserClient

UNSTABLE = "_matrix/client/unstable/io.element.msc4306/rooms"
NOT_IN_THREAD = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"
CONFLICTING = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"


class Thread:
    """A thread as one user follows it."""

    def __init__(self, user: UserClient, room_id: str, root: str) -> None:
        self.user = user
        self.room_id = room_id
        self.root = root
        self.path = path_of(UNSTABLE, room_id, "thread", root, "subscription")

    async def reply(self) -> str:
        """An event in the thread."""
        relation = {"rel_type": "m.thread", "event_id": self.root}
        content = {"msgtype": "m.text", "body": "a reply", "m.relates_to": relation}
        return await self.user.send(self.room_id, content)

    async def follow(self, **body: Any) -> Response:
        return await self.user.put(self.path, json=body)

    async def unfollow(self) -> None:
        (await self.user.delete(self.path)).ok()

    async def is_automatic(self) -> bool | None:
        """None if the user does not follow it."""
        answer = await self.user.get(self.path)
        return answer.ok()["automatic"] if answer.status == 200 else None


async def begin(user: UserClient) -> Thread:
    room_id = await user.create_room()
    return Thread(user, room_id, await user.send(room_id, "what do you think?"))


async def test_a_thread_is_followed_until_its_user_wants_it_no_more(server: Server) -> None:
    alice = await server.register("alice")
    thread = await begin(alice)
    assert await thread.is_automatic() is None
    await thread.unfollow()
    for _ in range(2):
        (await thread.follow()).ok()
        assert await thread.is_automatic() is False
    await thread.unfollow()
    assert await thread.is_automatic() is None
    features = (await server.client.get("/_matrix/client/versions")).ok()["unstable_features"]
    assert features["org.matrix.msc4306"] is True


async def test_a_client_s_reason_must_be_in_the_thread_and_gives_way_to_a_wish(server: Server) -> None:
    thread = await begin(await server.register("alice"))
    other = Thread(thread.user, thread.room_id, await thread.user.send(thread.room_id, "something else"))
    for cause in (thread.root, await other.reply(), "$nothing"):
        refused = await thread.follow(automatic=cause)
        assert (refused.status, refused.errcode) == (400, NOT_IN_THREAD)
    reply = await thread.reply()
    (await thread.follow(automatic=reply)).ok()
    assert await thread.is_automatic() is True
    (await thread.follow()).ok()
    (await thread.follow(automatic=reply)).ok()
    assert await thread.is_automatic() is False


async def test_who_left_a_thread_is_brought_back_by_later_events_only(server: Server) -> None:
    thread = await begin(await server.register("alice"))
    first = await thread.reply()
    (await thread.follow(automatic=first)).ok()
    second = await thread.reply()
    await thread.unfollow()
    for cause in (first, second):
        refused = await thread.follow(automatic=cause)
        assert (refused.status, refused.errcode) == (409, CONFLICTING)
    assert await thread.is_automatic() is None
    (await thread.follow(automatic=await thread.reply())).ok()
    assert await thread.is_automatic() is True


async def test_nobody_follows_what_they_can_t_see(server: Server) -> None:
    alice, eve = await server.register("alice"), await server.register("eve")
    thread = await begin(alice)
    missing = Thread(alice, thread.room_id, "$nothing")
    for unseen in (missing, Thread(eve, thread.room_id, thread.root)):
        assert (await unseen.follow()).errcode == "M_NOT_FOUND"
        assert (await unseen.user.get(unseen.path)).errcode == "M_NOT_FOUND"
        assert (await unseen.user.delete(unseen.path)).errcode == "M_NOT_FOUND"
    (await thread.follow()).ok()
    assert await thread.is_automatic() is False
