"""Leaves of other servers' users: handed in."""

from ranvier.federation.admission import Admission
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("PUT", "/_matrix/federation/v2/send_leave/{roomId}/{eventId}", access="server")
async def send_leave_v2(request: Request, admission: Admission) -> Answer:
    """Take the leave in."""
    await admission.leave(request.origin, request.parameters["roomId"], request.json())
    return {}
