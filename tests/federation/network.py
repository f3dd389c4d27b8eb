"""A network of other servers that take transactions: each can be away, slow, or of another opinion."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from ranvier.remote.failure import RemoteFailure
from ranvier.remote.transport import Call, Opened

Answer = tuple[int, dict[str, Any]]


@dataclass
class Peer:
    """Another server: what it was sent, and how it answers.

    `seconds` passes before it answers; while `away` it does not answer at all. `judge` may give another answer than
    that everything is taken. It knows a transaction by its id, as the specification asks for.
    """

    name: str
    away: bool = False
    seconds: float = 0.0
    judge: Callable[[dict[str, Any]], Answer] = lambda body: (200, {"pdus": {}})
    transactions: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answered: dict[str, Answer] = field(default_factory=dict)
    attempts: int = 0
    at_once: int = 0
    most_at_once: int = 0
    times: list[float] = field(default_factory=list)

    @property
    def pdus(self) -> list[dict[str, Any]]:
        """The events that it took, in order."""
        return [pdu for _, body in self.transactions for pdu in body["pdus"]]

    @property
    def edus(self) -> list[dict[str, Any]]:
        """The EDUs that it took, in order."""
        return [edu for _, body in self.transactions for edu in body.get("edus", [])]

    def edus_of(self, kind: str) -> list[dict[str, Any]]:
        """The contents of the EDUs of one type."""
        return [edu["content"] for edu in self.edus if edu["edu_type"] == kind]

    def bodies(self) -> list[str]:
        """What the messages that it took say."""
        return [pdu["content"]["body"] for pdu in self.pdus if pdu["type"] == "m.room.message"]


class Network:
    """Brings calls to peers; those that nobody named do not exist."""

    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}
        self._changed = asyncio.Condition()

    def peer(self, name: str, **how: Any) -> Peer:
        """A new peer."""
        self.peers[name] = Peer(name, **how)
        return self.peers[name]

    @asynccontextmanager
    async def open(self, call: Call, timeout_s: float) -> AsyncIterator[Opened]:
        """As a transport does."""
        peer = self.peers.get(call.destination)
        if peer is None or peer.away:
            if peer is not None:
                peer.attempts += 1
                await self._tell()
            raise RemoteFailure(call.destination, "It does not answer.")
        status, answer = await self._take(peer, call)
        yield Opened(status, {}, _pieces(json.dumps(answer).encode()))

    async def _take(self, peer: Peer, call: Call) -> Answer:
        peer.attempts += 1
        peer.at_once += 1
        peer.most_at_once = max(peer.most_at_once, peer.at_once)
        try:
            await asyncio.sleep(peer.seconds)
            assert call.body is not None
            body = json.loads(call.body)
            txn_id = unquote(call.target.rsplit("/", 1)[1])
            assert len(body["pdus"]) <= 50
            assert len(body.get("edus", [])) <= 100
            if txn_id in peer.answered:
                return peer.answered[txn_id]
            answer = peer.judge(body)
            if answer[0] == 200:
                peer.answered[txn_id] = answer
                peer.transactions.append((txn_id, body))
                peer.times.append(asyncio.get_running_loop().time())
            return answer
        finally:
            peer.at_once -= 1
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, is_so: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something is so, looked at after each call."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(is_so)
        except TimeoutError:
            told = {peer.name: (len(peer.pdus), len(peer.edus)) for peer in self.peers.values()}
            raise AssertionError(f"it did not come about; events and EDUs by peer: {told}") from None


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body
