"""A server as the administrator's guide for Synapse draws it, of four processes: main, federation_reader and
federation_sender of Ranvier, and Redis; with Apache in front and PostgreSQL below. Snippets and ports are the guide's.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.authority import Authority
from tests.server import NO_LIMITS, free_port

CLIENT_PORT = 8008
READER_PORT = 32902
REPLICATION_PORT = 32993
REDIS_PORT = 32992
SENDER_METRICS, READER_METRICS, MAIN_METRICS = 32980, 32981, 32982
APACHE = "/usr/sbin/apache2"
MODULES = Path("/usr/lib/apache2/modules")

MAIN = f"""
listeners:
  - port: {CLIENT_PORT}
    tls: false
    type: http
    x_forwarded: true
    bind_addresses: ['127.0.0.1']
    resources:
      - names: [client, federation]
  - port: {REPLICATION_PORT}
    bind_address: '127.0.0.1'
    type: http
    resources:
     - names: [replication]
  - port: {MAIN_METRICS}
    type: metrics
    bind_address: '127.0.0.1'

# redis pub/sub main -> worker
redis:
    enabled: true
    port: {REDIS_PORT}

## Worker ##
worker_app: synapse.app.homeserver
daemonize: true

# disable federation sending here, use worker for it
send_federation: false
"""

READER = f"""
worker_app: synapse.app.generic_worker
worker_name: federation_reader

worker_replication_host: 127.0.0.1
worker_replication_http_port: {REPLICATION_PORT}

worker_listeners:
    - type: http
      port: {READER_PORT}
      bind_address: '127.0.0.1'
      resources:
          - names: 
            - client
            - federation
    - type: metrics
      port: {READER_METRICS}
      bind_address: '127.0.0.1'
"""  # noqa: W291 - as the guide prints it

SENDER = f"""
worker_app: synapse.app.federation_sender

# The replication listener on the synapse to talk to.
worker_replication_host: 127.0.0.1
worker_replication_http_port: {REPLICATION_PORT}

worker_listeners:
    - type: metrics
      port: {SENDER_METRICS}
      bind_address: '127.0.0.1'
"""

WORKER_PATHS = (
    "/_matrix/federation/v1/send/",
    "/_matrix/federation/v1/event/",
    "/_matrix/federation/v1/state/",
    "/_matrix/federation/v1/state_ids/",
    "/_matrix/federation/v1/backfill/",
    "/_matrix/federation/v1/get_missing_events/",
    "/_matrix/federation/v1/publicRooms",
    "/_matrix/federation/v1/query/",
    "/_matrix/federation/v1/make_join/",
    "/_matrix/federation/v1/make_leave/",
    "/_matrix/federation/v1/send_join/",
    "/_matrix/federation/v2/send_join/",
    "/_matrix/federation/v1/send_leave/",
    "/_matrix/federation/v2/send_leave/",
    "/_matrix/federation/v1/invite/",
    "/_matrix/federation/v2/invite/",
    "/_matrix/federation/v1/query_auth/",
    "/_matrix/federation/v1/event_auth/",
    "/_matrix/federation/v1/exchange_third_party_invite/",
    "/_matrix/federation/v1/user/devices/",
    "/_matrix/federation/v1/get_groups_publicised",
    "/_matrix/key/v2/query",
)
"""Those that the guide's proxy lines give to the worker, in its order."""

_APACHE_CONF = """
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.log
Mutex file:{folder}
User www-data
Group www-data
{modules}
SSLSessionCache none
Listen 127.0.0.1:{port}
Listen [::1]:{port}
<VirtualHost *:{port}>
        SSLEngine on
        ServerName localhost

        AllowEncodedSlashes NoDecode
{proxy_lines}
        ProxyPass /_matrix http://127.0.0.1:{client_port}/_matrix nocanon
        ProxyPassReverse /_matrix http://127.0.0.1:{client_port}/_matrix

        SSLCertificateFile {certificate}
        SSLCertificateKeyFile {key}
</VirtualHost>
"""
_MODULES = ("mpm_event", "authz_core", "ssl", "proxy", "proxy_http", "headers", "socache_shmcb")


def lacking() -> str | None:
    """What must be installed for the picture, or None."""
    if not Path(APACHE).exists():
        return "Apache is not installed (Debian: apt install apache2-bin)"
    if shutil.which("redis-server") is None:
        return "Redis is not installed (Debian: apt install redis-server)"
    return None


