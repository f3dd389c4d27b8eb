"""What is no event, as transactions carry it: typing, receipts, presence (server-server API, "EDUs")."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ranvier.rooms.receipts import Receipt

Edu = dict[str, Any]


def typing_edu(room_id: str, user_id: str, *, typing: bool) -> Edu:
    """A user began to type, or stopped."""
    return _edu("m.typing", {"room_id": room_id, "user_id": user_id, "typing": typing})


def receipt_edus(receipts: Iterable[tuple[str, Receipt]]) -> list[Edu]:
    """Public receipts, each with its room's id, in as few EDUs as can hold them: one for a user and room in each."""
    contents: list[dict[str, dict[str, dict[str, Any]]]] = []
    for room_id, receipt in receipts:
        said: dict[str, Any] = {"event_ids": [receipt.event_id], "data": {"ts": receipt.ts}}
        if receipt.thread is not None:
            said["data"]["thread_id"] = receipt.thread
        for content in contents:
            if receipt.user_id not in content.get(room_id, {}).get(receipt.type, {}):
                break
        else:
            content = {}
            contents.append(content)
        content.setdefault(room_id, {}).setdefault(receipt.type, {})[receipt.user_id] = said
    return [_edu("m.receipt", content) for content in contents]


def presence_edu(updates: Sequence[Mapping[str, Any]]) -> Edu:
    """How users are."""
    return _edu("m.presence", {"push": list(updates)})


def device_edu(content: dict[str, Any]) -> Edu:
    """A device of a user changed."""
    return _edu("m.device_list_update", content)


def signing_key_edu(content: dict[str, Any]) -> Edu:
    """A user's cross-signing keys changed."""
    return _edu("m.signing_key_update", content)


def _edu(kind: str, content: dict[str, Any]) -> Edu:
    return {"edu_type": kind, "content": content}
