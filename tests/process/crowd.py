"""A crowd of clients that keeps a server busy and remembers what was answered, through one crash after another.

Each member of the crowd does one thing again and again (`act`), which ends with an exception when the server dies, and
then demands (`check`) that all that was answered is there, whole and once. What was under way when the server died may
have happened or not; it is repeated as a client would repeat it, and then must be there once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from random import Random
from typing import Any

from tests.encryption.people import Device
from tests.http_client import path_of
from tests.server import PASSWORD, UserClient

V3 = "_matrix/client/v3"
NOTE = "com.example.note"


class Member:
    """One of the crowd. `answered` counts what the server said yes to; `width` how much it asks for at once."""

    width = 1

    def __init__(self, client: UserClient, random: Random) -> None:
        self.client = client
        self.random = random
        self.answered = 0

    async def act(self) -> None:
        """Do it once."""
        raise LookupError(f"{type(self).__name__} does nothing")

    async def check(self) -> None:
        """All that was answered is there."""
        raise LookupError(f"{type(self).__name__} checks nothing")

    async def get(self, *parts: str, **query: Any) -> Any:
        return (await self.client.get(path_of(*parts), query=query)).ok()


class History:
    """A room's events as /messages gives them, read further at every check."""

    def __init__(self, client: UserClient, room_id: str) -> None:
        self._client = client
        self.room_id = room_id
        self.events: list[dict[str, Any]] = []
        self.order: dict[str, int] = {}

    async def read_on(self) -> None:
        """What came since the last time, from the newest back to what is known."""
        new: list[dict[str, Any]] = []
        query: dict[str, Any] = {"dir": "b", "limit": 100}
        known = self.events[-1]["event_id"] if self.events else None
        while True:
            path = path_of(V3, "rooms", self.room_id, "messages")
            page = (await self._client.get(path, query=query)).ok()
            ids = [event["event_id"] for event in page["chunk"]]
            if known in ids:
                new += page["chunk"][: ids.index(known)]
                break
            new += page["chunk"]
            if "end" not in page:
                assert known is None, f"{known} is no longer in the history of {self.room_id}"
                break
            query["from"] = page["end"]
        for event in reversed(new):
            assert event["event_id"] not in self.order, f"{event} stands twice in {self.room_id}"
            self.order[event["event_id"]] = len(self.events)
            self.events.append(event)

    def said(self, sender: str) -> list[tuple[str, str]]:
        """(body, event id) of all messages of a user that were not redacted, in order."""
        return [
            (event["content"]["body"], event["event_id"])
            for event in self.events
            if event["sender"] == sender and "body" in event["content"]
        ]


class Talker(Member):
    """Sends messages, in threads and out of them, and redacts some of them again."""

    width = 3

    def __init__(self, client: UserClient, random: Random, history: History) -> None:
        super().__init__(client, random)
        self.history = history
        self.open: dict[str, dict[str, Any]] = {}
        self.sent: dict[str, str] = {}
        self.recent: list[str] = []
        self.redactions: dict[str, str] = {}
        self.redacted: dict[str, str] = {}
        self._count = 0

    async def act(self) -> None:
        self._count += 1
        if self.recent and self.random.random() < 0.1:
            await self._redact(f"r{self._count}", self.random.choice(self.recent))
            return
        body = f"{self.client.user_id} {self._count}"
        content: dict[str, Any] = {"msgtype": "m.text", "body": body}
        if self.recent and self.random.random() < 0.2:
            root = self.sent[self.recent[0]]
            content["m.relates_to"] = {"rel_type": "m.thread", "event_id": root}
        await self._send(f"m{self._count}", content)

    async def _send(self, txn_id: str, content: dict[str, Any]) -> None:
        self.open[txn_id] = content
        event_id = await self.client.send(self.history.room_id, content, txn_id=txn_id)
        del self.open[txn_id]
        self.sent[txn_id] = event_id
        self.recent.append(txn_id)
        self.answered += 1

    async def _redact(self, txn_id: str, target: str) -> None:
        if target in self.redactions.values() or target in self.redacted:
            return
        self.redactions[txn_id] = target
        path = path_of(V3, "rooms", self.history.room_id, "redact", self.sent[target], txn_id)
        self.redacted[target] = (await self.client.put(path, json={})).ok()["event_id"]
        del self.redactions[txn_id]
        self.answered += 1

    async def check(self) -> None:
        for txn_id in self.recent:
            again = await self.client.send(
                self.history.room_id, {"msgtype": "m.text", "body": "x"}, txn_id=txn_id
            )
            assert again == self.sent[txn_id], f"{txn_id} was {self.sent[txn_id]} and is {again}"
        for txn_id, content in list(self.open.items()):
            await self._send(txn_id, content)
        for txn_id, target in list(self.redactions.items()):
            del self.redactions[txn_id]
            await self._redact(txn_id, target)
        self.recent = []

    def check_history(self) -> None:
        """Once the history was read: every message once, in the order of the answers; redacted ones empty."""
        bodies = dict(self.history.said(self.client.user_id))
        assert len(bodies) == len(self.history.said(self.client.user_id)), "a message was said twice"
        standing = {event_id for txn_id, event_id in self.sent.items() if txn_id not in self.redacted}
        assert set(bodies.values()) == standing, set(bodies.values()) ^ standing
        for txn_id, redaction in self.redacted.items():
            event = self.history.events[self.history.order[self.sent[txn_id]]]
            assert event["content"] == {}, event
            assert redaction in self.history.order


