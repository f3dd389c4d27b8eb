"""Containers: a process group each, with a folder, an address and names of its own."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from complement.engine.addresses import HOST_ADDRESS, Addresses
from complement.engine.images import Image
from complement.engine.names import NameServer, hosts_file

PORTS = (8008, 8448)
"""Ports that every image exposes: the client API, and the federation API with TLS."""

_KILL_SECONDS = 10.0
_WITH_NAMES = """
mount --bind "$0" /etc/hosts && { [ -z "$1" ] || mount --bind "$1" /etc/resolv.conf; } && shift && exec "$@"
"""


class Conflict(Exception):
    """The container is not in a state for what was asked."""


@dataclass
class Container:
    """One container; `process` None: never started."""

    identifier: str
    name: str
    image: Image
    labels: dict[str, str]
    environment: dict[str, str]
    network: str
    aliases: tuple[str, ...]
    extra_names: dict[str, str]
    folder: Path
    address: str
    ports: dict[int, int] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    paused: bool = False
    name_server: asyncio.DatagramTransport | None = None

    @property
    def state(self) -> Path:
        """The files that it has written or was given."""
        return self.folder / "root"

    @property
    def log(self) -> Path:
        """What its processes printed, all starts in a row."""
        return self.folder / "log"

    @property
    def running(self) -> bool:
        """Whether its first process is alive."""
        return self.process is not None and self.process.returncode is None

    @property
    def status(self) -> str:
        """In the API's words."""
        if self.running:
            return "paused" if self.paused else "running"
        return "created" if self.process is None else "exited"

    def describe(self) -> dict[str, Any]:
        """As `GET /containers/ID/json` shows it."""
        bindings = {
            f"{inner}/tcp": [{"HostIp": HOST_ADDRESS, "HostPort": str(outer)}]
            for inner, outer in self.ports.items()
        }
        code = self.process.returncode if self.process is not None else None
        return {
            "Id": self.identifier,
            "Name": f"/{self.name}",
            "Image": self.image.identifier,
            "State": {
                "Status": self.status,
                "Running": self.running,
                "Paused": self.paused,
                "ExitCode": code or 0,
                "Pid": self.process.pid if self.running and self.process is not None else 0,
            },
            "Config": {"Image": self.image.identifier, "Labels": self.labels, "Volumes": None},
            "NetworkSettings": {
                "Ports": bindings if self.running else {},
                "Networks": {self.network: {"IPAddress": self.address, "Aliases": list(self.aliases)}},
            },
        }