class Program:
    """One process of the picture; Ranvier's say when they are ready."""

    def __init__(self, name: str, folder: Path, *command: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, waits: bool = True, seconds: float = 60) -> None:
        """Start it; with `waits`, until it says READY=1."""
        path = self._folder / f"notify-{uuid.uuid4().hex[:6]}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard, self.log.open("ab") as log:
            heard.bind(str(path))
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={**os.environ, "NOTIFY_SOCKET": str(path)} if waits else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            if not waits:
                return
            heard.settimeout(0.2)
            deadline = time.monotonic() + seconds
            while True:
                with contextlib.suppress(TimeoutError):
                    assert heard.recv(100) == b"READY=1"
                    return
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"{self.name} did not start:\n{self.words()[-4000:]}")

    def words(self) -> str:
        """All that it wrote."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """SIGTERM, as Apache's children would outlive a SIGKILL; SIGKILL if that takes too long."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(20)
            self.kill()

    def stop(self, seconds: float = 40) -> int:
        """SIGTERM; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)


class Picture:
    """All of it. `programs` by name: redis, apache, main, federation_reader, federation_sender."""

    def __init__(self, folder: Path, authority: Authority, database: dict[str, Any]) -> None:
        self.folder = folder
        self.database: dict[str, Any] = database["args"]
        # Apache's children run as another user.
        folder.chmod(0o755)
        self.port = free_port()
        self.server_name = f"localhost:{self.port}"
        self.base_url = f"http://127.0.0.1:{CLIENT_PORT}"
        self.reader_url = f"http://127.0.0.1:{READER_PORT}"
        shared = self._write_shared(authority, database)
        apache = self._write_apache(authority)
        (folder / "federation_reader.yaml").write_text(READER)
        (folder / "federation_sender.yaml").write_text(SENDER)
        run = [sys.executable, "-m", "ranvier", "run", "-c", str(shared)]
        redis = ["redis-server", "--port", str(REDIS_PORT), "--bind", "127.0.0.1", "--save", ""]
        self.programs = {
            "redis": Program("redis", folder, *redis, "--dir", str(folder)),
            "apache": Program("apache", folder, APACHE, "-f", str(apache), "-DFOREGROUND"),
            "main": Program("main", folder, *run),
            **{
                name: Program(name, folder, *run, "-c", str(folder / f"{name}.yaml"))
                for name in ("federation_reader", "federation_sender")
            },
        }

    def _write_shared(self, authority: Authority, database: dict[str, Any]) -> Path:
        others = {
            "server_name": self.server_name,
            "report_stats": False,
            "database": database,
            "enable_metrics": True,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "federation_custom_ca_list": [str(authority.path)],
            "ip_range_whitelist": ["127.0.0.1/32", "::1/128"],
            "rc_federation": {"sleep_limit": 100_000, "concurrent": 1000, "reject_limit": 100_000},
            "trusted_key_servers": [],
            "allow_public_rooms_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "federation": {"destination_min_retry_interval": "1s", "destination_max_retry_interval": "2s"},
            "logging": {"level": "info", "format": "json"},
            **NO_LIMITS,
        }
        path = self.folder / "homeserver.yaml"
        path.write_text(yaml.safe_dump(others) + MAIN)
        return path

    def _write_apache(self, authority: Authority) -> Path:
        files = authority.issue("localhost")
        lines = [
            f'        ProxyPass "{path}" "http://127.0.0.1:{READER_PORT}{path}" nocanon'
            for path in WORKER_PATHS
        ]
        modules = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in _MODULES)
        path = self.folder / "apache.conf"
        path.write_text(
            _APACHE_CONF.format(
                folder=self.folder,
                modules=modules,
                port=self.port,
                client_port=CLIENT_PORT,
                proxy_lines="\n".join(lines),
                certificate=files.certificate,
                key=files.private_key,
            )
        )
        return path

    def start(self) -> None:
        """Start all, main first."""
        self.programs["redis"].start(waits=False)
        until(lambda: _answers(REDIS_PORT), "Redis answers")
        for name in ("main", "federation_reader", "federation_sender"):
            self.programs[name].start()
        self.programs["apache"].start(waits=False)
        until(lambda: _answers(self.port), "Apache answers")

    def stop(self) -> None:
        """End all."""
        for program in reversed(self.programs.values()):
            program.end()

    def logged(self, name: str, *levels: str) -> list[dict[str, Any]]:
        """What one of Ranvier's processes logged at these levels."""
        lines = [
            json.loads(line) for line in self.programs[name].words().splitlines() if line.startswith("{")
        ]
        return [line for line in lines if line["level"] in levels]

    def warnings(self, name: str) -> list[str]:
        """What one of Ranvier's processes said of its configuration when it started last."""
        return [line for line in self.programs[name].words().splitlines() if not line.startswith("{")]


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def alone_on_this_machine() -> Iterator[None]:
    """The ports are the guide's own, so two test runs take turns."""
    with Path("/tmp/ranvier-guide-picture.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    links = (str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}


def listening_addresses(pid: int) -> set[str]:
    """`ADDRESS:PORT` of all TCP sockets on which a process listens."""
    inodes = _sockets_of(pid)
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                address, _, port = words[1].partition(":")
                found.add(f"{_readable(address, family)}:{int(port, 16)}")
    return found


def connections_to(pid: int, port: int) -> int:
    """How many TCP connections a process has to a port."""
    inodes = _sockets_of(pid)
    count = 0
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            remote = int(words[2].rpartition(":")[2], 16)
            count += words[3] == "01" and words[9] in inodes and remote == port
    return count


def _readable(address: str, family: socket.AddressFamily) -> str:
    raw = bytes.fromhex(address)
    words = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return socket.inet_ntop(family, words)
