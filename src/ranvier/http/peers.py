"""Who another server is that asks: the X-Matrix signature over the request as it came.

Source: server-server API, "Request Authentication".
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from ranvier.http.limits import Bucket, RateLimit, address_key, too_soon
from ranvier.http.peer_limits import PeerLimits
from ranvier.http.request import Request
from ranvier.protocol import x_matrix
from ranvier.protocol.canonical_json import BadJson
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.signing import signed_bytes, verify
from ranvier.protocol.x_matrix import BadXMatrix, XMatrix
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.back_off import BackOff
from ranvier.remote.key_ring import KeyRing

_SIGNATURES: Final = 4
"""Headers of one request that are looked at: a server with several keys may sign with each."""
_FAILURES: Final = RateLimit(1.0, 200)
"""Requests of one address that were not what they claimed to be: each may have cost a look-up of keys elsewhere."""


class Peers:
    """Authenticates the requests of other servers. `now` is milliseconds since the epoch."""

    def __init__(
        self,
        key_ring: KeyRing,
        allowed: AllowedServers,
        back_off: BackOff,
        limits: PeerLimits,
        own_name: str,
        now: Callable[[], int],
    ) -> None:
        self._key_ring = key_ring
        self._allowed = allowed
        self._back_off = back_off
        self._limits = limits
        self._own_name = own_name
        self._now = now
        self._failures = Bucket(_FAILURES, lambda: now() / 1000)

    def turn(self, origin: str) -> AbstractAsyncContextManager[None]:
        """The origin's turn to be served."""
        return self._limits.turn(origin)

    def claims_of(self, request: Request, *, by_self: bool = False) -> list[XMatrix]:
        """What the headers claim, before the body is read; refuses what can't be true.

        `by_self`: it must be this server that asks, and not another one.
        """
        headers = [value.decode("latin-1") for name, value in request.headers if name == b"authorization"]
        meant = [header for header in headers if x_matrix.is_x_matrix(header)][:_SIGNATURES]
        if not meant:
            raise _unauthorized(
                "This endpoint is for servers: the request needs an Authorization header of the form X-Matrix, "
                "which reverse proxies must pass on."
            )
        try:
            claims = [x_matrix.parse(header) for header in meant]
        except BadXMatrix as error:
            raise _unauthorized(str(error)) from None
        origin = claims[0].origin
        for claim in claims:
            if claim.origin != origin:
                raise _unauthorized("The X-Matrix headers name several origins.")
            if claim.destination not in (None, self._own_name):
                raise _unauthorized(
                    f"The request is for {claim.destination}, but this server is {self._own_name}."
                )
        if (origin == self._own_name) != by_self:
            raise _unauthorized(
                "Only this server itself may ask this." if by_self else "A server does not ask itself."
            )
        if not self._allowed.allows(origin):
            raise Refusal("M_FORBIDDEN", f"This server does not federate with {origin}.")
        wait = self._failures.wait(address_key(request.client_address))
        if wait:
            raise too_soon(wait)
        return claims

    async def authenticate(self, request: Request, claims: Sequence[XMatrix]) -> str:
        """The origin, whose signature over method, raw URI, destination and body is right; refuses any other."""
        origin = claims[0].origin
        try:
            await self._check(request, claims, origin)
        except Refusal as refusal:
            if refusal.errcode == "M_UNAUTHORIZED":
                self._failures.take(address_key(request.client_address))
            raise
        # Who asks is there: it need not be left alone any longer.
        await self._back_off.succeeded(origin)
        return origin

    async def _check(self, request: Request, claims: Sequence[XMatrix], origin: str) -> None:
        content = request.content() if request.body else None
        uri = request.raw_path.decode("ascii")
        if request.query_string:
            uri += "?" + request.query_string.decode("latin-1")
        signed = x_matrix.signed_request(request.method, uri, origin, self._own_name, content)
        try:
            message = signed_bytes(signed)
        except BadJson as error:
            raise Refusal("M_BAD_JSON", f"The body can't be signed: {error}") from None
        now = self._now()
        keys = await self._key_ring.keys((origin, claim.key_id, now) for claim in claims)
        known = [
            (keys[origin, claim.key_id], claim.signature)
            for claim in claims
            if (origin, claim.key_id) in keys and keys[origin, claim.key_id].is_valid_at(now)
        ]
        if not known:
            raise _unauthorized(
                f"No valid key {claims[0].key_id} of {origin} can be found: this server asked {origin} for its keys, "
                "or did so a short while ago."
            )
        if not all(verify(key.public, message, signature) for key, signature in known):
            raise _unauthorized(
                f"The signature is false for {request.method} {uri[:500]}: a reverse proxy may have changed the path, "
                "or the body is not what was signed."
            )


def _unauthorized(error: str) -> Refusal:
    return Refusal("M_UNAUTHORIZED", error)