class Noter(Member):
    """Sets state, account data, and a display name, each to rising numbers."""

    def __init__(self, client: UserClient, random: Random, room_id: str) -> None:
        super().__init__(client, random)
        self.room_id = room_id
        me = client.user_id
        self.paths = [
            path_of(V3, "rooms", room_id, "state", NOTE, me),
            path_of(V3, "user", me, "account_data", NOTE),
            path_of(V3, "user", me, "rooms", room_id, "account_data", NOTE),
        ]
        self.tried = dict.fromkeys(self.paths, 0)
        self.set = dict.fromkeys(self.paths, 0)

    async def act(self) -> None:
        path = self.random.choice(self.paths)
        self.tried[path] += 1
        (await self.client.put(path, json={"n": self.tried[path]})).ok()
        self.set[path] = self.tried[path]
        self.answered += 1

    async def check(self) -> None:
        for path in self.paths:
            if self.set[path] == 0:
                continue
            number = (await self.client.get(path)).ok()["n"]
            assert number in (self.set[path], self.tried[path]), (
                f"{path}: {number}, {self.set[path]} was answered"
            )
            self.set[path] = self.tried[path] = number


class Wanderer(Member):
    """Joins and leaves a room, and makes rooms of its own."""

    def __init__(self, client: UserClient, random: Random, room_id: str) -> None:
        super().__init__(client, random)
        self.room_id = room_id
        self.possible = {"leave"}
        self.made: dict[str, str] = {}

    async def act(self) -> None:
        if self.random.random() < 0.1:
            name = f"room {len(self.made)}"
            room_id = await self.client.create_room(name=name, preset="private_chat")
            self.made[room_id] = name
        elif self.possible == {"join"}:
            self.possible = {"join", "leave"}
            await self.client.leave(self.room_id)
            self.possible = {"leave"}
        else:
            self.possible = {"join", "leave"}
            await self.client.join(self.room_id)
            self.possible = {"join"}
        self.answered += 1

    async def check(self) -> None:
        joined = set((await self.get(V3, "joined_rooms"))["joined_rooms"])
        now = "join" if self.room_id in joined else "leave"
        assert now in self.possible, f"{self.client.user_id} is {now}, and should be {self.possible}"
        self.possible = {now}
        assert self.made.keys() <= joined
        for room_id, name in self.made.items():
            assert (await self.get(V3, "rooms", room_id, "state", "m.room.name"))["name"] == name
        # A room that was being made when the server died is there as a whole, or not at all.
        for room_id in joined - self.made.keys() - {self.room_id}:
            state = {e["type"] for e in (await self.client.get(path_of(V3, "rooms", room_id, "state"))).ok()}
            assert {"m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.name"} <= state
        self.made = {}


