"""Joins of other servers' users: handed in."""

from ranvier.federation.admission import Admission
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response


@endpoint("PUT", "/_matrix/federation/v2/send_join/{roomId}/{eventId}", access="server")
async def send_join_v2(request: Request, admission: Admission) -> Answer:
    """Take the join in; answers what the room is for one who enters."""
    omit_members = request.query_bool("omit_members")
    body = await admission.join(request.origin, request.parameters["roomId"], request.json(), omit_members)
    return Response(200, body)


@endpoint("PUT", "/_matrix/federation/v1/send_join/{roomId}/{eventId}", access="server")
async def send_join_v1(request: Request, admission: Admission) -> Answer:
    """The same in the form that the specification had until version 1.18, for older peers."""
    body = await admission.join(request.origin, request.parameters["roomId"], request.json(), False)
    return Response(200, b"[200,%b]" % body)
