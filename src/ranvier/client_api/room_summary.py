"""What is told of one room."""

from ranvier.client_api.room_parameters import servers_of
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import not_found
from ranvier.rooms.aliases import Aliases
from ranvier.rooms.summaries import Summaries

_EARLY = "/_matrix/client/unstable/im.nheko.summary"


@endpoint("GET", "/_matrix/client/v1/room_summary/{roomIdOrAlias}", access="optional token")
@endpoint("GET", _EARLY + "/summary/{roomIdOrAlias}", access="optional token")
@endpoint("GET", _EARLY + "/rooms/{roomIdOrAlias}/summary", access="optional token")
async def get_room_summary(request: Request, summaries: Summaries, aliases: Aliases) -> Answer:
    """The summary, of this server or, for those who are logged in, of another that is in the room."""
    requester = request.requester_or_none
    target = await aliases.resolve(request.parameters["roomIdOrAlias"], servers_of(request))
    user_id = requester.user_id if requester is not None else None
    summary = await summaries.of(user_id, target.room_id, target.servers)
    if summary is None:
        raise not_found("There is no such room, or it is not for you.")
    return summary
