"""What counts as unread, for whom."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from tests.http_client import path_of
from tests.server import SERVER_NAME, Server, UserClient

from ranvier.rooms.heads import Heads, Room
from ranvier.rooms.sending import Sending


async def counts(client: UserClient, room_id: str) -> tuple[int, int]:
    section = (await client.sync())["rooms"]["join"][room_id]["unread_notifications"]
    return section["notification_count"], section["highlight_count"]


async def put_rule(client: UserClient, kind: str, name: str, **rule: Any) -> None:
    path = path_of("_matrix/client/v3/pushrules/global", kind, name)
    (await client.put(path, json=rule)).ok()


async def receipt(client: UserClient, room_id: str, event_id: str, thread: str | None = None) -> Any:
    body = {"thread_id": thread} if thread is not None else {}
    path = path_of("_matrix/client/v3/rooms", room_id, "receipt", "m.read", event_id)
    return await client.post(path, json=body)


@pytest.fixture
async def pair(server: Server) -> tuple[UserClient, UserClient, str]:
    """Alice and Bob in a room that Alice made."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    await bob.join(room_id)
    return alice, bob, room_id


async def test_a_muted_room_counts_nothing_and_only_for_whom_it_is_muted(pair, server: Server) -> None:
    alice, bob, room_id = pair
    carol = await server.register("carol")
    await alice.invite(room_id, carol.user_id)
    await carol.join(room_id)
    await alice.send(room_id, "one")
    await put_rule(bob, "room", room_id, actions=[])
    await alice.send(room_id, "two")
    assert await counts(bob, room_id) == (1, 0)
    assert await counts(carol, room_id) == (2, 0)
    event_id = await alice.send(room_id, "three")
    (await receipt(bob, room_id, event_id)).ok()
    await alice.send(room_id, "four")
    assert await counts(bob, room_id) == (0, 0)
    (await bob.delete(path_of("_matrix/client/v3/pushrules/global/room", room_id))).ok()
    await alice.send(room_id, "five")
    assert await counts(bob, room_id) == (1, 0)


async def test_what_mentions_the_room_highlights_all_but_those_who_want_nothing_of_it(
    pair, server: Server
) -> None:
    alice, bob, room_id = pair
    carol, dave = await server.register("carol"), await server.register("dave")
    await put_rule(carol, "room", room_id, actions=[])
    silent = [{"kind": "event_match", "key": "room_id", "pattern": room_id}]
    await put_rule(dave, "override", "quiet", conditions=silent, actions=[])
    for user in (carol, dave):
        await alice.invite(room_id, user.user_id)
        await user.join(room_id)
    await alice.send(room_id, "to nobody in particular")
    everyone = {"msgtype": "m.text", "body": "to all", "m.mentions": {"room": True}}
    event_id = await alice.send(room_id, everyone)
    both = {**everyone, "m.mentions": {"room": True, "user_ids": [bob.user_id]}}
    last = await alice.send(room_id, both)
    assert await counts(bob, room_id) == (3, 2)
    assert await counts(carol, room_id) == (2, 2)
    assert await counts(dave, room_id) == (0, 0)
    # Bob has not the power to mention the room.
    await bob.send(room_id, everyone)
    assert await counts(carol, room_id) == (2, 2)
    await redact(alice, room_id, event_id)
    assert await counts(carol, room_id) == (1, 1)
    (await receipt(carol, room_id, last)).ok()
    assert await counts(carol, room_id) == (0, 0)


async def test_who_has_wishes_is_heeded_in_the_room_that_they_join(pair, server: Server) -> None:
    alice, _, room_id = pair
    carol = await server.register("carol")
    await put_rule(
        carol, "content", "keyword", pattern="lighthouse", actions=["notify", {"set_tweak": "highlight"}]
    )
    await alice.send(room_id, "before")
    await alice.invite(room_id, carol.user_id)
    await carol.join(room_id)
    await alice.send(room_id, "to the lighthouse")
    assert await counts(carol, room_id) == (1, 1)
    await carol.leave(room_id)
    await alice.invite(room_id, carol.user_id)
    await carol.join(room_id)
    await alice.send(room_id, "another lighthouse")
    assert await counts(carol, room_id) == (1, 1)


async def test_wishes_hold_while_others_come_and_go(pair, server: Server) -> None:
    alice, bob, _ = pair
    sending = server.composition.parts.get(Sending)
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await put_rule(bob, "room", room_id, actions=[])
    others = [await server.register(f"user{number}") for number in range(6)]

    async def talk() -> None:
        for number in range(30):
            await sending.send(
                alice.user_id, room_id, "m.room.message", {"body": f"{number}", "msgtype": "m.text"}
            )

    await asyncio.gather(talk(), talk(), *(other.join(room_id) for other in others))
    assert await counts(bob, room_id) == (0, 0)


