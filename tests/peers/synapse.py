"""Synapse as a peer: a process of its own that speaks TLS under the name `localhost:<port>`."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.authority import Authority
from tests.http_client import Client
from tests.server import NO_LIMITS, PASSWORD, UserClient, free_port, login, register

START_SECONDS = 120
IMPATIENCE = {
    "client_timeout": "20s",
    "destination_min_retry_interval": "1s",
    "destination_max_retry_interval": "2s",
    "max_short_retries": 1,
    "max_long_retries": 1,
    "max_long_retry_delay": "1s",
}
"""How soon it asks again a server that did not answer."""


class Synapse:
    """Start it, then register people; `log` is where it writes."""

    def __init__(self, python: Path, folder: Path, authority: Authority) -> None:
        self._python = python
        self._folder = folder
        self._client_port = free_port()
        port = free_port()
        self.server_name = f"localhost:{port}"
        self.base_url = f"http://127.0.0.1:{self._client_port}"
        self.log = folder / "output.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Client] = []
        self._configuration = self._configure(authority, port)

    def _configure(self, authority: Authority, port: int) -> Path:
        files = authority.issue("localhost")
        seed = base64.b64encode(os.urandom(32)).decode().rstrip("=")
        (self._folder / "signing.key").write_text(f"ed25519 a_peer {seed}\n")
        (self._folder / "log.yaml").write_text(json.dumps(_LOG))
        plain = {"port": self._client_port, "bind_addresses": ["127.0.0.1"], **_listener("client")}
        secure = {
            "port": port,
            "bind_addresses": ["127.0.0.1", "::1"],
            "tls": True,
            **_listener("client", "federation"),
        }
        settings: dict[str, Any] = {
            "server_name": self.server_name,
            "report_stats": False,
            "signing_key_path": str(self._folder / "signing.key"),
            "media_store_path": str(self._folder / "media"),
            "pid_file": str(self._folder / "synapse.pid"),
            "log_config": str(self._folder / "log.yaml"),
            "database": {"name": "sqlite3", "args": {"database": str(self._folder / "homeserver.db")}},
            "listeners": [plain, secure],
            "tls_certificate_path": str(files.certificate),
            "tls_private_key_path": str(files.private_key),
            "federation_custom_ca_list": [str(authority.path)],
            "federation_ip_range_blacklist": [],
            "ip_range_blacklist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "macaroon_secret_key": "peers",
            "form_secret": "peers",
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "bcrypt_rounds": 4,
            "presence": {"enabled": True},
            "allow_public_rooms_over_federation": True,
            "allow_device_name_lookup_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "rc_federation": {"window_size": 1000, "sleep_limit": 100_000, "reject_limit": 100_000},
            "federation_rr_transactions_per_room_per_second": 9999,
            "federation": IMPATIENCE,
            # An answer that is kept for retries would hide what came since.
            "caches": {"sync_response_cache_duration": 0},
            **NO_LIMITS,
        }
        path = self._folder / "homeserver.yaml"
        path.write_text(json.dumps(settings, indent=1))
        return path

    def start(self) -> None:
        """Start it, and wait for its first answer."""
        command = [str(self._python), "-m", "synapse.app.homeserver", "-c", str(self._configuration)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                words = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"Synapse did not start; its last words:\n{words}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/_matrix/client/versions", timeout=5):
                return True
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        """SIGTERM, then SIGKILL if that takes too long."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    async def away(self) -> None:
        """Be down until `back`."""
        await asyncio.to_thread(self.stop)

    async def back(self) -> None:
        """Be there again, on the same data."""
        await asyncio.to_thread(self.start)

    async def register(self, localpart: str, password: str = PASSWORD) -> UserClient:
        """A new account, and a client that is logged in with it."""
        return await self._enter(register, localpart, password)

    async def login(self, localpart: str, password: str = PASSWORD) -> UserClient:
        """Another device of an account."""
        return await self._enter(login, localpart, password)

    async def _enter(self, how: Any, localpart: str, password: str) -> UserClient:
        async with Client(self.base_url, judged=False) as nobody:
            entered = await how(nobody, localpart, password)
        made = UserClient(self.base_url, entered, judged=False)
        self._clients.append(made)
        return made

    async def close_clients(self) -> None:
        """At the end of a test."""
        clients, self._clients = self._clients, []
        for client in clients:
            await client.close()


_LOG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s"}},
    "filters": {"context": {"()": "synapse.logging.context.LoggingContextFilter", "request": ""}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["context"]}},
    "root": {"level": os.environ.get("RANVIER_TEST_SYNAPSE_LOG", "WARNING"), "handlers": ["stdout"]},
}


def _listener(*names: str) -> dict[str, Any]:
    return {"type": "http", "resources": [{"names": list(names), "compress": False}]}
