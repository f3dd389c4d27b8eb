"""The two servers behind one Protocol: the only place that knows how each is installed and started."""

import asyncio
import base64
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

from bench import requests
from bench.connection import Address, Connection
from bench.lifted_limits import LIFTED_LIMITS, UNLIMITED
from bench.postgresql import DATABASE_USER, Cluster, free_port

Database = Literal["sqlite", "postgres"]
SERVER_NAME = "bench.example"
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class ServerFailed(Exception):
    """A server could not be installed, did not start, died or did not stop; the sentence shows its log's end."""


@dataclass(frozen=True)
class Secure:
    """How others reach a server: as `localhost:<port>`, over TLS. The files are PEM; all trust the one authority."""

    port: int
    certificate: Path
    private_key: Path
    authority: Path

    @property
    def server_name(self) -> str:
        return f"localhost:{self.port}"

    def settings(self) -> dict[str, Any]:
        """Keys of the configuration, which both servers know."""
        return {
            "server_name": self.server_name,
            "tls_certificate_path": str(self.certificate),
            "tls_private_key_path": str(self.private_key),
            "federation_custom_ca_list": [str(self.authority)],
            "ip_range_whitelist": ["127.0.0.1/32", "::1/128"],
            "rc_federation": {"sleep_limit": 1_000_000, "reject_limit": 1_000_000, "concurrent": 1_000},
        }

    def listener(self) -> dict[str, Any]:
        """One of its own, beside the clients'."""
        return {
            "type": "http",
            "port": self.port,
            "bind_addresses": ["127.0.0.1", "::1"],
            "tls": True,
            "resources": [{"names": ["federation"], "compress": False}],
        }


class Server(Protocol):
    """One server under test."""

    name: str
    registration_secret: str
    secure: Secure | None

    @property
    def address(self) -> Address:
        """Where it listens; known once it was started."""

    @property
    def folder(self) -> Path:
        """Its data folder."""

    @property
    def pids(self) -> list[int]:
        """The server's own processes (their children are found from them)."""

    @property
    def database_pids(self) -> list[int]:
        """The database's processes; none with SQLite."""

    def install(self) -> str:
        """Make sure that it can be started, and answer its version."""

    async def start(self) -> float:
        """Start it and wait for its first answer: the seconds that took."""

    async def stop(self) -> None:
        """Ask it to end and wait until it has."""

    def kill(self) -> None:
        """End it at once, as a power cut would."""