class Containers:
    """All containers of one engine."""

    def __init__(self, folder: Path, addresses: Addresses, isolation: Sequence[str]) -> None:
        """`isolation`: the command that gives a process names of its own (`name_isolation`), or nothing."""
        self._folder = folder
        self._addresses = addresses
        self._isolation = tuple(isolation)
        self._containers: dict[str, Container] = {}

    def all(self) -> list[Container]:
        """Every container there is."""
        return list(self._containers.values())

    def find(self, reference: str) -> Container | None:
        """By identifier or name."""
        for container in self._containers.values():
            if reference in {container.identifier, container.name}:
                return container
        return None

    def create(
        self,
        name: str,
        image: Image,
        *,
        labels: Mapping[str, str],
        environment: Mapping[str, str],
        network: str,
        aliases: Sequence[str],
        extra_names: Mapping[str, str],
    ) -> Container:
        """Make a container with a copy of the image's files. Raises Conflict when the name is taken."""
        if name and self.find(name) is not None:
            raise Conflict(f"There is a container named {name} already.")
        identifier = secrets.token_hex(32)
        container = Container(
            identifier=identifier,
            name=name or identifier[:12],
            image=image,
            labels={**image.labels, **labels},
            environment=dict(environment),
            network=network,
            aliases=tuple(aliases),
            extra_names=dict(extra_names),
            folder=self._folder / identifier,
            address=self._addresses.next_address(),
        )
        container.folder.mkdir(parents=True)
        if image.folder is None:
            container.state.mkdir()
        else:
            shutil.copytree(image.folder, container.state)
            image.base.copied(image.identifier.removeprefix("sha256:"), identifier)
        self._containers[identifier] = container
        return container

    def names_for(self, container: Container) -> dict[str, str]:
        """What names mean to a container: its network's aliases and names, and those it was given."""
        peers = [other for other in self._containers.values() if other.network == container.network]
        names = {name: peer.address for peer in peers for name in (peer.name, *peer.aliases)}
        return {**names, **dict.fromkeys(container.aliases, container.address), **container.extra_names}

    async def start(self, container: Container) -> None:
        """Start the image's command; a container that runs already is left as it is."""
        if container.running:
            return
        container.ports = {port: self._addresses.next_port() for port in PORTS}
        self._write_names()
        resolv = await self._serve_names(container)
        command: list[str] = list(container.image.base.command)
        if self._isolation:
            hosts = str(container.folder / "hosts")
            command = [*self._isolation, "sh", "-c", _WITH_NAMES, hosts, str(resolv or ""), *command]
        with container.log.open("ab") as log:
            container.process = await asyncio.create_subprocess_exec(
                *command,
                env=self._environment_of(container),
                cwd=container.state,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        container.paused = False

    async def stop(self, container: Container, seconds: float) -> None:
        """Ask the processes to end, and kill what is left after `seconds`."""
        if not container.running or container.process is None:
            return
        if container.paused:
            self.unpause(container)
        with contextlib.suppress(ProcessLookupError):
            container.process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(container.process.wait(), seconds)
        await self.kill(container)

    async def kill(self, container: Container) -> None:
        """End the whole process group at once."""
        if container.process is not None:
            _signal_group(container.process.pid, signal.SIGKILL)
            await asyncio.wait_for(container.process.wait(), _KILL_SECONDS)
        container.paused = False
        if container.name_server is not None:
            container.name_server.close()
            container.name_server = None

    def pause(self, container: Container) -> None:
        """Stop all processes where they are; their sockets go on accepting, unanswered. Raises Conflict."""
        if not container.running or container.paused or container.process is None:
            raise Conflict(f"Container {container.name} is {container.status}.")
        _signal_group(container.process.pid, signal.SIGSTOP)
        container.paused = True

    def unpause(self, container: Container) -> None:
        """Let them go on. Raises Conflict."""
        if not container.paused or container.process is None:
            raise Conflict(f"Container {container.name} is not paused.")
        _signal_group(container.process.pid, signal.SIGCONT)
        container.paused = False

    async def remove(self, container: Container) -> None:
        """Kill it and drop its files."""
        await self.kill(container)
        self._containers.pop(container.identifier, None)
        shutil.rmtree(container.folder, ignore_errors=True)
        container.image.base.removed(container.identifier)

    async def remove_all(self) -> None:
        """End everything that was started here."""
        for container in self.all():
            await self.remove(container)

    def _environment_of(self, container: Container) -> dict[str, str]:
        passed = {key: os.environ[key] for key in ("PATH", "LANG", "TZ", "TMPDIR") if key in os.environ}
        ports = {f"HOST_PORT_{inner}": str(outer) for inner, outer in container.ports.items()}
        return {
            **passed,
            **container.environment,
            **container.image.base.environment(container.identifier),
            "CONTAINER_ROOT": str(container.state),
            "CONTAINER_ADDRESS": container.address,
            **ports,
        }

    def _write_names(self) -> None:
        # In place: the file is mounted over /etc/hosts, and a new one would not be seen there.
        for container in self._containers.values():
            (container.folder / "hosts").write_text(hosts_file(self.names_for(container)))

    async def _serve_names(self, container: Container) -> Path | None:
        """Start the container's name server; None where this user may not have port 53."""
        loop = asyncio.get_running_loop()
        try:
            container.name_server, _ = await loop.create_datagram_endpoint(
                lambda: NameServer(lambda: self.names_for(container)), local_addr=(container.address, 53)
            )
        except OSError:
            return None
        resolv = container.folder / "resolv.conf"
        resolv.write_text(f"nameserver {container.address}\noptions timeout:1 attempts:1\n")
        return resolv


def name_isolation() -> tuple[str, ...] | None:
    """The command in front of another that lets it have an /etc/hosts of its own; None where that is not allowed."""
    for command in (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount")):
        test = [*command, "sh", "-c", "mount --bind /etc/passwd /etc/hosts"]
        try:
            done = subprocess.run(test, capture_output=True, check=False)  # noqa: S603 - fixed words
        except FileNotFoundError:
            return None
        if done.returncode == 0:
            return command
    return None


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
