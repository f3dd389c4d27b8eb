"""A homeserver as a process of its own that can be started, killed and started again on the same data."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import yaml

ROOT = Path(__file__).parents[2]
# Which server is tested: "ranvier" (the default), or "synapse" to try the tests themselves.
SERVER_KIND = "RANVIER_TEST_SERVER"
# The Python that has Synapse installed.
SYNAPSE_PYTHON = "RANVIER_TEST_SYNAPSE_PYTHON"
START_SECONDS = 60


_SYNCS = itertools.count(1)


def uncached() -> str:
    """A query for a sync that no earlier one has asked: a server may answer the same question from its cache."""
    return "filter=" + quote(json.dumps({"room": {"timeline": {"limit": next(_SYNCS)}}}))


class HomeserverProcess(Protocol):
    """What the tests need of a server, whatever it is."""

    @property
    def base_url(self) -> str: ...

    @property
    def server_name(self) -> str: ...

    @property
    def resumes_work(self) -> bool:
        """Whether what follows from an answer, but isn't promised by it, goes on at once after a death."""

    def start(self) -> None:
        """Returns once the server answers; raises RuntimeError with its last words when it doesn't."""

    def kill(self) -> None:
        """SIGKILL, as when the machine's power fails; returns when the process is gone."""

    def stop(self) -> None:
        """SIGTERM, then SIGKILL if it takes too long."""

    def register_by_shared_secret(
        self, username: str, password: str, *, admin: bool = False
    ) -> dict[str, Any]:
        """Makes an account through the registration endpoint for administrators; gives its answer."""

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        """A request outside of any SDK: the status and the answer's JSON."""

    def fetch(self, path: str, token: str) -> tuple[int, bytes]:
        """A file: the status and the octets."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class _ConfiguredProcess:
    """A server that reads Synapse's configuration vocabulary."""

    def __init__(self, folder: Path, overrides: Mapping[str, Any]) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.server_name = "clients.test"
        self._secret = "a secret for registrations"
        self._config = folder / "homeserver.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(yaml.safe_dump({**self._settings(), **overrides}), encoding="utf-8")

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _settings(self) -> dict[str, Any]:
        unlimited = {"per_second": 10_000, "burst_count": 10_000}
        return {
            "server_name": self.server_name,
            "public_baseurl": f"{self.base_url}/",
            "listeners": [
                {
                    "port": self._port,
                    "type": "http",
                    "bind_addresses": ["127.0.0.1"],
                    "resources": [{"names": ["client"]}],
                }
            ],
            "database": {"name": "sqlite3", "args": {"database": str(self._folder / "homeserver.db")}},
            "media_store_path": str(self._folder / "media"),
            "signing_key_path": str(self._folder / "signing.key"),
            "report_stats": False,
            "trusted_key_servers": [],
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "registration_shared_secret": self._secret,
            "default_room_version": "12",
            "rc_message": unlimited,
            "rc_registration": unlimited,
            "rc_registration_token_validity": unlimited,
            "rc_login": {"address": unlimited, "account": unlimited, "failed_attempts": unlimited},
            "rc_joins": {"local": unlimited, "remote": unlimited},
            "rc_joins_per_room": unlimited,
            "rc_invites": {"per_room": unlimited, "per_user": unlimited, "per_issuer": unlimited},
            "rc_media_create": unlimited,
            "rc_media": unlimited,
            "rc_other": unlimited,
            "rc_presence": {"per_user": unlimited},
            "rc_room_creation": unlimited,
        }

    def _command(self) -> Sequence[str]:
        raise AssertionError("each kind of server has its own command")

    def start(self) -> None:
        log = (self._folder / "server.log").open("ab")
        self._process = subprocess.Popen(
            self._command(), cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        deadline = time.monotonic() + START_SECONDS
        while not self._is_answering():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server did not start; its last words:\n{self._last_words()}")
            time.sleep(0.05)

    def _is_answering(self) -> bool:
        try:
            return self.ask("GET", "/_matrix/client/versions")[0] == 200
        except OSError:
            return False

    def _last_words(self) -> str:
        return (self._folder / "server.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
            self._process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        status, answer = self._request(
            method, path, None if body is None else json.dumps(body).encode(), token
        )
        return status, json.loads(answer)

    def fetch(self, path: str, token: str) -> tuple[int, bytes]:
        return self._request("GET", path, None, token)

    def _request(self, method: str, path: str, body: bytes | None, token: str | None) -> tuple[int, bytes]:
        request = urllib.request.Request(self.base_url + path, data=body, method=method)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read()

    def register_by_shared_secret(
        self, username: str, password: str, *, admin: bool = False
    ) -> dict[str, Any]:
        status, challenge = self.ask("GET", "/_synapse/admin/v1/register")
        assert status == 200, challenge
        words = [challenge["nonce"], username, password, "admin" if admin else "notadmin"]
        mac = hmac.new(self._secret.encode(), "\0".join(words).encode(), hashlib.sha1).hexdigest()
        account = {
            "nonce": challenge["nonce"],
            "username": username,
            "password": password,
            "admin": admin,
            "mac": mac,
        }
        status, answer = self.ask("POST", "/_synapse/admin/v1/register", account)
        assert status == 200, answer
        return dict(answer)


class RanvierProcess(_ConfiguredProcess):
    """The server of this project, from the environment that runs the tests."""

    resumes_work = True

    def _command(self) -> Sequence[str]:
        return [str(Path(sys.executable).parent / "ranvier"), "run", "--config", str(self._config)]


class SynapseProcess(_ConfiguredProcess):
    """Synapse, to see that the tests ask nothing of a server that the established one doesn't do."""

    # COMPAT(Synapse 1.163): a display name that was answered may not reach the rooms after a death.
    resumes_work = False

    def __init__(self, folder: Path, overrides: Mapping[str, Any]) -> None:
        super().__init__(folder, overrides)
        subprocess.run([*self._command(), "--generate-keys"], check=True, capture_output=True, cwd=folder)

    def _command(self) -> Sequence[str]:
        python = os.environ.get(SYNAPSE_PYTHON, str(ROOT / ".cache" / "synapse-clients" / "bin" / "python"))
        return [python, "-m", "synapse.app.homeserver", "--config-path", str(self._config)]


def new_homeserver(folder: Path, **overrides: Any) -> HomeserverProcess:
    """A server of the kind under test with data of its own, not yet started."""
    kind = os.environ.get(SERVER_KIND, "ranvier")
    kinds: dict[str, type[RanvierProcess] | type[SynapseProcess]] = {
        "ranvier": RanvierProcess,
        "synapse": SynapseProcess,
    }
    return kinds[kind](folder, overrides)
