"""Asking the main process, from a worker. Loaded by workers alone."""

import asyncio
import contextlib
import http.client
import logging
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final

import orjson

from ranvier.config.kinds import Secret
from ranvier.config.process_records import ReplicationAddress
from ranvier.main.replication import PATH, Identity

_TIMEOUT_S: Final = 5.0
_MOST_BYTES: Final = 65_536
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0

_log = logging.getLogger("ranvier.main")


class MainProcess:
    """The main process, asked once it can be reached: nothing here waits for it."""

    def __init__(self, address: ReplicationAddress, secret: Secret | None, me: Identity) -> None:
        self._address = address
        self._secret = secret
        self._me = me
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask."""
        self._task = asyncio.create_task(self._ask(), name="main process")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _ask(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                status, answer = await asyncio.to_thread(fetch, self._address, self._secret)
                break
            except UnicodeError:
                _log.error("`worker_replication_secret` holds characters that no request can carry")
                return
            except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
                _log.log(
                    logging.INFO if pause == _FIRST_PAUSE_S else logging.WARNING,
                    "the main process can't be reached; nothing waits for it",
                    extra={"address": _shown(self._address), "error": str(error)},
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        self._judge(status, answer)

    def _judge(self, status: int, answer: Mapping[str, Any]) -> None:
        where = {"address": _shown(self._address)}
        if status == 200 and answer.get("generation") == self._me.generation:
            _log.info("the main process is there", extra=where)
        elif status == 200:
            _log.error(
                "what answers as the main process has another database; is `instance_map` right?",
                extra={**where, "server": answer.get("server_name")},
            )
        elif status == 403:
            _log.error("the main process knows another `worker_replication_secret`", extra=where)
        else:
            _log.error(
                "what answers at the main process's address is none; is `instance_map` right?",
                extra={**where, "status": status},
            )


def fetch(address: ReplicationAddress, secret: Secret | None) -> tuple[int, Mapping[str, Any]]:
    """The status, and what the process there says of itself; blocks, and raises as `http.client` does."""
    connection = _connection(address)
    try:
        headers = {"Authorization": f"Bearer {secret.reveal().strip()}"} if secret is not None else {}
        connection.request("GET", PATH, headers=headers)
        response = connection.getresponse()
        body = response.read(_MOST_BYTES)
        answer = orjson.loads(body) if response.status == 200 else {}
        return response.status, answer if isinstance(answer, dict) else {}
    finally:
        connection.close()


def _connection(address: ReplicationAddress) -> http.client.HTTPConnection:
    if address.path is not None:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.settimeout(_TIMEOUT_S)
        connection = http.client.HTTPConnection("localhost", timeout=_TIMEOUT_S)
        try:
            opened.connect(str(address.path))
        except OSError:
            opened.close()
            raise
        connection.sock = opened
        return connection
    if address.tls:
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(address.host, address.port, timeout=_TIMEOUT_S, context=context)
    return http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT_S)


def _shown(address: ReplicationAddress) -> str:
    return str(address.path) if address.path is not None else f"{address.host}:{address.port}"
