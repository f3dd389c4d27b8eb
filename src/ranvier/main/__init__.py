"""The composition: roles, constructor calls in the order of the floors, listeners, signals."""

from ranvier.http.endpoints import Endpoint
from ranvier.main.process import serve
from ranvier.main.routing import find_endpoints


def routes() -> list[Endpoint]:
    """Every endpoint of this program."""
    return find_endpoints()


__all__ = ["routes", "serve"]
