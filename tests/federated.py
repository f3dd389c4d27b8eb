"""Whole servers that speak with each other over TLS on this machine: `alpha` and `beta`.

    async def test_a_server_knows_the_other(alpha: Federated, beta: Federated):
        assert (await get_version(alpha.remote, beta.server_name)).name == "Ranvier"

Each is called `localhost:<port>` and listens there with a certificate of the tests' own authority. All requests that
they send are checked against the specification's server-server API, and so are the answers that they get.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.authority import Authority
from tests.http_client import CONTRACT
from tests.server import Server, configuration, free_port

from ranvier.main.process import Process
from ranvier.remote.client import FederationClient
from ranvier.remote.late import Late
from ranvier.remote.transport import Call, Opened

Part = TypeVar("Part")
API = "server-server"


class Judged:
    """A transport whose calls and answers keep to the specification; `calls` are those that were sent."""

    def __init__(self, below: Late) -> None:
        self._below = below
        self.calls: list[Call] = []

    @asynccontextmanager
    async def open(self, call: Call, timeout_s: float) -> AsyncIterator[Opened]:
        """Check the call, send it, check the answer."""
        self.calls.append(call)
        path, _, query = call.target.partition("?")
        CONTRACT.check_request(API, call.method, path, query, call.headers, call.body)
        async with self._below.open(call, timeout_s) as opened:
            if "json" not in opened.headers.get("content-type", "json"):
                yield opened
                return
            body = b"".join([piece async for piece in opened.pieces])
            CONTRACT.check_response(API, call.method, path, opened.status, opened.headers, body)

            async def again() -> AsyncIterator[bytes]:
                yield body

            yield Opened(opened.status, opened.headers, again())

    async def stop(self) -> None:
        """Close all connections."""
        await self._below.stop()


class Federated(Server):
    """A running server that others can reach."""

    @property
    def remote(self) -> FederationClient:
        """Asks other servers in this one's name."""
        return self.part(FederationClient)

    @property
    def calls(self) -> list[Call]:
        """What it asked other servers."""
        return self.part(Judged).calls

    def part(self, kind: type[Part]) -> Part:
        """The part of the composition of that type."""
        return self.composition.parts.get(kind)


def federation_settings(authority: Authority, **overrides: Any) -> dict[str, Any]:
    """Keys of the configuration of a server called `localhost:<port>` that speaks TLS there."""
    port = free_port()
    files = authority.issue("localhost")
    plain = {"port": 0, "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client", "federation"]}]}
    secure = {
        "port": port,
        "bind_addresses": ["127.0.0.1", "::1"],
        "tls": True,
        "resources": [{"names": ["federation"]}],
    }
    return {
        "server_name": f"localhost:{port}",
        "listeners": [plain, secure],
        "tls_certificate_path": str(files.certificate),
        "tls_private_key_path": str(files.private_key),
        "federation_custom_ca_list": [str(authority.path)],
        "ip_range_whitelist": ["127.0.0.1/32", "::1/128"],
        "rc_federation": {"sleep_limit": 100_000, "concurrent": 1000, "reject_limit": 100_000},
        "allow_public_rooms_over_federation": True,
        "federation": {"destination_min_retry_interval": "1s", "max_short_retries": 1},
        **overrides,
    }


async def start_federated(folder: Path, authority: Authority, **overrides: Any) -> Federated:
    """Start a server in the folder; `settings` of `federation_settings` may be given, for a second start."""
    given: Mapping[str, Any] = federation_settings(authority, **overrides)
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240
    config = configuration(folder, **given)
    process = await Process.start(config, around_network=Judged)
    return Federated(process, config)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that the servers of the tests trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def federation_overrides() -> dict[str, Any]:
    """Keys of the configuration that a module or a test wants otherwise: override this fixture."""
    return {}


@pytest.fixture
async def alpha(
    tmp_path: Path,
    authority: Authority,
    database_settings: dict[str, Any],
    federation_overrides: dict[str, Any],
) -> AsyncIterator[Federated]:
    """A running server, on each database."""
    made = await start_federated(
        tmp_path / "alpha", authority, database=database_settings, **federation_overrides
    )
    yield made
    await made.close()


@pytest.fixture
async def beta(
    tmp_path: Path, authority: Authority, federation_overrides: dict[str, Any]
) -> AsyncIterator[Federated]:
    """Another one, on SQLite."""
    made = await start_federated(tmp_path / "beta", authority, **federation_overrides)
    yield made
    await made.close()
