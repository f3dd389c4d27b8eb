"""A conversation between Alice (matrix-nio) and Bob (matrix-js-sdk), as steps.

A step is an asynchronous generator. It does something and yields once the server has answered all of it; then it
looks whether both sides see it. At the yield the server may die: what it answered must be there when it comes back.
"""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import Image
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from tests.clients.js_device import JsDevice
    from tests.clients.nio_device import NioDevice
    from tests.clients.people import People


@dataclass(slots=True)
class Conversation:
    """Who talks where. `room` is the encrypted room that both are in, once they are.

    `second` and `third` are Bob's other devices, `recovery_key` opens his secret storage, and `remembered` are
    events with their senders from before he had those devices; all of them come with the steps of recovery.py.
    """

    people: People
    alice: NioDevice
    bob: JsDevice
    room: str = ""
    second: JsDevice = field(init=False)
    third: JsDevice = field(init=False)
    recovery_key: str = ""
    remembered: dict[str, str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def words(self, about: str) -> str:
        """A text that occurs once in the conversation."""
        return f"{about}, number {next(self._numbers)}"

    async def from_alice(self, about: str) -> str:
        """A message of Alice's that Bob has seen; gives its event id."""
        event_id = await self.alice.send_text(self.room, self.words(about))
        await self.bob.event(self.room, event_id)
        return event_id

    async def from_bob(self, about: str) -> str:
        """A message of Bob's that Alice has seen; gives its event id."""
        event_id = str(await self.bob.do("sendText", roomId=self.room, body=self.words(about)))
        await self.alice.event(event_id)
        return event_id

    async def public_square(self) -> str:
        """A new room that is not encrypted, made by Alice, with both in it."""
        room = await self.alice.create_room(encrypted=False, name="A square", invite=[self.bob.user_id])
        await self.bob.room(room, membership="invite")
        await self.bob.do("join", roomId=room)
        await self.bob.room(room, membership="join")
        await self.alice.hears(
            "Bob has come", lambda: self.bob.user_id in self.alice.client.rooms[room].users
        )
        return room

    async def meet(self) -> None:
        """Runs the steps that bring both into one encrypted room."""
        for step in MEETING:
            async for _ in step(self):
                pass


Step: TypeAlias = Callable[[Conversation], AsyncIterator[None]]


def picture(width: int = 640, height: int = 480) -> bytes:
    """A PNG picture with something to see."""
    image = Image.linear_gradient("L").resize((width, height))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def size_of(png_or_jpeg: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png_or_jpeg)).size


# The meeting


async def a_new_room_is_encrypted_and_of_version_12(talk: Conversation) -> AsyncIterator[None]:
    talk.room = await talk.bob.do("createRoom", name="A quiet place", topic="This and that", encrypted=True)
    yield
    room = await talk.bob.room(talk.room, encrypted=True, membership="join", name="A quiet place")
    assert room["version"] == "12"
    assert room["create"]["room_version"] == "12"
    assert ":" not in talk.room  # in version 12 the create event names the room
    created = await talk.bob.do("state", roomId=talk.room, type="m.room.create")
    assert created["room_version"] == "12"


async def an_invitation_reaches_the_other(talk: Conversation) -> AsyncIterator[None]:
    await talk.bob.do("invite", roomId=talk.room, userId=talk.alice.user_id)
    yield
    await talk.alice.hears("she is invited", lambda: talk.room in talk.alice.invites)
    invited = talk.alice.client.invited_rooms[talk.room]
    assert (invited.name, invited.inviter) == ("A quiet place", talk.bob.user_id)


async def the_invited_joins(talk: Conversation) -> AsyncIterator[None]:
    talk.alice.ok(await talk.alice.client.join(talk.room))
    yield
    members = {talk.alice.user_id: "join", talk.bob.user_id: "join"}
    await talk.bob.room(talk.room, members=members)
    await talk.alice.hears("she is in", lambda: talk.room in talk.alice.client.rooms)
    room = talk.alice.client.rooms[talk.room]
    await talk.alice.hears("who is there", lambda: set(room.users) == set(members))
    assert room.encrypted
    assert room.room_version == "12"
    assert room.topic == "This and that"


# Messages


async def messages_are_read_on_both_sides(talk: Conversation) -> AsyncIterator[None]:
    from_alice = await talk.alice.send_text(talk.room, "Good morning, Bob.")
    from_bob = await talk.bob.do("sendText", roomId=talk.room, body="Good morning, Alice.")
    yield
    seen = await talk.bob.event(talk.room, from_alice, content={"body": "Good morning, Bob."})
    assert (seen["encrypted"], seen["sender"]) == (True, talk.alice.user_id)
    event = await talk.alice.event(from_bob)
    assert (event.source["content"]["body"], event.decrypted) == ("Good morning, Alice.", True)


