"""What this server runs on."""

from ranvier import __version__
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/federation/v1/version", access="open")
async def get_version(request: Request) -> Answer:
    """Tell name and version of the program."""
    return {"server": {"name": "Ranvier", "version": __version__}}