class Reader(Member):
    """Follows rooms by sync, and says how far it has read."""

    def __init__(self, client: UserClient, random: Random, room_ids: list[str]) -> None:
        super().__init__(client, random)
        self.room_ids = room_ids
        self.since: str | None = None
        self.seen: dict[str, list[str]] = {room_id: [] for room_id in room_ids}
        self.receipts: dict[str, set[str]] = {}

    async def act(self) -> None:
        await self.follow(timeout=100)
        room_id = self.random.choice(self.room_ids)
        if self.seen[room_id] and self.random.random() < 0.5:
            event_id = self.seen[room_id][-1]
            self.receipts.setdefault(room_id, {""}).add(event_id)
            path = path_of(V3, "rooms", room_id, "receipt", "m.read", event_id)
            (await self.client.post(path, json={})).ok()
            self.receipts[room_id] = {event_id}
        self.answered += 1

    async def follow(self, timeout: int = 0) -> bool:  # noqa: ASYNC109
        """One sync; its gaps are filled. Whether it brought anything of the rooms."""
        answer = await self.client.sync(self.since, timeout=timeout)
        news = {}
        for room_id, room in answer.get("rooms", {}).get("join", {}).items():
            timeline = room.get("timeline", {"events": []})
            ids = [event["event_id"] for event in timeline["events"]]
            if timeline.get("limited") and room_id in self.seen:
                ids = [*await self._fill(room_id, timeline["prev_batch"]), *ids]
            news[room_id] = ids
        for room_id in self.room_ids:
            self.seen[room_id] += news.get(room_id, [])
        self.since = answer["next_batch"]
        return any(news.values())

    async def _fill(self, room_id: str, prev_batch: str) -> list[str]:
        """The ids between what was seen and a place, oldest first."""
        found: list[str] = []
        last = self.seen[room_id][-1] if self.seen[room_id] else None
        query: dict[str, Any] = {"dir": "b", "limit": 100, "from": prev_batch}
        while True:
            page = await self.get(V3, "rooms", room_id, "messages", **query)
            for event in page["chunk"]:
                if event["event_id"] == last:
                    return found[::-1]
                found.append(event["event_id"])
            if "end" not in page:
                assert last is None
                return found[::-1]
            query["from"] = page["end"]

    async def check(self) -> None:
        while await self.follow():
            pass
        whole = await self.client.sync()
        for room_id, possible in self.receipts.items():
            events = whole["rooms"]["join"][room_id].get("ephemeral", {"events": []})["events"]
            shown = {
                event_id
                for event in events
                for event_id, kinds in event["content"].items()
                if event["type"] == "m.receipt" and self.client.user_id in kinds.get("m.read", {})
            }
            # The empty one stands for none: no receipt was answered yet.
            shown = shown or {""}
            assert len(shown) == 1 and shown <= possible, f"{shown} is shown as read, and not {possible}"
            self.receipts[room_id] = shown


class Courier(Member):
    """Sends messages to another user's device, which takes them out of its syncs."""

    width = 2

    def __init__(self, client: UserClient, random: Random, receiver: UserClient) -> None:
        super().__init__(client, random)
        self.receiver = receiver
        self.since: str | None = None
        self.open: set[int] = set()
        self.sent: set[int] = set()
        self.arrived: list[int] = []
        self._count = 0
        self._receiving = asyncio.Lock()

    async def act(self) -> None:
        self._count += 1
        await self._send(self._count)
        if self.random.random() < 0.2 and not self._receiving.locked():
            await self._receive()

    async def _send(self, number: int) -> None:
        self.open.add(number)
        content = {self.receiver.user_id: {self.receiver.device_id: {"n": number}}}
        path = path_of(V3, "sendToDevice", NOTE, f"d{number}")
        (await self.client.put(path, json={"messages": content})).ok()
        self.open.discard(number)
        self.sent.add(number)
        self.answered += 1

    async def _receive(self) -> bool:
        async with self._receiving:
            answer = await self.receiver.sync(self.since)
            events = answer.get("to_device", {}).get("events", [])
            self.arrived += [event["content"]["n"] for event in events]
            self.since = answer["next_batch"]
        return bool(events)

    async def check(self) -> None:
        for number in sorted(self.open):
            await self._send(number)
        while await self._receive():
            pass
        assert sorted(self.arrived) == sorted(self.sent), set(self.arrived) ^ self.sent


