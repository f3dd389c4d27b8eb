"""Requests to other servers: signed, bounded in size, number and time, and not sent to servers that are away."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from ranvier.protocol import canonical_json, x_matrix
from ranvier.protocol.identifiers import is_valid_server_name
from ranvier.protocol.large_json import decode_large
from ranvier.protocol.signing import SigningKey
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.back_off import BackOff
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.transport import Call, Opened, Transport

MAX_ANSWER: Final = 50 * 1024 * 1024
"""Bytes of an answer unless the operation says otherwise."""

_MAX_ERROR: Final = 64 * 1024
_LARGE: Final = 128 * 1024
"""Bytes of an answer that is decoded beside the event loop."""
_AT_ONCE: Final = 20
"""Requests to one destination under way at the same time."""
_WAITING: Final = 500
"""Requests to one destination that wait for their turn."""
_FIRST_RETRY_S: Final = 0.1
_LONGEST_WAIT_MS: Final = 3_600_000
_AWAY: Final = frozenset({502, 503, 504})

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ClientRules:
    """Times in seconds. A request that got no answer is tried again `retries` times, in growing pauses."""

    timeout_s: float = 60.0
    retries: int = 3
    longest_pause_s: float = 2.0
    patient_retries: int = 10
    longest_patient_pause_s: float = 60.0


class FederationClient:
    """Speaks to other servers in this server's name."""

    def __init__(
        self,
        signer: SigningKey,
        transport: Transport,
        back_off: BackOff,
        allowed: AllowedServers,
        rules: ClientRules | None = None,
    ) -> None:
        self._signer = signer
        self._transport = transport
        self._back_off = back_off
        self._allowed = allowed
        self._rules = rules or ClientRules()
        self._turns: dict[str, _Turns] = {}

    @property
    def server_name(self) -> str:
        """The name that this server asks in."""
        return self._signer.server_name

    async def request(
        self,
        destination: str,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        max_bytes: int = MAX_ANSWER,
        sign: bool = True,
        urgent: bool = False,
        patient: bool = False,
    ) -> dict[str, Any]:
        """The JSON object that the destination answers with status 200.

        `path` is percent-encoded already (`path_of`). `urgent` asks a server even while it is left alone after
        failures: for what somebody waits for. `patient` tries again for minutes: for what nobody waits for. Raises
        RemoteFailure.
        """
        found = await self.request_value(
            destination, method, path, query=query, body=body, timeout_s=timeout_s, max_bytes=max_bytes,
            sign=sign, urgent=urgent, patient=patient,
        )  # fmt: skip
        if not isinstance(found, dict):
            raise RemoteFailure(destination, "It answered with JSON that is no object.", status=200)
        return found

    async def request_value(
        self,
        destination: str,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        max_bytes: int = MAX_ANSWER,
        sign: bool = True,
        urgent: bool = False,
        patient: bool = False,
    ) -> Any:
        """Like `request`, for the operation whose answer is no object."""
        call = self._call(destination, method, path, query, body, sign)
        rules = self._rules
        retries = rules.patient_retries if patient else rules.retries
        longest = rules.longest_patient_pause_s if patient else rules.longest_pause_s
        for attempt in range(retries + 1):
            try:
                async with self._opened(call, timeout_s or rules.timeout_s, urgent) as opened:
                    return await _decode(destination, await _read(destination, opened, max_bytes))
            except RemoteFailure as failure:
                if attempt == retries or not _may_pass(failure):
                    if failure.was_tried and (failure.status is None or failure.status in _AWAY):
                        await self._back_off.failed(destination)
                    raise
            # Chance keeps servers that all lost the same peer from coming back to it at the same moment.
            pause = min(longest, _FIRST_RETRY_S * 4**attempt)
            await self._back_off.pause(destination, pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        raise AssertionError("the last attempt answers or raises")

    @asynccontextmanager
    async def open(
        self,
        destination: str,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        sign: bool = True,
        urgent: bool = False,
    ) -> AsyncIterator[Opened]:
        """The answer (status 200) while its body still comes: for what is too large to hold. Raises RemoteFailure.

        Whoever reads bounds what is read.
        """
        call = self._call(destination, method, path, query, body, sign)
        try:
            async with self._opened(call, timeout_s or self._rules.timeout_s, urgent) as opened:
                yield opened
        except RemoteFailure as failure:
            if failure.was_tried and (failure.status is None or failure.status in _AWAY):
                await self._back_off.failed(destination)
            raise

    def _call(
        self,
        destination: str,
        method: str,
        path: str,
        query: Query | None,
        body: Mapping[str, Any] | None,
        sign: bool,
    ) -> Call:
        if not is_valid_server_name(destination):
            raise RemoteFailure(destination[:255], "This is not a server name.", was_tried=False)
        if destination == self.server_name:
            raise RemoteFailure(destination, "A server does not ask itself.", was_tried=False)
        if not self._allowed.allows(destination):
            raise RemoteFailure(
                destination,
                "This server does not federate with it: its configuration says so.",
                was_tried=False,
            )
        target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
        headers = {"Accept": "application/json"}
        data = None
        try:
            if body is not None:
                data = canonical_json.encode(body)
                headers["Content-Type"] = "application/json"
            if sign:
                headers["Authorization"] = x_matrix.make(self._signer, destination, method, target, body)
        except canonical_json.BadJson as error:
            raise RemoteFailure(
                destination, f"The request can't be written: {error}", was_tried=False
            ) from None
        return Call(destination, method, target, headers, data)

    @asynccontextmanager
    async def _opened(self, call: Call, timeout_s: float, urgent: bool) -> AsyncIterator[Opened]:
        """The answer, if it is a 200; any other is raised. Any answer but a proxy's shows that the server is there."""
        destination = call.destination
        wait = 0 if urgent else self._back_off.wait_ms(destination)
        if wait:
            raise RemoteFailure(
                destination,
                f"It did not answer before, and is left alone for {-(-wait // 1000)} more seconds.",
                retry_after_ms=wait,
                was_tried=False,
            )
        async with self._turn(destination), self._transport.open(call, timeout_s) as opened:
            if opened.status not in _AWAY:
                await self._back_off.succeeded(destination)
            if opened.status != 200:
                raise await _refusal(destination, opened)
            yield opened

    @asynccontextmanager
    async def _turn(self, destination: str) -> AsyncIterator[None]:
        """A bounded number of requests at once, and of those that wait."""
        turns = self._turns.setdefault(destination, _Turns())
        if turns.taken >= _AT_ONCE + _WAITING:
            raise RemoteFailure(destination, "Too many requests to it are waiting already.", was_tried=False)
        turns.taken += 1
        try:
            async with turns.places:
                yield
        finally:
            turns.taken -= 1
            if not turns.taken:
                self._turns.pop(destination, None)


class _Turns:
    __slots__ = ("places", "taken")

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(_AT_ONCE)
        self.taken = 0


def path_of(base: str, *parts: str) -> str:
    """A path from a fixed base (`/_matrix/federation/v1/event`) and parameters, each percent-encoded whole."""
    return "/".join([base, *(quote(part, safe="") for part in parts)])


def _may_pass(failure: RemoteFailure) -> bool:
    """Whether asking again at once may help."""
    return failure.was_tried and not failure.is_final and (failure.status is None or failure.status in _AWAY)


async def _read(destination: str, opened: Opened, max_bytes: int) -> bytes:
    pieces = bytearray()
    async for piece in opened.pieces:
        pieces += piece
        if len(pieces) > max_bytes:
            raise RemoteFailure(
                destination,
                f"Its answer is larger than {max_bytes} bytes.",
                status=opened.status,
                is_final=True,
            )
    return bytes(pieces)


async def _decode(destination: str, body: bytes) -> Any:
    try:
        # One event with an integer that no event may have must not spoil all others of the answer.
        if len(body) > _LARGE:
            return await asyncio.to_thread(decode_large, body, lossy_integers=True)
        return canonical_json.decode(body, lossy_integers=True)
    except canonical_json.BadJson as error:
        raise RemoteFailure(destination, f"Its answer can't be read: {error}", status=200) from None


async def _refusal(destination: str, opened: Opened) -> RemoteFailure:
    """What an answer that is no 200 says."""
    try:
        value = canonical_json.decode(await _read(destination, opened, _MAX_ERROR))
    except (RemoteFailure, canonical_json.BadJson):
        value = None
    fields = value if isinstance(value, dict) else {}
    errcode, error = fields.get("errcode"), fields.get("error")
    sentence = error[:500] if isinstance(error, str) and error else "without a reason"
    return RemoteFailure(
        destination,
        f"It answered {opened.status}: {sentence}",
        status=opened.status,
        errcode=errcode[:100] if isinstance(errcode, str) else None,
        error=sentence,
        retry_after_ms=_retry_after(fields, opened.headers),
    )


def _retry_after(fields: Mapping[str, Any], headers: Mapping[str, str]) -> int | None:
    asked = fields.get("retry_after_ms")
    if type(asked) is int:
        return max(0, min(asked, _LONGEST_WAIT_MS))
    header = headers.get("retry-after", "")
    if header.isascii() and header.isdigit() and len(header) < 10:
        return min(int(header) * 1000, _LONGEST_WAIT_MS)
    return None
