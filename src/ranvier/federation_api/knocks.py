"""Knocks of other servers' users."""

from ranvier.federation.admission import Admission
from ranvier.federation.admitting import Templates
from ranvier.federation_api.answers import template_answer
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/federation/v1/make_knock/{roomId}/{userId}", access="server")
async def make_knock(request: Request, templates: Templates) -> Answer:
    """A knock for the peer to complete, sign and hand in."""
    return template_answer(
        await templates.knock(
            request.origin,
            request.parameters["roomId"],
            request.parameters["userId"],
            request.query_values("ver"),
        )
    )


@endpoint("PUT", "/_matrix/federation/v1/send_knock/{roomId}/{eventId}", access="server")
async def send_knock(request: Request, admission: Admission) -> Answer:
    """Take the knock in; answers what the room shows of itself."""
    state = await admission.knock(request.origin, request.parameters["roomId"], request.json())
    return {"knock_room_state": state}
