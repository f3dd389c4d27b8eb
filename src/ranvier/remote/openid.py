"""Who an OpenID token of another server stands for (`openid.yaml`)."""

from ranvier.protocol.identifiers import BadIdentifier, parse_user_id
from ranvier.remote.client import FederationClient
from ranvier.remote.shapes import Shape

_MAX_ANSWER = 64 * 1024


async def exchange_open_id_token(client: FederationClient, destination: str, access_token: str) -> str:
    """The user of the token, who is one of the destination's. Raises RemoteFailure."""
    path = "/_matrix/federation/v1/openid/userinfo"
    query = [("access_token", access_token)]
    answer = await client.request(
        destination, "GET", path, query=query, sign=False, max_bytes=_MAX_ANSWER, urgent=True
    )
    shape = Shape(destination, answer)
    user_id = shape.text("sub")
    try:
        _, server_name = parse_user_id(user_id)
    except BadIdentifier as error:
        raise shape.bad(f"`sub`: {error}") from None
    if server_name != destination:
        raise shape.bad("`sub` is a user of another server.")
    return user_id