class _Process:
    """What both servers have in common: a configuration file, one process, a log, a port."""

    def __init__(self, name: str, folder: Path, cluster: Cluster | None, secure: Secure | None) -> None:
        self.name = name
        self.secure = secure
        self.registration_secret = secrets.token_hex(16)
        self.folder = folder
        self.address = Address("127.0.0.1", free_port())
        self._cluster = cluster
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "output.log"

    @property
    def pids(self) -> list[int]:
        return [self._process.pid] if self._process else []

    @property
    def database_pids(self) -> list[int]:
        return self._cluster.pids if self._cluster else []

    async def start(self) -> float:
        if not self.folder.exists():
            self._prepare()
        begin = time.perf_counter()
        self._process = self._spawn()
        await self._first_answer(self._process, begin + START_SECONDS)
        return time.perf_counter() - begin

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise ServerFailed(f"{self.name} did not stop within {STOP_SECONDS:.0f} s of SIGTERM")
            await asyncio.sleep(0.01)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command(), stdout=log, stderr=log, cwd=self.folder)

    def _command(self) -> list[str]:
        raise ServerFailed(f"{self.name} has no command")

    def _configuration(self) -> dict[str, Any]:
        database: dict[str, Any] = {
            "name": "sqlite3",
            "args": {"database": str(self.folder / "homeserver.db")},
        }
        if self._cluster:
            database = {
                "name": "psycopg2",
                "args": {
                    "user": DATABASE_USER,
                    "dbname": self.name,
                    "host": self._cluster.host,
                    "port": self._cluster.port,
                    "cp_min": 5,
                    "cp_max": 10,
                },
            }
        return {
            "server_name": SERVER_NAME,
            "report_stats": False,
            "registration_shared_secret": self.registration_secret,
            "signing_key_path": str(self.folder / "signing.key"),
            "media_store_path": str(self.folder / "media_store"),
            "pid_file": str(self.folder / "server.pid"),
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "database": database,
            "listeners": [self._listener(), *([self.secure.listener()] if self.secure else [])],
            **LIFTED_LIMITS,
            **(self.secure.settings() if self.secure else {}),
        }

    def _listener(self) -> dict[str, Any]:
        return {
            "type": "http",
            "port": self.address.port,
            "bind_addresses": [self.address.host],
            "tls": False,
            "x_forwarded": False,
            "resources": [{"names": ["client"], "compress": False}],
        }

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True)
        if self._cluster:
            self._cluster.create(self.name)
        seed = base64.b64encode(os.urandom(32)).decode().rstrip("=")
        (self.folder / "signing.key").write_text(f"ed25519 a_bnch {seed}\n")
        (self.folder / "homeserver.yaml").write_text(yaml.safe_dump(self._configuration()))

    async def _first_answer(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        request = requests.build("GET", "/_matrix/client/versions")
        connection = Connection(self.address)
        while True:
            with contextlib.suppress(OSError):
                answer = await connection.ask(request)
                if answer.status == 200:
                    connection.close()
                    return
            if process.poll() is not None or time.perf_counter() > deadline:
                process.kill()
                raise ServerFailed(
                    f"{self.name} did not start: {self._log.read_text(errors='replace')[-1500:]}"
                )
            await asyncio.sleep(0.005)


class Synapse(_Process):
    """Synapse from the package index, in an environment of its own, one process."""

    REQUIREMENTS = ("matrix-synapse[postgres]~=1.163.0", "matrix-synapse[postgres]>=1.160,<1.170")

    def __init__(
        self, folder: Path, cluster: Cluster | None, environment: Path, secure: Secure | None = None
    ) -> None:
        super().__init__("synapse", folder, cluster, secure)
        self._environment = environment

    def install(self) -> str:
        """Install it into its environment unless it is there."""
        python = self._environment / "bin" / "python"
        version = [str(python), "-c", "import importlib.metadata as m; print(m.version('matrix-synapse'))"]
        if python.exists():
            found = subprocess.run(version, capture_output=True, text=True, check=False)
            if found.returncode == 0:
                return found.stdout.strip()
        subprocess.run([sys.executable, "-m", "venv", str(self._environment)], check=True)
        faults = ""
        for requirement in self.REQUIREMENTS:
            command = [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                requirement,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
            faults = done.stderr[-800:]
        raise ServerFailed(f"Synapse could not be installed into {self._environment}: {faults}")

    def _command(self) -> list[str]:
        configuration = str(self.folder / "homeserver.yaml")
        return [
            str(self._environment / "bin" / "python"),
            "-m",
            "synapse.app.homeserver",
            "-c",
            configuration,
        ]

    def _configuration(self) -> dict[str, Any]:
        return {**super()._configuration(), "log_config": str(self.folder / "log.yaml")}

    def _prepare(self) -> None:
        super()._prepare()
        (self.folder / "log.yaml").write_text(yaml.safe_dump(self._log_configuration()))

    def _log_configuration(self) -> dict[str, Any]:
        """As a generated configuration has it: level INFO, buffered, to a file."""
        return {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "precise": {
                    "format": "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s"
                }
            },
            "handlers": {
                "file": {
                    "class": "logging.handlers.TimedRotatingFileHandler",
                    "formatter": "precise",
                    "filename": str(self.folder / "homeserver.log"),
                    "when": "midnight",
                    "encoding": "utf8",
                },
                "buffer": {
                    "class": "synapse.logging.handlers.PeriodicallyFlushingMemoryHandler",
                    "target": "file",
                    "capacity": 10,
                    "flushLevel": 30,
                    "period": 5,
                },
            },
            "loggers": {"synapse.storage.SQL": {"level": "INFO"}},
            "root": {"level": "INFO", "handlers": ["buffer"]},
        }


class Ranvier(_Process):
    """Ranvier from this work tree, one process."""

    def __init__(
        self, folder: Path, cluster: Cluster | None, environment: Path, secure: Secure | None = None
    ) -> None:
        super().__init__("ranvier", folder, cluster, secure)
        self._environment = environment

    def install(self) -> str:
        """It is installed with the work tree; answer the version.

        Its modules are compiled, as an installer does with a package: a work tree's may not be.
        """
        program = self._environment / "bin" / "ranvier"
        if not program.exists():
            raise ServerFailed(f"{program} is missing: install the work tree with `pip install -e .` first")
        python = str(self._environment / "bin" / "python")
        compiled = "import compileall, ranvier; compileall.compile_dir(ranvier.__path__[0], quiet=2)"
        command = [python, "-c", f"{compiled}; print(ranvier.__version__)"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def _command(self) -> list[str]:
        program = str(self._environment / "bin" / "ranvier")
        return [program, "run", "--config", str(self.folder / "homeserver.yaml")]

    def _configuration(self) -> dict[str, Any]:
        return {**super()._configuration(), "enable_metrics": True, "rc_other": UNLIMITED}

    def _listener(self) -> dict[str, Any]:
        return {**super()._listener(), "resources": [{"names": ["client", "metrics"], "compress": False}]}


SERVERS = ("ranvier", "synapse")


def make(
    name: str, folder: Path, cluster: Cluster | None, tree: Path, secure: Secure | None = None
) -> Server:
    """The server of this name, with its data under `folder`; `tree` is the work tree's root.

    With `secure` other servers reach it too.
    """
    if name == "synapse":
        return Synapse(folder, cluster, tree / ".cache" / "synapse", secure)
    return Ranvier(folder, cluster, tree / ".venv", secure)
