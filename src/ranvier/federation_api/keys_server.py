"""This server's own public keys."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol import canonical_json
from ranvier.remote.own_keys import OwnKeys


@endpoint("GET", "/_matrix/key/v2/server", access="open")
@endpoint("GET", "/_matrix/key/v2/server/{keyId}", access="open")
async def get_server_key(request: Request, own: OwnKeys) -> Answer:
    """Publish all keys; the older form of the path, which names one, gives them all too."""
    # In the form that is signed, so that whoever leaves out the signatures can check them on the bytes.
    return Response(200, canonical_json.encode(own.document()))
