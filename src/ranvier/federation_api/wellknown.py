"""Where other servers find this one, if port 443 of its own name leads to it."""

from dataclasses import dataclass

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.refusal import not_found


@dataclass(frozen=True, slots=True)
class ServerWellKnown:
    """The server name that is delegated to; None where nothing is served (`serve_server_wellknown`)."""

    m_server: str | None


@endpoint("GET", "/.well-known/matrix/server", access="open")
async def get_well_known(request: Request, well_known: ServerWellKnown) -> Answer:
    """Tell the address."""
    if well_known.m_server is None:
        raise not_found(
            "This server does not serve its address for federation: serve_server_wellknown is off."
        )
    return {"m.server": well_known.m_server}
