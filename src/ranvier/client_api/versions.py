"""Versions of the specification that this server speaks."""

from ranvier.accounts.discovery import Discovery
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/client/versions", access="optional token")
async def get_versions(request: Request, discovery: Discovery) -> Answer:
    """Tell the versions, and what is built of proposals."""
    return {"versions": list(discovery.versions), "unstable_features": dict(discovery.unstable_features)}
