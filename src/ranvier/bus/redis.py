"""Redis, or Valkey, as the channel. It keeps nothing: it may be gone, slow or restarted, and only time is lost."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ranvier.bus.channel import Hear

_WAITING: Final = 10_000
"""Messages that wait to be said; further ones are dropped."""
_AT_ONCE: Final = 500
_AGAIN_S: Final = 0.25
_LOOK_S: Final = 5.0
"""Without a word for so long, it is asked whether it is there."""
_PATIENCE_S: Final = 5.0

_log = logging.getLogger("ranvier.bus")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is. `path` is a Unix socket, and stands above host and port; with `tls`, files may be named."""

    host: str = "localhost"
    port: int = 6379
    path: Path | None = None
    username: str | None = None
    password: str | None = None
    dbid: int = 0
    tls: bool = False
    certificate: Path | None = None
    private_key: Path | None = None
    authorities: Path | None = None
    authorities_folder: Path | None = None

    def arguments(self) -> dict[str, Any]:
        """As redis-py names them."""
        found: dict[str, Any] = {"username": self.username, "password": self.password, "db": self.dbid}
        if self.path is not None:
            return {**found, "unix_socket_path": str(self.path)}
        found |= {"host": self.host, "port": self.port, "ssl": self.tls}
        files = {
            "ssl_certfile": self.certificate,
            "ssl_keyfile": self.private_key,
            "ssl_ca_certs": self.authorities,
            "ssl_ca_path": self.authorities_folder,
        }
        return found | {name: str(path) for name, path in files.items() if path is not None and self.tls}


class RedisChannel:
    """The channel of the server of this name: several servers may share one Redis."""

    def __init__(self, address: RedisAddress, server_name: str) -> None:
        self._prefix = f"ranvier/{server_name}/"
        self._address = address
        self._topics: dict[bytes, Hear] = {}
        self._back: list[Callable[[], None]] = []
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=_WAITING)
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._speaks = asyncio.Event()

    async def start(self) -> None:
        """Begin to hear."""
        self._tasks = [
            asyncio.create_task(self._keep(self._listen, "heard"), name="redis-listening"),
            asyncio.create_task(self._keep(self._speak, "spoken to"), name="redis-speaking"),
        ]

    async def stop(self) -> None:
        """Hear no more; what waits is said if that is soon done."""
        if not self._tasks:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AGAIN_S):
                while self._waiting and self._speaks.is_set():  # noqa: ASYNC110 - it is seldom and short
                    await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(self, topic: str, body: bytes) -> None:
        """Say it soon."""
        if self._speaks.is_set():
            self._waiting.append((self._prefix + topic, body))
            self._news.set()

    def subscribe(self, topic: str, hear: Hear) -> None:
        """Hear of a topic."""
        self._topics[(self._prefix + topic).encode()] = hear

    def when_back(self, call: Callable[[], None]) -> None:
        """After each new connection."""
        self._back.append(call)

    def _client(self) -> "Redis":
        return Redis(
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,
            **self._address.arguments(),
        )

    async def _keep(self, work: Callable[["Redis"], Any], verb: str) -> None:
        is_told = False
        while True:
            client = self._client()
            began = asyncio.get_running_loop().time()
            try:
                await work(client)
            except (RedisError, OSError, TimeoutError) as error:
                if asyncio.get_running_loop().time() - began > _PATIENCE_S:
                    is_told = False
                if not is_told:
                    _log.warning("Redis can't be %s; it is tried again", verb, extra={"error": str(error)})
                is_told = True
            except Exception:
                _log.exception("the connection to Redis met a fault; it is made anew")
            finally:
                with contextlib.suppress(Exception):
                    await client.aclose()
            await asyncio.sleep(_AGAIN_S)

    async def _listen(self, client: "Redis") -> None:
        heard = client.pubsub()
        try:
            await heard.subscribe(*self._topics)
            # Those who are told may want to say something.
            await self._speaks.wait()
            for call in self._back:
                call()
            silences = 0
            while silences < 2:
                silences = 0 if await self._hear(heard) else silences + 1
            raise TimeoutError("it does not answer")
        finally:
            with contextlib.suppress(Exception):
                await heard.aclose()  # type: ignore[no-untyped-call]

    async def _hear(self, heard: PubSub) -> bool:
        """Whether there was a word within the time."""
        message = await heard.get_message(timeout=_LOOK_S)
        if message is None:
            await heard.ping()
            return False
        hear = self._topics.get(message["channel"])
        if hear is not None and message["type"] == "message":
            try:
                hear(message["data"])
            except Exception:
                # Another version of this program may say it otherwise.
                _log.exception("what another process told could not be taken in")
        return True

    async def _speak(self, client: "Redis") -> None:
        await client.ping()
        self._waiting.clear()
        self._speaks.set()
        try:
            while True:
                if not self._waiting:
                    self._news.clear()
                    await self._news.wait()
                said = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                async with client.pipeline(transaction=False) as pipeline:
                    for channel, body in said:
                        pipeline.publish(channel, body)
                    await pipeline.execute()
        finally:
            self._speaks.clear()
