"""Reports to the administrators of this server."""

import msgspec

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.limits import Limits
from ranvier.http.request import Request
from ranvier.rooms.reports import Reports


class Complaint(msgspec.Struct):
    """Why something is reported; it may be blank."""

    reason: str


class EventComplaint(msgspec.Struct):
    """Why an event is reported. `score` is what older clients say of how bad it is, from -100 to 0."""

    reason: str | None = None
    score: int | None = None


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/report/{eventId}")
async def report_event(request: Request, reports: Reports, limits: Limits) -> Answer:
    """Report an event."""
    said = request.read(EventComplaint)
    limits.count("reports", request.requester.user_id)
    score = max(-100, min(0, said.score)) if said.score is not None else None
    parameters = request.parameters
    await reports.event(
        request.requester.user_id, parameters["roomId"], parameters["eventId"], said.reason, score
    )
    return {}


@endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/report", rate_limit="reports")
async def report_room(request: Request, reports: Reports) -> Answer:
    """Report a room."""
    reason = request.read(Complaint).reason
    await reports.room(request.requester.user_id, request.parameters["roomId"], reason)
    return {}


@endpoint("POST", "/_matrix/client/v3/users/{userId}/report", rate_limit="reports")
async def report_user(request: Request, reports: Reports) -> Answer:
    """Report a user."""
    reason = request.read(Complaint).reason
    await reports.user(request.requester.user_id, request.parameters["userId"], reason)
    return {}
