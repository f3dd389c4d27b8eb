"""The door between processes of one machine: a room's events go through one of them.

Of several processes that write one room all but the fastest build in vain; so while all are well, a room's appends go
to the process that rendezvous hashing names. Whoever does not answer at once is not waited for, nor asked again before
it says something: the event is appended here, under the same transaction id, so that it happens once
(docs/decisions/0126-one-process-for-a-room.md).

Links are sockets in Linux's abstract namespace between processes of one user. A message is four bytes of length and
JSON: [number, asked at, request] and [number, answer]; [0] asks whether somebody is there, and is the answer.
"""

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, Final, cast

import orjson

from ranvier.config import Role
from ranvier.protocol.refusal import Refusal
from ranvier.rooms.appending import Appending, Draft, Proposal, TransactionKnown
from ranvier.rooms.heads import Heads
from ranvier.store.neighbours import Neighbour, Neighbours
from ranvier.store.rooms import TransactionKey
from ranvier.store.shares import named, owner
from ranvier.store.writer import Writer

PATIENCE_S: Final = 0.15
"""After so long without a word from a neighbour nobody waits for it."""
_LONGEST_WAIT_S: Final = 5.0
_PROBE_S: Final = 0.05
"""Between two questions to one who does not answer whether it is there."""
_AGAIN_S: Final = 0.2
_LONGEST: Final = 1 << 20
_REMEMBERED: Final = 10_000
"""Rooms of which it is remembered whose they are."""
_LENGTH: Final = struct.Struct(">I")
_THERE: Final = b"[0]"

_log = logging.getLogger("ranvier.main")


class Link(asyncio.Protocol):
    """One end of a link: messages that were written in one turn of the loop go out together."""

    def __init__(self, hear: Callable[["Link", bytes], None]) -> None:
        self._hear = hear
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.is_open = False
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The link is there."""
        # The loop's transports say by their deeds what they are.
        self._transport = cast(asyncio.Transport, transport)
        if _is_stranger(transport.get_extra_info("socket").fileno()):
            self.close()
            return
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        """The link is gone."""
        self.is_open = False
        self.is_lost = True

    def data_received(self, data: bytes) -> None:
        """Hear each whole message."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > _LONGEST:
                self.close()
                return
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            self._hear(self, bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]

    def say(self, message: bytes) -> None:
        """Send a message."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out += (_LENGTH.pack(len(message)), message)

    def _flush(self) -> None:
        if self._transport is not None and self.is_open:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def close(self) -> None:
        """End the link."""
        if self._transport is not None:
            self._transport.abort()


class Way:
    """The way to one neighbour: what was asked and not answered yet, and whether it answers at all."""

    def __init__(self, address: str, patience_s: float) -> None:
        self._address = address
        self._patience_s = patience_s
        self._link: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._number = 0
        self._is_slow = False
        self._heard = 0.0
        self._probed = 0.0

    async def ask(self, request: list[Any]) -> list[Any] | None:
        """The answer; None if there is none in time."""
        link = self._link
        if link is None or not link.is_open:
            self._connect()
            return None
        loop = asyncio.get_running_loop()
        if self._is_slow:
            self._probe()
            return None
        self._number += 1
        number = self._number
        future = self._asked[number] = loop.create_future()
        link.say(orjson.dumps([number, time.time(), request]))
        self._timers[number] = loop.call_later(self._patience_s / 2, self._look, number, loop.time())
        try:
            answer: list[Any] | None = await future
        finally:
            self._timers.pop(number).cancel()
            del self._asked[number]
        return answer

    def _probe(self) -> None:
        """Ask whether it is there, now and then."""
        now = asyncio.get_running_loop().time()
        if self._link is not None and now - self._probed > _PROBE_S:
            self._probed = now
            self._link.say(_THERE)

    def _look(self, number: int, asked: float) -> None:
        """Wait on for one who is busy and answers others; who says nothing at all is waited for no longer."""
        loop = asyncio.get_running_loop()
        silent = loop.time() - max(self._heard, asked)
        if silent < self._patience_s:
            if loop.time() - asked < _LONGEST_WAIT_S:
                self._probe()
                self._timers[number] = loop.call_later(self._patience_s / 2, self._look, number, asked)
            elif not self._asked[number].done():
                self._asked[number].set_result(None)
            return
        self._is_slow = True
        for future in self._asked.values():
            if not future.done():
                future.set_result(None)

    def _hear(self, link: Link, message: bytes) -> None:
        self._is_slow = False
        self._heard = asyncio.get_running_loop().time()
        number, *answer = orjson.loads(message)
        future = self._asked.get(number)
        if future is not None and not future.done():
            future.set_result(answer[0])

    def _connect(self) -> None:
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._open(), name="link to a neighbour")

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await loop.sock_connect(opened, self._address)
            _, self._link = await loop.create_unix_connection(lambda: Link(self._hear), sock=opened)
        except OSError:
            opened.close()
            # It may not be there yet, or be on another machine of the same name.
            await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        """Nothing more is asked."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._link is not None:
            self._link.close()
        for future in self._asked.values():
            if not future.done():
                future.set_result(None)


