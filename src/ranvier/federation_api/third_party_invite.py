"""Invites by address, once it is known whose the address is."""

from typing import Any

import msgspec

from ranvier.federation.third_party_invites import ThirdPartyInvites
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits, address_key
from ranvier.http.request import Request


class Bound(msgspec.Struct):
    """A user has an address, and what that was invited to."""

    mxid: str
    invites: list[dict[str, Any]] = []


@endpoint("PUT", "/_matrix/federation/v1/exchange_third_party_invite/{roomId}", access="server")
async def exchange_third_party_invite(request: Request, invites: ThirdPartyInvites) -> Answer:
    """Make an invite of a user of an invite by address."""
    await invites.exchange(request.origin, request.parameters["roomId"], request.json())
    return {}


@endpoint("PUT", "/_matrix/federation/v1/3pid/onbind", access="open")
async def on_bind_third_party_identifier(
    request: Request, invites: ThirdPartyInvites, limits: Limits
) -> Answer:
    """An identity server found out whose an address is."""
    # Anybody may call this, and each call makes this server ask others.
    limits.count("other", address_key(request.client_address))
    body = request.read(Bound)
    await invites.bound(body.mxid, body.invites)
    return {}
