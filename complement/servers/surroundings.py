"""What the suite, or the engine, tells a container."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CLIENT_PORT, FEDERATION_PORT = 8008, 8448
SHARED_SECRET = "complement"  # noqa: S105 - the suite expects this one
HOST_ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Surroundings:
    """`root` is what the container takes for its file system's root; `host_ports` are where the host reaches it."""

    server_name: str
    root: Path
    address: str
    host_ports: Mapping[int, int]
    database_url: str | None

    @classmethod
    def read(cls) -> "Surroundings":
        """From the environment; without an engine's words, as in Docker, it is the machine's root and all addresses."""
        ports = {
            port: int(os.environ[f"HOST_PORT_{port}"])
            for port in (CLIENT_PORT, FEDERATION_PORT)
            if f"HOST_PORT_{port}" in os.environ
        }
        return cls(
            server_name=os.environ["SERVER_NAME"],
            root=Path(os.environ.get("CONTAINER_ROOT", "/")),
            address=os.environ.get("CONTAINER_ADDRESS", "0.0.0.0"),  # noqa: S104 - a container's own network
            host_ports=ports,
            database_url=os.environ.get("DATABASE_URL"),
        )

    @property
    def data(self) -> Path:
        """Where the server keeps what it writes; it is there."""
        folder = self.root / "data"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def authority(self) -> Path:
        """The folder of the suite's certificate authority (ca.crt, ca.key)."""
        return self.root / "complement" / "ca"

    @property
    def registrations(self) -> list[Path]:
        """The registration files of application services."""
        return sorted((self.root / "complement" / "appservice").glob("*.yaml"))

    def sockets(self, port: int) -> list[tuple[str, int]]:
        """Addresses and ports at which a port of the container is to be served."""
        outer = self.host_ports.get(port)
        return [(self.address, port), *([(HOST_ADDRESS, outer)] if outer is not None else [])]
