"""Requests of the client-server API as bytes, built before the clock runs."""

from typing import Any
from urllib.parse import quote, urlencode

import orjson

CLIENT = "/_matrix/client/v3"


def build(method: str, path: str, *, token: str | None = None, body: Any = None) -> bytes:
    """One whole HTTP/1.1 request; `path` is already percent-encoded, `body` goes out as JSON."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench.example"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    content = b""
    if body is not None:
        content = orjson.dumps(body)
        lines.append("Content-Type: application/json")
    if body is not None or method in {"POST", "PUT"}:
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def room_path(room_id: str) -> str:
    return f"{CLIENT}/rooms/{quote(room_id, safe='')}"


def send_message(token: str, room_id: str, transaction: str, text: str) -> bytes:
    path = f"{room_path(room_id)}/send/m.room.message/{quote(transaction, safe='')}"
    return build("PUT", path, token=token, body={"msgtype": "m.text", "body": text})


def sync(
    token: str, *, since: str | None = None, timeout_ms: int = 0, filter_json: str | None = None
) -> bytes:
    query: dict[str, str | int] = {"timeout": timeout_ms}
    if since is not None:
        query["since"] = since
    if filter_json is not None:
        query["filter"] = filter_json
    return build("GET", f"{CLIENT}/sync?{urlencode(query)}", token=token)


def messages(token: str, room_id: str, *, limit: int, start: str | None = None) -> bytes:
    """A page backwards in time from `start`, or from the newest event."""
    query: dict[str, str | int] = {"dir": "b", "limit": limit}
    if start is not None:
        query["from"] = start
    return build("GET", f"{room_path(room_id)}/messages?{urlencode(query)}", token=token)


def create_room(token: str, **options: Any) -> bytes:
    return build("POST", f"{CLIENT}/createRoom", token=token, body=options)


def join(token: str, room_id: str) -> bytes:
    return build("POST", f"{room_path(room_id)}/join", token=token, body={})


def receipt(token: str, room_id: str, event_id: str) -> bytes:
    return build(
        "POST", f"{room_path(room_id)}/receipt/m.read/{quote(event_id, safe='')}", token=token, body={}
    )


def typing(token: str, room_id: str, user_id: str, *, active: bool) -> bytes:
    body: dict[str, Any] = {"typing": active}
    if active:
        body["timeout"] = 30_000
    return build("PUT", f"{room_path(room_id)}/typing/{quote(user_id, safe='')}", token=token, body=body)


def state_event(token: str, room_id: str, event_type: str) -> bytes:
    return build("GET", f"{room_path(room_id)}/state/{event_type}/", token=token)


def joined_members(token: str, room_id: str) -> bytes:
    return build("GET", f"{room_path(room_id)}/joined_members", token=token)


def joined_rooms(token: str) -> bytes:
    return build("GET", f"{CLIENT}/joined_rooms", token=token)


def whoami(token: str) -> bytes:
    return build("GET", f"{CLIENT}/account/whoami", token=token)


def login(localpart: str, password: str) -> bytes:
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": localpart},
        "password": password,
    }
    return build("POST", f"{CLIENT}/login", body=body)