async def a_reply_names_what_it_answers(talk: Conversation) -> AsyncIterator[None]:
    question = await talk.from_alice("a question")
    answer = await talk.bob.do("reply", roomId=talk.room, eventId=question, body="An answer.")
    thanks = await talk.alice.send_text(talk.room, "Thank you.", **{"m.in_reply_to": {"event_id": answer}})
    yield
    content = await talk.alice.content(answer)
    assert (content["body"], content["m.relates_to"]["m.in_reply_to"]["event_id"]) == ("An answer.", question)
    await talk.bob.event(talk.room, thanks, content={"m.relates_to": {"m.in_reply_to": {"event_id": answer}}})


async def reactions_are_counted(talk: Conversation) -> AsyncIterator[None]:
    joke = await talk.from_bob("a joke")
    from_alice = await talk.alice.react(talk.room, joke, "😀")
    from_bob = await talk.bob.do("react", roomId=talk.room, eventId=joke, key="😀")
    yield
    both = sorted([talk.alice.user_id, talk.bob.user_id])
    await talk.bob.event(talk.room, joke, reactions={"😀": both})
    for event_id in (from_alice, from_bob):
        assert (await talk.alice.content(event_id))["m.relates_to"]["key"] == "😀"
    found = await talk.bob.do("relations", roomId=talk.room, eventId=joke, relation="m.annotation")
    assert {event["event_id"] for event in found} == {from_alice, from_bob}


async def an_edit_replaces_the_text(talk: Conversation) -> AsyncIterator[None]:
    from_alice = await talk.from_alice("a slip of Alice's")
    from_bob = await talk.from_bob("a slip of Bob's")
    corrected = await talk.alice.edit(talk.room, from_alice, "What Alice meant.")
    correction = await talk.bob.do("edit", roomId=talk.room, eventId=from_bob, body="What Bob meant.")
    yield
    await talk.bob.event(talk.room, from_alice, edited=corrected, content={"body": "What Alice meant."})
    content = await talk.alice.content(correction)
    assert content["m.new_content"]["body"] == "What Bob meant."
    assert content["m.relates_to"] == {"rel_type": "m.replace", "event_id": from_bob}
    relations = talk.alice.client.room_get_event_relations(talk.room, from_bob)
    assert [event.event_id async for event in relations] == [correction]


async def a_redaction_takes_the_words_away(talk: Conversation) -> AsyncIterator[None]:
    from_alice = await talk.from_alice("something Alice regrets")
    from_bob = await talk.from_bob("something Bob regrets")
    await talk.alice.redact(talk.room, from_alice, "too loud")
    redaction = await talk.bob.do("redact", roomId=talk.room, eventId=from_bob, reason="too early")
    yield
    await talk.bob.event(talk.room, from_alice, redacted=True, content={})
    event: Any = await talk.alice.event(redaction)
    assert (event.redacts, event.reason) == (from_bob, "too early")
    taken = talk.alice.ok(await talk.alice.client.room_get_event(talk.room, from_bob)).event
    assert taken.source["content"] == {}
    assert taken.source["unsigned"]["redacted_because"]["event_id"] == redaction


# Threads


async def a_thread_is_seen_as_one(talk: Conversation) -> AsyncIterator[None]:
    root = await talk.from_bob("a matter with two sides")
    first = await talk.alice.send_text(talk.room, "One side.", rel_type="m.thread", event_id=root)
    await talk.bob.event(talk.room, root, replies=[first])
    second = await talk.bob.do("sendText", roomId=talk.room, threadId=root, body="The other side.")
    yield
    relation = (await talk.alice.content(second))["m.relates_to"]
    assert (relation["rel_type"], relation["event_id"]) == ("m.thread", root)
    await talk.bob.event(talk.room, root, replies=[first, second])
    assert root in await talk.bob.do("threads", roomId=talk.room)
    roots = {event.event_id: event async for event in talk.alice.client.room_get_threads(talk.room)}
    summary = roots[root].source["unsigned"]["m.relations"]["m.thread"]
    assert (summary["count"], summary["current_user_participated"]) == (2, True)
    assert summary["latest_event"]["event_id"] == second


# Ephemera