class Door:
    """Answers neighbours, and asks them."""

    def __init__(self, neighbours: Neighbours, heads: Heads, appending: Appending, writer: Writer) -> None:
        self.patience_s = PATIENCE_S
        self._neighbours = neighbours
        self._heads = heads
        self._appending = appending
        self._writer = writer
        self._ways: dict[str, Way] = {}
        self._owners: dict[str, str] = {}
        self._able: dict[str, Neighbour] = {}
        self._names: list[tuple[str, str]] = []
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.AbstractServer | None = None
        self.asked = 0
        """Appends that neighbours did for this process."""
        self.unanswered = 0
        """Those that it did itself, as the neighbour did not answer."""
        self.done = 0
        """Those that it did for neighbours."""

    async def start(self) -> None:
        """Open, where the system has such sockets, and tell the neighbours where."""
        if self._neighbours.is_solitary or sys.platform != "linux":
            return
        name = f"ranvier-{self._neighbours.me}"
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(f"\0{name}")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._welcome, sock=listening)
        self._neighbours.when_changed(self._look)
        self._neighbours.reach_at(f"@{name}")
        self._neighbours.look()
        self._look()
        self._appending.send_through(self.append)

    async def stop(self) -> None:
        """Close."""
        for way in self._ways.values():
            await way.close()
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            link.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Asking

    def _look(self) -> None:
        """Somebody came or went."""
        alive, host = self._neighbours.alive(), self._neighbours.host
        self._able = {
            one.id: one
            for one in alive
            if Role.EVENTS in one.roles and one.address.startswith("@") and one.host == host
        }
        self._names = named(list(self._able.values()))
        self._owners.clear()
        there = {one.id for one in alive}
        for gone in self._ways.keys() - there:
            task = asyncio.create_task(self._ways.pop(gone).close())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _owner(self, room_id: str) -> str | None:
        found = self._owners.get(room_id)
        if found is None:
            found = owner(f"room {room_id}", self._names)
            if found is not None:
                if len(self._owners) >= _REMEMBERED:
                    self._owners.clear()
                self._owners[room_id] = found
        return found

    async def append(self, proposal: Proposal) -> list[str] | None:
        """Let the room's process append it; None if that is this one, or it does not answer."""
        where = self._owner(proposal.room.room_id)
        if where is None or where == self._neighbours.me:
            return None
        way = self._ways.get(where)
        if way is None:
            way = self._ways[where] = Way(f"\0{self._able[where].address[1:]}", self.patience_s)
        [draft] = proposal.drafts
        assert proposal.transaction is not None
        answer = await way.ask(
            [
                proposal.room.room_id,
                self._writer.tail.tip,
                [*proposal.transaction],
                [draft.sender, draft.type, draft.content, draft.state_key, draft.unless_same, draft.at],
            ]
        )
        if answer is None:
            self.unanswered += 1
            return None
        self.asked += 1
        return _event_ids(answer)

    # Answering

    def _welcome(self) -> Link:
        link = Link(self._hear)
        self._links = {link, *(one for one in self._links if not one.is_lost)}
        return link

    def _hear(self, link: Link, message: bytes) -> None:
        if message == _THERE:
            link.say(_THERE)
            return
        number, asked, request = orjson.loads(message)
        if time.time() - asked > _LONGEST_WAIT_S:
            # This process was stopped: nobody waits for it any longer.
            return
        task = asyncio.get_running_loop().create_task(self._answer(link, number, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, link: Link, number: int, request: list[Any]) -> None:
        room_id, position, key, fields = request
        answer: list[Any] | None
        try:
            answer = ["done", await self._append(room_id, position, TransactionKey(*key), fields)]
        except TransactionKnown:
            answer = ["known"]
        except Refusal as refusal:
            answer = ["refused", refusal.errcode, refusal.error, refusal.status, refusal.extra]
        except Exception:
            _log.exception("an event of a neighbour could not be appended", extra={"room_id": room_id})
            answer = None
        self.done += 1
        link.say(orjson.dumps([number, answer]))

    async def _append(
        self, room_id: str, position: int, key: TransactionKey, fields: list[Any]
    ) -> list[str] | None:
        room = self._heads.at_hand(room_id) or await self._heads.get(room_id)
        if room is None:
            return None
        sender, kind, content, state_key, unless_same, at = fields
        draft = Draft(sender, kind, content, state_key, unless_same=unless_same, at=at)
        is_behind = self._writer.tail.tip < position
        try:
            return await self._appending.append_here(Proposal(room, [draft], key))
        except Refusal:
            if not is_behind:
                raise
        # What allows it may be what the other process knows already.
        await self._writer.reach(position)
        return await self._appending.append_here(Proposal(room, [draft], key))


def _event_ids(answer: list[Any]) -> list[str] | None:
    said, *rest = answer
    if said == "known":
        raise TransactionKnown
    if said == "refused":
        errcode, error, status, extra = rest
        raise Refusal(errcode, error, status=status, **extra)
    event_ids: list[str] | None = rest[0]
    return event_ids


def _is_stranger(number: int) -> bool:
    """Whether the process at the other end of a socket (its number) is another user's."""
    with socket.socket(fileno=os.dup(number)) as connected:
        found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[1]) != os.geteuid()
