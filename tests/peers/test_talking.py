"""What people of the two servers say to each other, and what they see of each other meanwhile."""

from __future__ import annotations

from typing import Any

from tests.http_client import path_of
from tests.media.images_made import picture
from tests.peers.pair import ROOMS, Pair, event_of, hears_from_now


def _ephemeral(room_id: str, kind: str) -> Any:
    return lambda answer: [
        event["content"]
        for event in answer.get("rooms", {})
        .get("join", {})
        .get(room_id, {})
        .get("ephemeral", {})
        .get("events", [])
        if event["type"] == kind
    ]


async def test_messages_edits_reactions_and_redactions_are_seen_on_the_other_server(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    hears = {alice: await hears_from_now(alice), bob: await hears_from_now(bob)}
    for speaker, listener in ((alice, bob), (bob, alice)):
        said = await speaker.send(room_id, "hello")
        assert (await hears[listener].event(room_id, said))["content"]["body"] == "hello"
        edit = {
            "msgtype": "m.text",
            "body": "* good morning",
            "m.new_content": {"msgtype": "m.text", "body": "good morning"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": said},
        }
        edited = await speaker.send(room_id, edit)
        await hears[listener].event(room_id, edited)
        relations = (await event_of(listener, room_id, said))["unsigned"]["m.relations"]
        assert relations["m.replace"]["event_id"] == edited
        about = {"m.relates_to": {"rel_type": "m.annotation", "event_id": said, "key": "tea"}}
        reaction = await listener.send(room_id, about, "m.reaction")
        await hears[speaker].event(room_id, reaction)
        redact = path_of(ROOMS, room_id, "redact", said, f"r{speaker.user_id}")
        redaction = (await speaker.put(redact, json={"reason": "tea"})).ok()["event_id"]
        await hears[listener].event(room_id, redaction)
        redacted = await event_of(listener, room_id, said)
        assert redacted["content"] == {}
        assert redacted["unsigned"]["redacted_because"]["event_id"] == redaction
        # One's own reaction may be taken back, another's not.
        refused = await speaker.put(
            path_of(ROOMS, room_id, "redact", reaction, f"x{speaker.user_id}"), json={}
        )
        assert refused.status == (200 if speaker is alice else 403)


async def test_typing_is_seen_and_ends(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    hears = {alice: await hears_from_now(alice), bob: await hears_from_now(bob)}
    for speaker, listener in ((alice, bob), (bob, alice)):
        path = path_of(ROOMS, room_id, "typing", speaker.user_id)
        (await speaker.put(path, json={"typing": True, "timeout": 30_000})).ok()

        def typing(answer: Any, of: list[str]) -> bool:
            return {"user_ids": of} in _ephemeral(room_id, "m.typing")(answer)

        await hears[listener].until(lambda answer, of=[speaker.user_id]: typing(answer, of), "typing")
        (await speaker.put(path, json={"typing": False})).ok()
        hears[listener].answers.clear()
        await hears[listener].until(lambda answer: typing(answer, []), "the end of typing")


async def test_receipts_are_seen(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    hears = {alice: await hears_from_now(alice), bob: await hears_from_now(bob)}
    for speaker, reader in ((alice, bob), (bob, alice)):
        said = await speaker.send(room_id, "hello")
        await hears[reader].event(room_id, said)
        (await reader.post(path_of(ROOMS, room_id, "receipt", "m.read", said), json={})).ok()
        receipts = await hears[speaker].until(
            lambda answer, said=said, reader=reader: [
                content
                for content in _ephemeral(room_id, "m.receipt")(answer)
                if reader.user_id in content.get(said, {}).get("m.read", {})
            ],
            "the receipt",
        )
        assert receipts


async def test_presence_is_seen(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    await pair.shared(alice, bob)
    hears = {alice: await hears_from_now(alice), bob: await hears_from_now(bob)}
    for shown, watcher in ((alice, bob), (bob, alice)):
        status = {"presence": "online", "status_msg": f"{shown.user_id} drinks tea"}
        (await shown.put(path_of("_matrix/client/v3/presence", shown.user_id, "status"), json=status)).ok()
        await hears[watcher].until(
            lambda answer, shown=shown, status=status: [
                event
                for event in answer.get("presence", {}).get("events", [])
                if event["sender"] == shown.user_id
                and event["content"].get("status_msg") == status["status_msg"]
            ],
            "presence",
        )


async def test_names_and_avatars_are_seen(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    room_id = await pair.shared(alice, bob)
    hears = {alice: await hears_from_now(alice), bob: await hears_from_now(bob)}
    for shown, watcher in ((alice, bob), (bob, alice)):
        name = f"{shown.user_id[1:].title()}"
        path = path_of("_matrix/client/v3/profile", shown.user_id, "displayname")
        (await shown.put(path, json={"displayname": name})).ok()
        await hears[watcher].until(
            lambda answer, shown=shown, name=name: (
                [
                    event
                    for event in answer["rooms"]["join"][room_id]["timeline"]["events"]
                    if event.get("state_key") == shown.user_id and event["content"].get("displayname") == name
                ]
                if room_id in answer.get("rooms", {}).get("join", {})
                else None
            ),
            "the name",
        )
        found = (await watcher.get(path_of("_matrix/client/v3/profile", shown.user_id))).ok()
        assert found["displayname"] == name


async def test_content_and_its_thumbnails_are_shown(pair: Pair) -> None:
    alice, bob = await pair.at_home("alice"), await pair.from_away("bob")
    await pair.shared(alice, bob)
    image = picture(200, 100)
    for owner, viewer in ((alice, bob), (bob, alice)):
        uploaded = await owner.post(
            "/_matrix/media/v3/upload",
            body=image,
            query={"filename": "tea.png"},
            headers={"Content-Type": "image/png"},
        )
        server, media_id = uploaded.ok()["content_uri"].removeprefix("mxc://").split("/")
        got = await viewer.get(path_of("_matrix/client/v1/media/download", server, media_id))
        assert (got.status, got.body, got.headers["Content-Type"]) == (200, image, "image/png")
        assert "tea.png" in got.headers["Content-Disposition"]
        thumbnail = await viewer.get(
            path_of("_matrix/client/v1/media/thumbnail", server, media_id),
            query={"width": 32, "height": 32, "method": "crop"},
        )
        assert thumbnail.status == 200 and thumbnail.headers["Content-Type"].startswith("image/")
        absent = await viewer.get(path_of("_matrix/client/v1/media/download", server, "absent"))
        assert (absent.status, absent.errcode) == (404, "M_NOT_FOUND")