async def typing_is_seen(talk: Conversation) -> AsyncIterator[None]:
    talk.alice.ok(await talk.alice.client.room_typing(talk.room, True, timeout=20_000))
    await talk.bob.room(talk.room, typing=[talk.alice.user_id])
    talk.alice.ok(await talk.alice.client.room_typing(talk.room, False))
    await talk.bob.room(talk.room, typing=[])
    await talk.bob.do("type", roomId=talk.room, typing=True)
    bob = talk.bob.user_id
    await talk.alice.hears("Bob is typing", lambda: bob in talk.alice.typing.get(talk.room, []))
    await talk.bob.do("type", roomId=talk.room, typing=False)
    await talk.alice.hears("Bob has stopped", lambda: bob not in talk.alice.typing[talk.room])
    yield  # nobody promises that typing outlives the server


async def a_public_receipt_is_seen(talk: Conversation) -> AsyncIterator[None]:
    from_alice = await talk.from_alice("something to read")
    await talk.bob.do("read", roomId=talk.room, eventId=from_alice)
    from_bob = await talk.from_bob("something else to read")
    talk.alice.ok(await talk.alice.client.update_receipt_marker(talk.room, from_bob))
    yield
    expected = (talk.room, talk.bob.user_id, "m.read", from_alice, "main")
    await talk.alice.hears("Bob has read it", lambda: expected in talk.alice.receipts)
    await talk.bob.read_up_to(talk.room, talk.alice.user_id, from_bob)


async def a_private_receipt_is_seen_by_its_sender_only(talk: Conversation) -> AsyncIterator[None]:
    secret = await talk.from_alice("something to read in secret")
    await talk.bob.do("read", roomId=talk.room, eventId=secret, kind="m.read.private")
    yield
    await talk.bob.read_up_to(talk.room, talk.bob.user_id, secret)
    later = await talk.from_alice("something to read openly")
    await talk.bob.do("read", roomId=talk.room, eventId=later)
    await talk.alice.hears("Bob has read the later", lambda: later in {r[3] for r in talk.alice.receipts})
    assert secret not in {receipt[3] for receipt in talk.alice.receipts}
    everything = await talk.people.everything(talk.alice.access_token)
    shown = everything["rooms"]["join"][talk.room]["ephemeral"]["events"]
    receipts = {event_id: kinds for event in shown for event_id, kinds in event["content"].items()}
    assert talk.bob.user_id in receipts[later]["m.read"]
    assert secret not in receipts


async def a_receipt_in_a_thread_is_of_that_thread(talk: Conversation) -> AsyncIterator[None]:
    root = await talk.from_bob("the root of a thread")
    from_alice = await talk.alice.send_text(talk.room, "A leaf.", rel_type="m.thread", event_id=root)
    await talk.bob.event(talk.room, root, replies=[from_alice])
    await talk.bob.do("read", roomId=talk.room, eventId=from_alice)
    from_bob = await talk.bob.do("sendText", roomId=talk.room, threadId=root, body="Another leaf.")
    await talk.alice.event(from_bob)
    talk.alice.ok(await talk.alice.client.update_receipt_marker(talk.room, from_bob, thread_id=root))
    yield
    expected = (talk.room, talk.bob.user_id, "m.read", from_alice, root)
    await talk.alice.hears("Bob has read the leaf", lambda: expected in talk.alice.receipts)
    await talk.bob.read_up_to(talk.room, talk.alice.user_id, from_bob, thread=root)


async def unread_messages_are_counted(talk: Conversation) -> AsyncIterator[None]:
    alice, bob = talk.alice, talk.bob
    # Where a room is encrypted matrix-js-sdk counts for itself, so this is a plain one.
    square = await talk.public_square()
    start = await alice.send_text(square, "Here the counting starts.")
    await bob.event(square, start)
    await bob.do("read", roomId=square, eventId=start, unthreaded=True)
    await bob.room(square, unread=0)
    sent = [await alice.send_text(square, talk.words("to be counted")) for _ in range(2)]
    mention = {"msgtype": "m.text", "body": "Bob!", "m.mentions": {"user_ids": [bob.user_id]}}
    sent.append(await alice.send(square, mention))
    in_thread = await alice.send_text(square, "Aside.", rel_type="m.thread", event_id=start)
    yield
    thread = {"length": 1, "unread": 1}
    await bob.room(square, unread=3, highlights=1, threads={start: thread})
    await bob.event(square, sent[0])
    await bob.do("read", roomId=square, eventId=sent[0])
    await bob.room(square, unread=2, highlights=1, threads={start: thread})
    await bob.event(square, sent[-1])
    await bob.do("read", roomId=square, eventId=sent[-1], kind="m.read.private")
    await bob.room(square, unread=0, highlights=0, threads={start: thread})
    await bob.event(square, in_thread)
    await bob.do("read", roomId=square, eventId=in_thread)
    await bob.room(square, unread=0, threads={start: {"length": 1, "unread": 0}})


