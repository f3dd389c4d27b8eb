"""Reads back from the server everything that it answered with success, as the clients' traffic tells it.

Each `lost_…` method gives a sentence for every thing that is not there. Only what must outlive the process counts:
not typing, nor presence; to-device messages are told of by the messages they decrypt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from tests.clients.homeserver import HomeserverProcess, uncached
from tests.clients.traffic import Exchange, Traffic

V3 = "/_matrix/client/v3"
V1 = "/_matrix/client/v1"


def _part(exchange: Exchange, after: str) -> str:
    """The decoded segment of the path that follows the named one."""
    segments = exchange.path.split("/")
    return unquote(segments[segments.index(after) + 1])


def _id(identifier: str) -> str:
    return quote(identifier, safe="")


@dataclass(slots=True)
class Ledger:
    """What was answered, and a server that should know it."""

    server: HomeserverProcess
    traffic: Traffic
    # Access tokens that have not been logged out, and whose they are, by the client's name.
    tokens: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    _histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        logouts = {exchange.client: exchange.began for exchange in self._done("POST", f"{V3}/logout")}
        for login in self._done("POST", f"{V3}/login"):
            self.users[login.client] = login.answer["user_id"]
            if logouts.get(login.client, 0) < login.began:
                self.tokens[login.client] = login.answer["access_token"]

    def read_back(self) -> list[str]:
        """Everything that was answered and is not there; empty when nothing is lost."""
        return [
            *self.lost_logins(),
            *self.lost_memberships(),
            *self.lost_events(),
            *self.lost_order(),
            *self.lost_receipts(),
            *self.lost_media(),
            *self.lost_account_data(),
            *self.lost_profiles(),
            *self.lost_filters(),
            *self.lost_device_keys(),
            *self.lost_cross_signing(),
            *self.lost_backups(),
        ]

    def _done(self, method: str, endpoint: str) -> list[Exchange]:
        escaped = endpoint.replace("{", r"\{").replace("}", r"\}")
        return self.traffic.answered(method, escaped)

    def _get(self, path: str, client: str) -> tuple[int, Any]:
        """An answer for the client, or, if it has logged out, for another of the same user."""
        others = [name for name in self.tokens if self.users[name] == self.users[client]]
        token = self.tokens.get(client) or self.tokens[others[0]]
        return self.server.ask("GET", path, token=token)

    def _device_of(self, user_id: str) -> str:
        return next(client for client in self.tokens if self.users[client] == user_id)

    # people and rooms

    def lost_logins(self) -> Iterator[str]:
        for client in self.tokens:
            status, answer = self._get(f"{V3}/account/whoami", client)
            if status != 200 or answer["user_id"] != self.users[client]:
                yield f"the login of {client}: {status} {answer}"

    def _memberships(self) -> dict[tuple[str, str], str]:
        """The last membership of each room and user that an answer has promised."""
        promised: dict[tuple[str, str], str] = {}
        for exchange in self.traffic.exchanges:
            if exchange.status != 200 or exchange.method != "POST":
                continue
            user_id = self.users.get(exchange.client, "")
            if exchange.endpoint == f"{V3}/createRoom":
                room = exchange.answer["room_id"]
                promised[room, user_id] = "join"
                promised |= {(room, guest): "invite" for guest in exchange.question.get("invite", ())}
            elif exchange.endpoint == f"{V3}/join/{{roomIdOrAlias}}":
                promised[exchange.answer["room_id"], user_id] = "join"
            elif exchange.endpoint == f"{V3}/rooms/{{roomId}}/invite":
                promised[_part(exchange, "rooms"), exchange.question["user_id"]] = "invite"
            elif exchange.endpoint == f"{V3}/rooms/{{roomId}}/leave":
                promised[_part(exchange, "rooms"), user_id] = "leave"
        return promised

    def _someone_in(self, room: str) -> str | None:
        """A client whose user is in the room."""
        inside = [
            user_id
            for (place, user_id), kind in self._memberships().items()
            if (place, kind) == (room, "join")
        ]
        return self._device_of(inside[0]) if inside else None

    def lost_memberships(self) -> Iterator[str]:
        for (room, user_id), membership in self._memberships().items():
            if (watcher := self._someone_in(room)) is None:
                continue
            path = f"{V3}/rooms/{_id(room)}/state/m.room.member/{_id(user_id)}"
            status, answer = self._get(path, watcher)
            if status != 200 or answer["membership"] != membership:
                yield f"{user_id} should be {membership} in {room}: {status} {answer}"

    # events

    def _sent(self) -> Iterator[tuple[str, Exchange, str]]:
        """Room, exchange and event id of each event that was answered, in the order of the answers."""
        places = ("send/{eventType}/{txnId}", "state/{eventType}/{stateKey}", "redact/{eventId}/{txnId}")
        for place in places:
            for exchange in self._done("PUT", f"{V3}/rooms/{{roomId}}/{place}"):
                yield _part(exchange, "rooms"), exchange, exchange.answer["event_id"]

    def history(self, room: str) -> list[dict[str, Any]]:
        """The whole history of a room from its beginning."""
        if room not in self._histories:
            watcher = self._someone_in(room)
            assert watcher is not None, f"nobody is left in {room}"
            events: list[dict[str, Any]] = []
            place = "dir=f"
            while place:
                status, page = self._get(f"{V3}/rooms/{_id(room)}/messages?limit=100&{place}", watcher)
                assert status == 200, page
                events += page["chunk"]
                place = f"dir=f&from={_id(page['end'])}" if page.get("end") and page["chunk"] else ""
            self._histories[room] = events
        return self._histories[room]

    def _positions(self, room: str) -> dict[str, int]:
        return {event["event_id"]: number for number, event in enumerate(self.history(room))}

    def lost_events(self) -> Iterator[str]:
        for room, exchange, event_id in self._sent():
            seen = [event for event in self.history(room) if event["event_id"] == event_id]
            if len(seen) != 1:
                yield f"{event_id} stands {len(seen)} times in {room}: {exchange}"
            elif seen[0]["sender"] != self.users[exchange.client]:
                yield f"{event_id} is not its sender's: {seen[0]}"
        for room in {room for room, _, _ in self._sent()}:
            counts = Counter(event["event_id"] for event in self.history(room))
            yield from (f"{event_id} stands {n} times in {room}" for event_id, n in counts.items() if n > 1)

    def lost_order(self) -> Iterator[str]:
        """What was sent after an answer stands after what was answered."""
        for room in {room for room, _, _ in self._sent()}:
            positions = self._positions(room)
            sent = sorted(
                (exchange.began, exchange.ended, positions.get(event_id, -1), event_id)
                for place, exchange, event_id in self._sent()
                if place == room
            )
            for began, _, position, event_id in sent:
                earlier = [row for row in sent if row[1] < began]
                if earlier and (last := max(earlier, key=lambda row: row[2]))[2] > position:
                    yield f"{event_id} was sent after {last[3]} was answered, but stands before it"

    def lost_receipts(self) -> Iterator[str]:
        """Each receipt that was answered is shown, or one for a later event."""
        promised: dict[tuple[str, str, str, str], str] = {}
        for exchange in self._done("POST", f"{V3}/rooms/{{roomId}}/receipt/{{receiptType}}/{{eventId}}"):
            segments = [unquote(segment) for segment in exchange.path.split("/")]
            thread = (exchange.question or {}).get("thread_id", "")
            promised[exchange.client, _part(exchange, "rooms"), segments[-2], thread] = segments[-1]
        syncs: dict[str, Any] = {}
        for (client, room, kind, thread), event_id in promised.items():
            if client not in syncs:
                syncs[client] = self._get(f"{V3}/sync?{uncached()}", client)[1]
            if room not in syncs[client]["rooms"].get("join", {}):
                continue  # the reader has left
            shown = self._shown_receipts(syncs[client]["rooms"]["join"][room], self.users[client], kind)
            positions = self._positions(room)
            later = [position for name in shown if (position := positions[name]) >= positions[event_id]]
            if not later:
                yield f"{client} has read {event_id} ({kind} in {thread or 'all'}), but the server shows {shown}"

    @staticmethod
    def _shown_receipts(room: dict[str, Any], user_id: str, kind: str) -> list[str]:
        return [
            event_id
            for event in room["ephemeral"]["events"]
            if event["type"] == "m.receipt"
            for event_id, kinds in event["content"].items()
            # A public receipt takes the place of a private one for an earlier event.
            if user_id in kinds.get(kind, {}) or user_id in kinds.get("m.read", {})
        ]

    # files, settings

    def lost_media(self) -> Iterator[str]:
        for exchange in self._done("POST", "/_matrix/media/v3/upload"):
            place = exchange.answer["content_uri"].removeprefix("mxc://")
            token = self.tokens[self._device_of(self.users[exchange.client])]
            status, octets = self.server.fetch(f"{V1}/media/download/{place}", token)
            if status != 200 or f"({len(octets)} bytes)" != exchange.request_body:
                yield f"of {exchange.request_body} at {place} came {status} with {len(octets)} bytes"

    def lost_account_data(self) -> Iterator[str]:
        puts = self._done("PUT", f"{V3}/user/{{userId}}/account_data/{{type}}")
        for path, exchange in {exchange.path: exchange for exchange in puts}.items():
            status, answer = self._get(path, exchange.client)
            if (status, answer) != (200, exchange.question):
                yield f"{path} should hold {exchange.question}: {status} {answer}"

    def lost_profiles(self) -> Iterator[str]:
        puts = self._done("PUT", f"{V3}/profile/{{userId}}/{{keyName}}")
        for path, exchange in {exchange.path: exchange for exchange in puts}.items():
            status, answer = self._get(path, exchange.client)
            if (status, answer) != (200, exchange.question):
                yield f"{path} should hold {exchange.question}: {status} {answer}"

    def lost_filters(self) -> Iterator[str]:
        for exchange in self._done("POST", f"{V3}/user/{{userId}}/filter"):
            path = f"{exchange.path}/{_id(exchange.answer['filter_id'])}"
            status, answer = self._get(path, exchange.client)
            if (status, answer) != (200, exchange.question):
                yield f"{path} should be {exchange.question}: {status} {answer}"

    # keys

    def _keys_of(self, user_id: str) -> dict[str, Any]:
        body = {"device_keys": {user_id: []}}
        token = self.tokens[self._device_of(user_id)]
        status, answer = self.server.ask("POST", f"{V3}/keys/query", body, token)
        assert status == 200, answer
        return dict(answer)

    def lost_device_keys(self) -> Iterator[str]:
        for exchange in self._done("POST", f"{V3}/keys/upload"):
            keys = exchange.question.get("device_keys")
            if not keys or exchange.client not in self.tokens:
                continue
            shown = self._keys_of(keys["user_id"])["device_keys"][keys["user_id"]].get(keys["device_id"], {})
            if shown.get("keys") != keys["keys"]:
                yield f"the keys of {exchange.client}: {shown}"

    def lost_cross_signing(self) -> Iterator[str]:
        uploads = self._done("POST", f"{V3}/keys/device_signing/upload")
        for client, exchange in {exchange.client: exchange for exchange in uploads}.items():
            user_id = self.users[client]
            shown = self._keys_of(user_id)
            for kind in ("master", "self_signing", "user_signing"):
                key = exchange.question.get(f"{kind}_key")
                if key and shown[f"{kind}_keys"].get(user_id, {}).get("keys") != key["keys"]:
                    yield f"the {kind} key of {client}: {shown[f'{kind}_keys']}"
        for exchange in self._done("POST", f"{V3}/keys/signatures/upload"):
            yield from self._lost_signatures(exchange)

    def _lost_signatures(self, exchange: Exchange) -> Iterator[str]:
        for user_id, signed in exchange.question.items():
            shown = self._keys_of(user_id)
            known = dict(shown["device_keys"][user_id])
            for key in (shown["master_keys"].get(user_id, {}), shown["self_signing_keys"].get(user_id, {})):
                known |= {name.partition(":")[2]: key for name in key.get("keys", {})}
            for name, value in signed.items():
                signatures = known.get(name, {}).get("signatures", {})
                for signer, made in value["signatures"].items():
                    if name in known and not made.items() <= signatures.get(signer, {}).items():
                        yield f"{exchange.client} signed {name}: {made}, but shown are {signatures}"

    def lost_backups(self) -> Iterator[str]:
        for exchange in self._done("PUT", f"{V3}/room_keys/keys"):
            for room, sessions in exchange.question["rooms"].items():
                for session in sessions["sessions"]:
                    path = f"{V3}/room_keys/keys/{_id(room)}/{_id(session)}?{exchange.query}"
                    status, answer = self._get(path, exchange.client)
                    if status != 200 or "session_data" not in answer:
                        yield f"the session {session} that {exchange.client} backed up: {status} {answer}"
