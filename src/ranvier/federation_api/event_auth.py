"""What an event's authority rests on."""

from ranvier.federation.serving import Serving
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/federation/v1/event_auth/{roomId}/{eventId}", access="server")
async def get_event_auth(request: Request, serving: Serving) -> Answer:
    """The whole auth chain of an event."""
    room_id, event_id = request.parameters["roomId"], request.parameters["eventId"]
    return {"auth_chain": await serving.auth_chain(request.origin, room_id, event_id)}
