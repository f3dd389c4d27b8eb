"""The rooms that a user is in."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.rooms.joined import UserRooms


@endpoint("GET", "/_matrix/client/v3/joined_rooms")
async def get_joined_rooms(request: Request, user_rooms: UserRooms) -> Answer:
    """The ids of the rooms that the requester is in."""
    memberships = await user_rooms.of(request.requester.user_id)
    return {"joined_rooms": [membership.room_id for membership in memberships.joined()]}
