"""Where the listeners of the configuration listen."""

import socket

from ranvier.config import Listener
from ranvier.http.listening import Address


def addresses_of(listener: Listener, number: int = 1) -> list[Address]:
    """Where a listener listens; the metrics of the `number`th of several equal processes have a port of their own."""
    if listener.path is not None:
        return [Address(path=listener.path)]
    assert listener.port is not None
    hosts = listener.addresses or (("::", "0.0.0.0") if socket.has_dualstack_ipv6() else ("0.0.0.0",))  # noqa: S104
    port = listener.port
    if listener.kind == "metrics" and port:
        port += number - 1
    return [Address(host, port) for host in hosts]