async def who_knows_no_threads_has_one_count(talk: Conversation) -> AsyncIterator[None]:
    alice, bob = talk.alice, talk.bob
    start = await talk.from_bob("where Alice's counting starts")
    # A thread that matrix-js-sdk has yet to fetch can't take the echo of what it sends to it.
    first = await alice.send_text(talk.room, "An aside.", rel_type="m.thread", event_id=start)
    await bob.event(talk.room, start, replies=[first])
    room = alice.client.rooms[talk.room]
    alice.ok(await alice.client.room_read_markers(talk.room, start, start))
    await alice.hears("nothing is unread", lambda: room.unread_notifications == 0)
    last = await bob.do("sendText", roomId=talk.room, body=talk.words("for Alice"))
    in_thread = await bob.do("sendText", roomId=talk.room, threadId=start, body="Another aside.")
    yield
    await alice.hears("two are unread", lambda: room.unread_notifications == 2)
    await alice.event(in_thread)
    alice.ok(await alice.client.room_read_markers(talk.room, in_thread, in_thread))
    await alice.hears("all is read", lambda: room.unread_notifications == 0)
    assert last in alice.events


# Files


def _encrypted_image(name: str, image: dict[str, Any], thumbnail: dict[str, Any]) -> dict[str, Any]:
    info = {"mimetype": "image/png", "w": 640, "h": 480}
    info |= {
        "thumbnail_file": thumbnail,
        "thumbnail_info": {"mimetype": "image/png", "w": 64, "h": 48, "size": len(picture(64, 48))},
    }
    return {"msgtype": "m.image", "body": name, "file": image, "info": info}


async def an_encrypted_picture_from_nio_is_seen_by_js(talk: Conversation) -> AsyncIterator[None]:
    files = []
    for image in (picture(), picture(64, 48)):
        uploaded, keys = await talk.alice.client.upload(
            io.BytesIO(image), "image/png", encrypt=True, filesize=len(image)
        )
        files.append({**(keys or {}), "url": talk.alice.ok(uploaded).content_uri})
    sent = await talk.alice.send(talk.room, _encrypted_image("gradient.png", files[0], files[1]))
    yield
    content = (await talk.bob.event(talk.room, sent))["content"]
    whole = await talk.bob.do("download", file=content["file"])
    assert base64.b64decode(whole["base64"]) == picture()
    small = await talk.bob.do("download", file=content["info"]["thumbnail_file"])
    assert size_of(base64.b64decode(small["base64"])) == (64, 48)


async def an_encrypted_picture_from_js_is_seen_by_nio(talk: Conversation) -> AsyncIterator[None]:
    from nio.crypto import decrypt_attachment

    files = []
    for image in (picture(), picture(64, 48)):
        octets = base64.b64encode(image).decode()
        uploaded = await talk.bob.do("upload", base64=octets, name="x.png", type="image/png", encrypted=True)
        files.append(uploaded["file"])
    content = _encrypted_image("gradient.png", files[0], files[1])
    sent = await talk.bob.do("sendContent", roomId=talk.room, content=content)
    yield
    seen = await talk.alice.content(sent)
    for file, image in ((seen["file"], picture()), (seen["info"]["thumbnail_file"], picture(64, 48))):
        stored = talk.alice.ok(await talk.alice.client.download(file["url"])).body
        assert stored != image
        key, digest = file["key"]["k"], file["hashes"]["sha256"]
        assert decrypt_attachment(stored, key, digest, file["iv"]) == image


