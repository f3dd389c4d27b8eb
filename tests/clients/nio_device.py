"""matrix-nio with its end-to-end encryption, in this process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import ClientConnectionError, ClientPayloadError, ClientResponse
from nio import (
    AsyncClient,
    AsyncClientConfig,
    BadEvent,
    ErrorResponse,
    Event,
    MegolmEvent,
    ReceiptEvent,
    Response,
    RoomCreateResponse,
    RoomRedactResponse,
    RoomSendResponse,
    SyncResponse,
    TypingNoticeEvent,
    UnknownBadEvent,
)
from tests.clients.traffic import Exchange, Traffic
from tests.clients.waiting import eventually

R = TypeVar("R", bound=Response)

SYNC_MILLISECONDS = 10_000
# nio does not fill gaps by itself.
SYNC_FILTER = {"room": {"timeline": {"limit": 100}}}


class _RecordingClient(AsyncClient):
    """nio's client that tells of each exchange."""

    def __init__(self, name: str, traffic: Traffic, homeserver: str, user: str, store: Path) -> None:
        config = AsyncClientConfig(encryption_enabled=True, max_timeout_retry_wait_time=0.5)
        super().__init__(homeserver, user, store_path=str(store), config=config)
        self._name = name
        self._traffic = traffic

    async def send(
        self,
        method: str,
        path: str,
        data: Any = None,
        headers: dict[str, str] | None = None,
        trace_context: Any = None,
        timeout: float | None = None,  # noqa: ASYNC109 (nio's signature)
    ) -> ClientResponse:
        began = time.time()
        response, error = None, None
        try:
            response = await super().send(method, path, data, headers, trace_context, timeout)
            await response.read()
            return response
        except ClientPayloadError as cut:
            # nio repeats a request after a lost connection, but not when it is lost in the middle of an answer.
            response, error = None, repr(cut)
            raise ClientConnectionError(str(cut)) from cut
        except asyncio.CancelledError:
            response, error = None, "aborted by the client"
            raise
        except Exception as failure:
            response, error = None, repr(failure)
            raise
        finally:
            self._traffic.add(await self._exchange(method, path, data, headers or {}, response, error, began))

    async def _exchange(
        self,
        method: str,
        path: str,
        data: Any,
        headers: dict[str, str],
        response: ClientResponse | None,
        error: str | None,
        began: float,
    ) -> Exchange:
        raw, _, query = path.partition("?")
        sent = {name.lower(): value for name, value in headers.items()}
        if "authorization" in sent:
            sent["authorization"] = "Bearer (withheld)"
        body = ""
        if response is not None:
            is_json = response.content_type == "application/json"
            octets = await response.read()
            body = octets.decode() if is_json else f"({len(octets)} bytes)"
        return Exchange(
            client=self._name,
            method=method,
            path=raw,
            query=query,
            request_headers=sent,
            request_body=data
            if isinstance(data, str)
            else f"({sent.get('content-length', 0)} bytes)"
            if data
            else "",
            status=None if response is None else response.status,
            response_headers={} if response is None else dict(response.headers),
            response_body=body,
            error=error,
            began=began,
            ended=time.time(),
        )


