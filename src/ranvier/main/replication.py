"""What a worker asks the main process, where Synapse's form says that it is: whether both are of one server.

All that processes tell each other of rooms and users goes through the database and the bell. This finds a worker's
file that names another server's main process, or another secret, before anybody wonders.
"""

import hmac
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from ranvier.config.kinds import Secret
from ranvier.http.connection import Answer, Send
from ranvier.http.errors import response_of
from ranvier.http.request import Request
from ranvier.http.response import json_response
from ranvier.protocol.refusal import Refusal

PATH: Final = "/_synapse/replication/process"


@dataclass(frozen=True, slots=True)
class Identity:
    """A process; those of one server have one `generation`, which their database has."""

    server_name: str
    instance: str
    generation: str

    def as_json(self) -> dict[str, str]:
        """For the wire."""
        return {"server_name": self.server_name, "instance": self.instance, "generation": self.generation}


def replication_answer(me: Identity, secret: Secret | None) -> Answer:
    """What says who this process is: to whoever shows the secret, or without one to this machine alone."""
    expected = f"Bearer {secret.reveal().strip()}".encode() if secret is not None else None

    async def answer(request: Request, send: Send) -> None:
        if expected is not None:
            shown = (request.header(b"authorization") or "").encode()
            allowed = hmac.compare_digest(shown, expected)
        else:
            allowed = _is_here(request.client_address)
        if not allowed:
            await send(response_of(Refusal("M_FORBIDDEN", "This is for the workers of this server.")))
        elif request.method != "GET":
            await send(response_of(Refusal("M_UNRECOGNIZED", "Only GET is known here.", status=405)))
        else:
            await send(json_response(me.as_json()))

    return answer


def _is_here(address: str) -> bool:
    """Whether it is an address of this machine alone; one that is none is a Unix socket's."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return True