async def a_plain_picture_gets_a_thumbnail_from_the_server(talk: Conversation) -> AsyncIterator[None]:
    alice, bob = talk.alice, talk.bob
    room = await talk.public_square()
    uploaded, _ = await alice.client.upload(
        io.BytesIO(picture()), "image/png", "gradient.png", filesize=len(picture())
    )
    url = alice.ok(uploaded).content_uri
    content = {"msgtype": "m.image", "body": "gradient.png", "url": url, "info": {"mimetype": "image/png"}}
    sent = await alice.send(room, content)
    octets = base64.b64encode(picture(320, 240)).decode()
    answer = (await bob.do("upload", base64=octets, name="smaller.png", type="image/png"))["url"]
    yield
    seen = await bob.event(room, sent, content={"url": url})
    assert not seen["encrypted"]
    whole = await bob.do("download", url=url)
    assert (base64.b64decode(whole["base64"]), whole["type"]) == (picture(), "image/png")
    small = await bob.do("download", url=url, width=96, height=96)
    width, height = size_of(base64.b64decode(small["base64"]))
    assert 0 < width < 640, 0 < height < 480
    assert abs(width / height - 4 / 3) < 0.05
    server_name, media_id = answer.removeprefix("mxc://").split("/")
    small_too = alice.ok(await alice.client.thumbnail(server_name, media_id, 96, 96)).body
    assert 0 < size_of(small_too)[0] <= 320
    whole_too = alice.ok(await alice.client.download(answer))
    assert (whole_too.body, whole_too.content_type) == (picture(320, 240), "image/png")
    assert whole_too.filename == "smaller.png"


# Rooms and people


async def a_new_name_and_topic_are_seen(talk: Conversation) -> AsyncIterator[None]:
    name, topic = talk.words("a name"), talk.words("a topic")
    await talk.bob.do("setState", roomId=talk.room, type="m.room.name", content={"name": name})
    await talk.bob.do("setState", roomId=talk.room, type="m.room.topic", content={"topic": topic})
    yield
    room = talk.alice.client.rooms[talk.room]
    await talk.alice.hears("the new name and topic", lambda: (room.name, room.topic) == (name, topic))
    state = talk.alice.ok(await talk.alice.client.room_get_state_event(talk.room, "m.room.name"))
    assert state.content == {"name": name}


async def a_new_display_name_is_seen(talk: Conversation) -> AsyncIterator[None]:
    name = talk.words("Alice")
    talk.alice.ok(await talk.alice.client.set_displayname(name))
    yield
    assert (await talk.bob.do("profile", userId=talk.alice.user_id))["displayname"] == name
    assert talk.alice.ok(await talk.alice.client.get_displayname()).displayname == name
    if not talk.people.server_resumes_work:
        name = talk.words("Alice again")
        talk.alice.ok(await talk.alice.client.set_displayname(name))

    async def is_shown() -> bool:
        members = await talk.bob.do("displayNames", roomId=talk.room)
        return bool(members[talk.alice.user_id] == name)

    await eventually(is_shown, "Bob sees Alice's new name")


async def account_data_is_kept(talk: Conversation) -> AsyncIterator[None]:
    content = {"words": talk.words("something to remember")}
    await talk.bob.do("setAccountData", type="test.ranvier.memory", content=content)
    yield

    async def look() -> bool:
        return bool(await talk.bob.do("accountData", type="test.ranvier.memory") == content)

    await eventually(look, "the account data comes back by a sync")


async def who_leaves_hears_no_more(talk: Conversation) -> AsyncIterator[None]:
    alice, bob = talk.alice, talk.bob
    alice.ok(await alice.client.room_leave(talk.room))
    yield
    await alice.hears("she has left", lambda: talk.room in alice.left)
    await bob.room(talk.room, members={alice.user_id: "leave", bob.user_id: "join"})
    alone = await bob.do("sendText", roomId=talk.room, body="Alone at last.")
    await bob.event(talk.room, alone)
    other = await alice.create_room(encrypted=False)
    await alice.hears("her own new room", lambda: other in alice.client.rooms)
    assert alone not in alice.events
    alice.ok(await alice.client.room_forget(talk.room))


MEETING: tuple[Step, ...] = (
    a_new_room_is_encrypted_and_of_version_12,
    an_invitation_reaches_the_other,
    the_invited_joins,
)
TALKING: tuple[Step, ...] = (
    messages_are_read_on_both_sides,
    a_reply_names_what_it_answers,
    reactions_are_counted,
    an_edit_replaces_the_text,
    a_redaction_takes_the_words_away,
    a_thread_is_seen_as_one,
    typing_is_seen,
    a_public_receipt_is_seen,
    a_private_receipt_is_seen_by_its_sender_only,
    a_receipt_in_a_thread_is_of_that_thread,
    unread_messages_are_counted,
    who_knows_no_threads_has_one_count,
    an_encrypted_picture_from_nio_is_seen_by_js,
    an_encrypted_picture_from_js_is_seen_by_nio,
    a_plain_picture_gets_a_thumbnail_from_the_server,
    a_new_name_and_topic_are_seen,
    a_new_display_name_is_seen,
    account_data_is_kept,
    who_leaves_hears_no_more,
)
STEPS: tuple[Step, ...] = (*MEETING, *TALKING)