class NioDevice:
    """One device of one person, with all it heard of by its syncs."""

    def __init__(self, name: str, base_url: str, username: str, store: Path, traffic: Traffic) -> None:
        store.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.client = _RecordingClient(name, traffic, base_url, username, store)
        self.client.add_response_callback(self._hear, None)
        self._traffic = traffic
        self._syncing: asyncio.Task[None] | None = None
        self.events: dict[str, Event] = {}
        self.order: dict[str, list[str]] = {}
        self.repeats: Counter[str] = Counter()
        self.invites: set[str] = set()
        self.left: set[str] = set()
        self.typing: dict[str, list[str]] = {}
        self.receipts: list[tuple[str, str, str, str, str | None]] = []
        self.changed_devices: Counter[str] = Counter()

    @property
    def is_syncing(self) -> bool:
        return self._syncing is not None

    @property
    def user_id(self) -> str:
        return str(self.client.user_id)

    @property
    def device_id(self) -> str:
        return str(self.client.device_id)

    @property
    def access_token(self) -> str:
        return str(self.client.access_token)

    async def login(self, password: str) -> None:
        self.ok(await self.client.login(password, device_name=self.name))

    async def start(self) -> None:
        """Syncs from now on; returns after the first answer."""
        synced = self.client.synced.wait()
        self._syncing = asyncio.create_task(
            self.client.sync_forever(SYNC_MILLISECONDS, SYNC_FILTER, full_state=True)
        )
        await asyncio.wait_for(synced, 30)

    async def rest(self) -> None:
        """Stops the syncs."""
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.gather(self._syncing, return_exceptions=True)
            self._syncing = None

    async def close(self) -> None:
        await self.rest()
        await self.client.close()

    async def come_back(self) -> None:
        """After the server was away: waits until a sync was answered."""
        self._check_syncing()
        token = self.client.next_batch
        before = len(self._traffic.exchanges)

        async def has_synced() -> bool:
            news = self._traffic.exchanges[before:]
            answered = any(
                e.client == self.name and e.path.endswith("/sync") and e.status == 200 for e in news
            )
            return answered or self.client.next_batch != token

        await eventually(has_synced, f"{self.name} syncs again")

    def ok(self, response: R | ErrorResponse) -> R:
        """The response, unless nio judged it an error."""
        assert not isinstance(response, ErrorResponse), f"{self.name}: {response}"
        return response

    async def _hear(self, response: Response) -> None:
        if isinstance(response, ErrorResponse):
            self._traffic.complain(f"{self.name}: nio could not use an answer: {response!r}")
        if isinstance(response, SyncResponse):
            self._take(response)

    def _take(self, sync: SyncResponse) -> None:
        self.invites |= set(sync.rooms.invite)
        self.left |= set(sync.rooms.leave)
        self.left -= set(sync.rooms.join)
        self.changed_devices.update(sync.device_list.changed)
        for room_id, room in {**sync.rooms.join, **sync.rooms.leave}.items():
            for event in room.timeline.events:
                self._take_event(room_id, event)
        for room_id, room in sync.rooms.join.items():
            for event in room.ephemeral:
                self._take_ephemeral(room_id, event)

    def _take_event(self, room_id: str, event: Any) -> None:
        if isinstance(event, BadEvent | UnknownBadEvent):
            self._traffic.complain(f"{self.name}: nio finds this event malformed: {event.source}")
        if isinstance(event, MegolmEvent):
            self._traffic.complain(f"{self.name}: nio has no key for {event.event_id} from {event.sender}")
        if event.event_id in self.events:
            self.repeats[event.event_id] += 1
        self.events[event.event_id] = event
        self.order.setdefault(room_id, []).append(event.event_id)

    def _take_ephemeral(self, room_id: str, event: Any) -> None:
        if isinstance(event, TypingNoticeEvent):
            self.typing[room_id] = list(event.users)
        elif isinstance(event, ReceiptEvent):
            for receipt in event.receipts:
                kind = str(receipt.receipt_type)
                self.receipts.append((room_id, receipt.user_id, kind, receipt.event_id, receipt.thread_id))

    # what a person does

    async def create_room(self, *, encrypted: bool, **options: Any) -> str:
        state = [{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
        answer = await self.client.room_create(initial_state=state if encrypted else (), **options)
        assert isinstance(answer, RoomCreateResponse), answer
        return str(answer.room_id)

    async def send(self, room: str, content: dict[str, Any], type: str = "m.room.message") -> str:
        answer = await self.client.room_send(room, type, content, ignore_unverified_devices=True)
        assert isinstance(answer, RoomSendResponse), answer
        return str(answer.event_id)

    async def send_text(self, room: str, body: str, **relation: Any) -> str:
        content: dict[str, Any] = {"msgtype": "m.text", "body": body}
        if relation:
            content["m.relates_to"] = relation
        return await self.send(room, content)

    async def edit(self, room: str, event_id: str, body: str) -> str:
        content = {
            "msgtype": "m.text",
            "body": f"* {body}",
            "m.new_content": {"msgtype": "m.text", "body": body},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        }
        return await self.send(room, content)

    async def react(self, room: str, event_id: str, key: str) -> str:
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return await self.send(room, {"m.relates_to": relation}, "m.reaction")

    async def redact(self, room: str, event_id: str, reason: str) -> str:
        answer = await self.client.room_redact(room, event_id, reason)
        assert isinstance(answer, RoomRedactResponse), answer
        return str(answer.event_id)

    # what a person sees

    async def event(self, event_id: str) -> Event:
        """The event once a sync has brought it."""

        async def look() -> Event | None:
            self._check_syncing()
            return self.events.get(event_id)

        with self._explain():
            event = await eventually(look, f"{self.name} hears of {event_id}")
        assert event is not None
        return event

    async def content(self, event_id: str) -> dict[str, Any]:
        """The (decrypted) content of the event once a sync has brought it."""
        return dict((await self.event(event_id)).source["content"])

    async def hears(self, what: str, probe: Any) -> None:
        """Returns once the plain predicate holds."""

        async def look() -> bool:
            self._check_syncing()
            return bool(probe())

        with self._explain():
            await eventually(look, f"{self.name} hears that {what}")

    @contextmanager
    def _explain(self) -> Iterator[None]:
        """Adds to a failure what the device did last."""
        try:
            yield
        except AssertionError as failure:
            mine = [exchange for exchange in self._traffic.exchanges if exchange.client == self.name]
            done = "\n".join(f"{e.began:.1f} to {e.ended:.1f} {e}"[:1500] for e in mine[-8:])
            raise AssertionError(f"{failure}; at {time.time():.1f}, after\n{done}") from failure

    def _check_syncing(self) -> None:
        """Raises what ended the syncs, if anything did."""
        if self._syncing is not None and self._syncing.done():
            self._syncing.result()
            raise AssertionError(f"{self.name} has stopped syncing")
