"""What of a request arrives here: for this server's own test of the way from outside to it."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request


@endpoint("GET", "/_matrix/federation/unstable/org.ranvier/echo/{text}", access="self")
async def echo(request: Request) -> Answer:
    """Tell path and query as they came, and the parameter as it was understood."""
    query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
    return {"uri": request.raw_path.decode("ascii") + query, "text": request.parameters["text"]}
