"""This server in a container."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from bench.lifted_limits import UNLIMITED

from complement.servers.certificate import make_certificate
from complement.servers.child import run_child
from complement.servers.settings import make_settings
from complement.servers.surroundings import CLIENT_PORT, FEDERATION_PORT, Surroundings
from complement.servers.tls import Terminator


def write_configuration(here: Surroundings) -> Path:
    """The configuration file; JSON is YAML."""
    listeners = [_listener(address, port) for address, port in here.sockets(CLIENT_PORT)]
    settings = {
        **make_settings(here),
        "rc_media": UNLIMITED,
        "rc_other": UNLIMITED,
        "allow_device_name_lookup_over_federation": True,
        "listeners": listeners,
    }
    path = here.data / "homeserver.yaml"
    path.write_text(json.dumps(settings, indent=1))
    return path


def _listener(address: str, port: int) -> dict[str, Any]:
    resources = [{"names": ["client", "federation"]}]
    return {"type": "http", "port": port, "bind_addresses": [address], "resources": resources}


async def run() -> int:
    """Start the server and, as it leaves TLS to a reverse proxy, one of these; answers the exit status."""
    here = Surroundings.read()
    configuration = write_configuration(here)
    certificate, key = make_certificate(here.server_name, here.authority, here.data)
    address, port = here.sockets(CLIENT_PORT)[0]
    inner = address if address != "0.0.0.0" else "127.0.0.1"  # noqa: S104 - compared, not bound
    await Terminator(certificate, key, (inner, port)).listen(here.sockets(FEDERATION_PORT))
    return await run_child(
        [sys.executable, "-m", "ranvier", "run", "--config", str(configuration)], here.data
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(run()))
