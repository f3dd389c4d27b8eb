"""Sync (sync.yaml)."""

import asyncio

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.presence import ONLINE, STATES
from ranvier.protocol.refusal import invalid_param
from ranvier.sync import tokens
from ranvier.sync.filtering import Filters
from ranvier.sync.request import SyncRequest
from ranvier.sync.syncing import MAX_TIMEOUT, Syncing


@endpoint("GET", "/_matrix/client/v3/sync")
async def sync(request: Request, syncing: Syncing, filters: Filters) -> Answer:
    """What is new since a token, or everything without one."""
    requester = request.requester
    since = request.query("since")
    presence = request.query("set_presence") or ONLINE
    if presence not in STATES:
        raise invalid_param(f"'set_presence' must be one of {', '.join(STATES)}.")
    wanted = await filters.named(requester.user_id, request.query("filter"))
    _end_when_gone(request)
    answer = await syncing.sync(
        SyncRequest(
            requester.user_id,
            requester.device_id,
            tokens.parse(since) if since else None,
            wanted,
            full_state=request.query_bool("full_state"),
            use_state_after=request.query_bool("use_state_after"),
            timeout=request.query_int("timeout", 0, most=MAX_TIMEOUT),
            presence=presence,
        )
    )
    return Response(200, answer)


def _end_when_gone(request: Request) -> None:
    """Let a client that hangs up while it waits leave nothing behind; nothing that is written depends on the task."""
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        task.cancel()

    request.when_gone(end)
