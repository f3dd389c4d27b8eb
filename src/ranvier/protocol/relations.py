"""How events relate to one another: replies, edits, threads, references, annotations.

Relationships that don't have the form of the specification are ignored, as if they weren't there.

Source: Client-Server API, "Forming relationships between events" and the modules on event replacements,
threading, reference relations and rich replies.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from ranvier.protocol.events import Event

REPLACE: Final = "m.replace"
THREAD: Final = "m.thread"
REFERENCE: Final = "m.reference"
ANNOTATION: Final = "m.annotation"

MAX_THREAD_HOPS: Final = 3
"""So many relationships are followed to find out to which thread an event belongs ("Threaded read
receipts").
"""

MAIN_TIMELINE: Final = "main"
"""The thread_id of what belongs to no thread."""

_MAX_ID_BYTES: Final = 255


@dataclass(frozen=True, slots=True)
class Relation:
    """What a child event says of its parent. `key` is only given for annotations."""

    rel_type: str
    event_id: str
    key: str | None = None


def relation_of(content: Mapping[str, Any]) -> Relation | None:
    """The relationship that an event's content forms, if any. A mere reply has no rel_type and forms none."""
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, dict):
        return None
    rel_type, event_id = relates_to.get("rel_type"), relates_to.get("event_id")
    if (
        not isinstance(rel_type, str)
        or not 0 < len(rel_type.encode()) <= _MAX_ID_BYTES
        or "\0" in rel_type
        or not _is_event_id(event_id)
    ):
        return None
    if rel_type != ANNOTATION:
        return Relation(rel_type, event_id)
    key = relates_to.get("key")
    return Relation(rel_type, event_id, key) if isinstance(key, str) and "\0" not in key else None


def replied_event_of(content: Mapping[str, Any]) -> str | None:
    """The event to which this one replies, if any, be it a reply of its own or the fallback of a thread."""
    relates_to = content.get("m.relates_to")
    reply = relates_to.get("m.in_reply_to") if isinstance(relates_to, dict) else None
    event_id = reply.get("event_id") if isinstance(reply, dict) else None
    return event_id if _is_event_id(event_id) else None


def _is_event_id(value: object) -> TypeGuard[str]:
    return (
        isinstance(value, str)
        and value.startswith("$")
        and 1 < len(value.encode()) <= _MAX_ID_BYTES
        and "\0" not in value
    )


# Threads


def thread_root_of(content: Mapping[str, Any]) -> str | None:
    """The root of the thread in which the event stands by its own relationship."""
    relation = relation_of(content)
    return relation.event_id if relation is not None and relation.rel_type == THREAD else None


def may_root_thread(content: Mapping[str, Any]) -> bool:
    """Whether a thread may be started from the event: not if it is itself the child of a relationship."""
    return relation_of(content) is None


def find_thread(event_id: str, relation_to: Callable[[str], Relation | None]) -> str:
    """The thread_id of an event: its thread's root, or `MAIN_TIMELINE`.

    `relation_to` gives the relationship of an event by its ID. The root itself, and what relates to the root
    in another way than by a thread, belong to the main timeline.
    """
    for _ in range(MAX_THREAD_HOPS):
        relation = relation_to(event_id)
        if relation is None:
            break
        if relation.rel_type == THREAD:
            return relation.event_id
        event_id = relation.event_id
    return MAIN_TIMELINE


# Edits


def is_valid_edit(original: "Event", edit: "Event") -> bool:
    """Whether one event validly replaces the other ("Validity of replacement events")."""
    relation = relation_of(edit.content)
    original_relation = relation_of(original.content)
    return (
        relation is not None
        and relation.rel_type == REPLACE
        and relation.event_id == original.event_id
        and edit.room_id == original.room_id
        and edit.sender == original.sender
        and edit.type == original.type
        and edit.state_key is None
        and original.state_key is None
        and (original_relation is None or original_relation.rel_type != REPLACE)
        # The new content of an encrypted event is inside, where no server can see it.
        and (edit.type == "m.room.encrypted" or isinstance(edit.content.get("m.new_content"), dict))
    )


def latest_edit(original: "Event", edits: Iterable["Event"]) -> "Event | None":
    """The most recent of the valid edits: by timestamp, then by event ID."""
    valid = (edit for edit in edits if is_valid_edit(original, edit))
    return max(valid, key=lambda edit: (edit.origin_server_ts, edit.event_id), default=None)


def apply_edit(original: Mapping[str, Any], edit: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an event as its edit leaves it, which clients show and search should find.

    `m.new_content` takes the place of everything but the original's own `m.relates_to`. An edit without it
    changes nothing.
    """
    new_content = edit.get("m.new_content")
    if not isinstance(new_content, dict):
        return dict(original)
    edited = {key: value for key, value in new_content.items() if key != "m.relates_to"}
    if "m.relates_to" in original:
        edited["m.relates_to"] = original["m.relates_to"]
    return edited


# Annotations


def is_annotatable(content: Mapping[str, Any]) -> bool:
    """Whether annotations of the event count: those of an annotation or an edit are ignored."""
    relation = relation_of(content)
    return relation is None or relation.rel_type not in (ANNOTATION, REPLACE)


def annotation_identity(event: "Event") -> tuple[str, str, str, str] | None:
    """What one user may say of an event only once: (parent, sender, type, key). None if this is no
    annotation.

    Source: "Avoiding duplicate annotations", M_DUPLICATE_ANNOTATION.
    """
    relation = relation_of(event.content)
    if relation is None or relation.rel_type != ANNOTATION or relation.key is None:
        return None
    return relation.event_id, event.sender, event.type, relation.key


# Bundled aggregations


@dataclass(frozen=True, slots=True)
class ThreadSummary:
    """A thread as its root shows it to one user, events of ignored users left out.

    `latest_event` is the most recent event as that user's client gets it: a dict, or `orjson.Fragment` of its
    bytes.
    """

    latest_event: Any
    count: int
    current_user_participated: bool


def participated(user_id: str, root_sender: str, thread_senders: Iterable[str]) -> bool:
    """Whether the user sent the root of a thread or any event in it."""
    return user_id == root_sender or user_id in thread_senders


def bundle_relations(
    parent: "Event",
    *,
    redacted: bool = False,
    edit: Any = None,
    thread: ThreadSummary | None = None,
    references: Iterable[str] = (),
) -> dict[str, Any]:
    """The value of `m.relations` under an event's `unsigned`: aggregations by rel_type; empty if there are
    none.

    `edit` is the latest valid edit in the client's form, `references` the IDs of the events that refer to the
    parent. State events get no aggregations, and redacted ones no edit.
    """
    if parent.state_key is not None:
        return {}
    relations: dict[str, Any] = {}
    if edit is not None and not redacted:
        relations[REPLACE] = edit
    if thread is not None:
        relations[THREAD] = {
            "latest_event": thread.latest_event,
            "count": thread.count,
            "current_user_participated": thread.current_user_participated,
        }
    chunk = [{"event_id": event_id} for event_id in references]
    if chunk:
        relations[REFERENCE] = {"chunk": chunk}
    return relations
