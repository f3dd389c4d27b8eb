"""Joins of other servers' users: the template."""

from ranvier.federation.admitting import Templates
from ranvier.federation_api.answers import template_answer
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}", access="server")
async def make_join(request: Request, templates: Templates) -> Answer:
    """A join for the peer to complete, sign and hand in."""
    return template_answer(
        await templates.join(
            request.origin,
            request.parameters["roomId"],
            request.parameters["userId"],
            request.query_values("ver"),
        )
    )