async def redact(client: UserClient, room_id: str, event_id: str) -> None:
    (
        await client.put(path_of("_matrix/client/v3/rooms", room_id, "redact", event_id, event_id), json={})
    ).ok()


class Reader:
    """What a test knows of one reader: their rules' verdict on a text, and up to where they read each thread."""

    def __init__(self, client: UserClient, judge: Callable[[str], tuple[bool, bool]]) -> None:
        self.client = client
        self.judge = judge
        self.read: dict[str | None, int] = defaultdict(int)

    def expected(self, story: Sequence[tuple[str, str, str]], redacted: set[str]) -> tuple[int, int]:
        """Notifications and highlights of a story of (event id, text, thread)."""
        verdicts = [
            self.judge(text)
            for place, (event_id, text, thread) in enumerate(story, 1)
            if event_id not in redacted and place > max(self.read[None], self.read[thread])
        ]
        return sum(n for n, _ in verdicts), sum(n and h for n, h in verdicts)


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_unread_is_what_notifies_was_not_read_and_not_redacted(
    server: Server, seed: int
) -> None:
    random = Random(seed)
    alice = await server.register("alice")
    room_id = await alice.create_room(preset="public_chat")
    names = ("plain", "mute", "word")
    plain, mute, word = [await server.register(name) for name in names]
    highlight = ["notify", {"set_tweak": "highlight"}]
    await put_rule(mute, "room", room_id, actions=[])
    await put_rule(word, "content", "word", pattern="lighthouse", actions=highlight)
    for user in (plain, mute, word):
        await user.join(room_id)
    readers = [
        Reader(plain, lambda text: (True, text in ("plain", "everyone"))),
        Reader(mute, lambda text: (text in ("mute", "everyone"),) * 2),
        Reader(word, lambda text: (True, text in ("word", "everyone", "a lighthouse"))),
    ]
    root = await alice.send(room_id, "the root")
    story, redacted = [(root, "the root", "main")], set()
    for _ in range(40):
        doing = random.choice(("say", "say", "say", "redact", "read", "look"))
        if doing == "say":
            text = random.choice(("nothing", "a lighthouse", "everyone", *names))
            content: dict[str, Any] = {"msgtype": "m.text", "body": text}
            if text in names:
                content["m.mentions"] = {"user_ids": [f"@{text}:{SERVER_NAME}"]}
            elif text == "everyone":
                content["m.mentions"] = {"room": True}
            thread = random.choice(("main", root))
            if thread == root:
                content["m.relates_to"] = {"rel_type": "m.thread", "event_id": root}
            story.append((await alice.send(room_id, content), text, thread))
        elif doing == "redact":
            event_id = random.choice(story)[0]
            await redact(alice, room_id, event_id)
            redacted.add(event_id)
        elif doing == "read":
            reader = random.choice(readers)
            place = random.randrange(len(story))
            event_id, _, thread = story[place]
            named = random.choice((None, thread)) if event_id not in redacted else None
            (await receipt(reader.client, room_id, event_id, named)).ok()
            reader.read[named] = max(reader.read[named], place + 1)
        else:
            reader = random.choice(readers)
            assert await counts(reader.client, room_id) == reader.expected(story, redacted)
    for reader in readers:
        assert await counts(reader.client, room_id) == reader.expected(story, redacted)
    server.composition.parts.get(Heads).drop(await _room(server, room_id))
    for reader in readers:
        assert await counts(reader.client, room_id) == reader.expected(story, redacted)


async def _room(server: Server, room_id: str) -> Room:
    room = await server.composition.parts.get(Heads).get(room_id)
    assert room is not None
    return room


async def test_a_threaded_receipt_names_the_thread_of_its_event(pair) -> None:
    alice, bob, room_id = pair
    root = await alice.send(room_id, "root")
    other = await alice.send(room_id, "other")
    relation = {"rel_type": "m.thread", "event_id": root}
    child = await alice.send(room_id, {"msgtype": "m.text", "body": "child", "m.relates_to": relation})
    for event_id, thread in (
        (child, "main"),
        (child, other),
        (other, root),
        (other, "$nowhere"),
        (other, "x"),
    ):
        answer = await receipt(bob, room_id, event_id, thread)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    for event_id, thread in ((child, root), (root, "main"), (root, root), (other, "main")):
        (await receipt(bob, room_id, event_id, thread)).ok()
    (await alice.put(path_of("_matrix/client/v3/rooms", room_id, "redact", child, "r"), json={})).ok()
    (await receipt(bob, room_id, child, root)).ok()
