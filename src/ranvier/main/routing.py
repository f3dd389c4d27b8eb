"""Which endpoints there are, and which resource of a listener each belongs to."""

import importlib
import pkgutil

from ranvier.http.endpoints import Endpoint, endpoints_of

_FLOORS = ("client_api", "admin_api", "federation_api")
_FEDERATION = ("/_matrix/federation/", "/_matrix/policy/")
_STATIC = ("/", "/_matrix/static/")
_MEDIA = ("/_matrix/media/", "/_matrix/client/v1/media/", "/_matrix/federation/v1/media/")


def find_endpoints() -> list[Endpoint]:
    """The endpoints of all modules of the API floors."""
    modules = []
    for floor in _FLOORS:
        try:
            package = importlib.import_module(f"ranvier.{floor}")
        except ModuleNotFoundError as error:
            if error.name != f"ranvier.{floor}":
                raise
            continue
        names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
        modules += [importlib.import_module(f"ranvier.{floor}.{name}") for name in names]
    return endpoints_of(modules)


def resources_of(endpoint: Endpoint) -> frozenset[str]:
    """The resources of a listener that the endpoint belongs to: any of them serves it."""
    path = endpoint.path
    if path == "/health":
        return frozenset({"health"})
    if path.startswith(_MEDIA):
        return frozenset({"media"})
    if path.startswith("/_matrix/key/"):
        return frozenset({"keys"})
    if path == "/_matrix/federation/v1/openid/userinfo":
        return frozenset({"openid"})
    if path == "/.well-known/matrix/server":
        return frozenset({"client", "federation"})
    if path in _STATIC:
        return frozenset({"client", "static"})
    return frozenset({"federation" if path.startswith(_FEDERATION) else "client"})
