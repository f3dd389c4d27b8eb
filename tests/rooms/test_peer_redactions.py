"""What users can rely on when servers redact: what may be redacted is, whichever of the two comes first."""

from tests.protocol.room_script import ALICE, BOB, CAROL
from tests.rooms.peer_histories import PeerHistory, Receiver
from tests.server import Server, UserClient

from ranvier.protocol.events import Event
from ranvier.rooms.heads import Room


class Scene:
    """Dave is in a room with Alice and Bob of one.example, and Carol of two.example."""

    def __init__(self, server: Server, dave: UserClient) -> None:
        self.dave = dave
        self.history = PeerHistory("11")
        self.history.join(BOB)
        self.history.join(CAROL)
        self.join = self.history.join(dave.user_id)
        self.receiver = Receiver(server, self.history)

    async def enter(self) -> Room:
        """Dave joins."""
        return await self.receiver.found(self.join)

    def redaction(self, sender: str, target: Event, *, after: Event) -> Event:
        """An event that redacts another."""
        return self.history.say("m.room.redaction", sender, {"redacts": target.event_id}, after=[after])

    async def shown(self) -> dict[str, object]:
        """The content of each event that Dave is shown."""
        path = f"/_matrix/client/v3/rooms/{self.join.room_id}/messages"
        page = (await self.dave.get(path, query={"dir": "b", "limit": "50"})).ok()
        return {event["event_id"]: event["content"] for event in page["chunk"]}


async def test_a_redaction_takes_effect_where_its_sender_may(server: Server) -> None:
    scene = Scene(server, await server.register("dave"))
    await scene.enter()
    texts = [scene.history.text(sender, "regrettable") for sender in (CAROL, CAROL, BOB)]
    await scene.receiver.receive(*texts)
    since = (await scene.dave.sync())["next_batch"]
    own = scene.redaction(CAROL, texts[0], after=texts[-1])
    powerful = scene.redaction(ALICE, texts[1], after=own)
    powerless = scene.redaction(CAROL, texts[2], after=powerful)
    await scene.receiver.receive(own, powerful, powerless)
    shown = await scene.shown()
    assert [shown[text.event_id] for text in texts[:2]] == [{}, {}]
    assert shown[texts[2].event_id] == {"msgtype": "m.text", "body": "regrettable"}
    assert own.event_id in shown and powerful.event_id in shown
    # Clients would believe it.
    assert powerless.event_id not in shown
    section = (await scene.dave.sync(since))["rooms"]["join"][scene.join.room_id]
    synced = [event["event_id"] for event in section["timeline"]["events"]]
    assert synced == [own.event_id, powerful.event_id]
    assert await scene.receiver.extremities() == {powerless.event_id}


async def test_a_redaction_that_comes_first_waits_for_what_it_redacts(server: Server) -> None:
    scene = Scene(server, await server.register("dave"))
    await scene.enter()
    targets = [scene.history.text(sender, "regrettable", after=[scene.join]) for sender in (CAROL, BOB)]
    redactions = [scene.redaction(CAROL, target, after=scene.join) for target in targets]
    await scene.receiver.receive(*redactions)
    assert not {one.event_id for one in redactions} & (await scene.shown()).keys()
    await scene.receiver.receive(*targets)
    shown = await scene.shown()
    assert shown[targets[0].event_id] == {}
    assert shown[targets[1].event_id] == {"msgtype": "m.text", "body": "regrettable"}
    assert redactions[0].event_id in shown
    assert redactions[1].event_id not in shown
    section = (await scene.dave.sync())["rooms"]["join"][scene.join.room_id]
    told = {event["event_id"]: event for event in section["timeline"]["events"]}
    assert told[targets[0].event_id]["content"] == {}
    assert told[targets[0].event_id]["unsigned"]["redacted_because"]["event_id"] == redactions[0].event_id
