"""Leaves of other servers' users: the template, and the older form of handing in."""

from ranvier.federation.admission import Admission
from ranvier.federation.admitting import Templates
from ranvier.federation_api.answers import template_answer
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response


@endpoint("GET", "/_matrix/federation/v1/make_leave/{roomId}/{userId}", access="server")
async def make_leave(request: Request, templates: Templates) -> Answer:
    """A leave for the peer to complete, sign and hand in."""
    room_id, user_id = request.parameters["roomId"], request.parameters["userId"]
    return template_answer(await templates.leave(request.origin, room_id, user_id))


@endpoint("PUT", "/_matrix/federation/v1/send_leave/{roomId}/{eventId}", access="server")
async def send_leave_v1(request: Request, admission: Admission) -> Answer:
    """Take the leave in, in the form for older peers."""
    await admission.leave(request.origin, request.parameters["roomId"], request.json())
    return Response(200, b"[200,{}]")