class KeyBearer(Member):
    """Uploads keys and claims them."""

    def __init__(self, client: UserClient, random: Random) -> None:
        super().__init__(client, random)
        self.device = Device(client.user_id, client.device_id)
        self.uploaded: set[str] = set()
        self.open: set[str] = set()
        self.claimed: list[str] = []
        self.lost = 0
        self._count = 0

    async def act(self) -> None:
        if self.random.random() < 0.3 and len(self.uploaded) > len(self.claimed) + self.lost:
            await self._claim()
        elif len(self.uploaded) < len(self.claimed) + self.lost + 50:
            self._count += 1
            self.open = {f"{self._count}.{n}" for n in range(3)}
            await self._upload()
        self.answered += 1

    async def _upload(self) -> None:
        body = {"device_keys": self.device.keys(), "one_time_keys": self.device.one_time_keys(*self.open)}
        (await self.client.post(path_of(V3, "keys", "upload"), json=body)).ok()
        self.uploaded |= self.open
        self.open = set()

    async def _claim(self) -> None:
        wanted = {self.client.user_id: {self.client.device_id: "signed_curve25519"}}
        self.lost += 1
        answer = await self.client.post(path_of(V3, "keys", "claim"), json={"one_time_keys": wanted})
        keys = answer.ok()["one_time_keys"][self.client.user_id][self.client.device_id]
        self.lost -= 1
        self.claimed += [name.partition(":")[2] for name in keys]

    async def check(self) -> None:
        if self.open:
            await self._upload()
        assert len(set(self.claimed)) == len(self.claimed), "a key was given to two"
        assert set(self.claimed) <= self.uploaded
        if not self.uploaded:
            return
        answer = await self.client.post(path_of(V3, "keys", "upload"), json={})
        left = answer.ok()["one_time_key_counts"]["signed_curve25519"]
        rest = len(self.uploaded) - len(self.claimed)
        assert rest - self.lost <= left <= rest, (
            f"{left} keys are left of {rest}; {self.lost} answers were lost"
        )
        self.lost = rest - left
        query = await self.client.post(
            path_of(V3, "keys", "query"), json={"device_keys": {self.client.user_id: []}}
        )
        shown = query.ok()["device_keys"][self.client.user_id][self.client.device_id]
        assert shown["keys"] == self.device.keys()["keys"]


class Uploader(Member):
    """Uploads files."""

    def __init__(self, client: UserClient, random: Random) -> None:
        super().__init__(client, random)
        self.files: dict[str, str] = {}

    async def act(self) -> None:
        data = self.random.randbytes(self.random.choice([10, 10_000, 600_000]))
        path = "/_matrix/media/v3/upload"
        answer = await self.client.post(path, body=data, headers={"Content-Type": "application/octet-stream"})
        self.files[answer.ok()["content_uri"]] = hashlib.sha256(data).hexdigest()
        self.answered += 1

    async def check(self) -> None:
        for uri, digest in self.files.items():
            parts = uri.removeprefix("mxc://").split("/")
            answer = await self.client.get(path_of("_matrix/client/v1/media/download", *parts))
            assert answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == digest, uri
        self.files = {}


class Registrar(Member):
    """Registers accounts, and logs in and out."""

    def __init__(self, client: UserClient, random: Random) -> None:
        super().__init__(client, random)
        self.tokens: dict[str, str] = {}
        self.ended: list[str] = []
        self._count = 0

    async def act(self) -> None:
        self._count += 1
        name = f"{self.client.user_id[1:].partition(':')[0]}.{self._count}"
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        answer = await self.client.post(path_of(V3, "register"), json=body, token="")
        self.tokens[name] = answer.ok()["access_token"]
        if self.random.random() < 0.3:
            token = self.tokens.pop(name)
            (await self.client.post(path_of(V3, "logout"), token=token)).ok()
            self.ended.append(token)
        self.answered += 1
        await asyncio.sleep(0.05)

    async def check(self) -> None:
        for name, token in self.tokens.items():
            answer = await self.client.get(path_of(V3, "account", "whoami"), token=token)
            assert answer.ok()["user_id"].startswith(f"@{name}:")
            identifier = {"type": "m.id.user", "user": name}
            body: Mapping[str, Any] = {
                "type": "m.login.password",
                "identifier": identifier,
                "password": PASSWORD,
            }
            if self.random.random() < 0.1:
                (await self.client.post(path_of(V3, "login"), json=body, token="")).ok()
        for token in self.ended:
            answer = await self.client.get(path_of(V3, "account", "whoami"), token=token)
            assert answer.status == 401, "who was logged out is logged in again"
        self.tokens, self.ended = {}, []
