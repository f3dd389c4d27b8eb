"""The composition: roles, constructor calls in the order of the floors, listeners, signals, supervision."""

from ranvier.http.endpoints import Endpoint


def routes() -> list[Endpoint]:
    """Every endpoint of this program."""
    from ranvier.main.routing import find_endpoints  # noqa: PLC0415 - a supervisor does not load the whole server

    return find_endpoints()


__all__ = ["routes"]
