"""What must hold in the database at any moment, whatever was killed: nothing is there by half.

`find_faults` reads a whole (small) database and gives a sentence for everything that is wrong.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from ranvier.store.log import Kind, device_audience, room_audience

Rows = Sequence[Sequence[Any]]
Fetch = Callable[[str], Awaitable[Rows]]
"""Runs a query without parameters."""

_QUERIES = {
    "rooms": "SELECT nid, room_id FROM rooms",
    "timeline": "SELECT room, version, event, state_line, state_version FROM timeline ORDER BY room, version",
    "events": "SELECT nid, event_id, room, type, state_key, sender, state_line, state_version, redacted_by, "
    "transaction_ref, pdu FROM events",
    "changes": "SELECT line, type, state_key, version, event FROM state_changes",
    "current": "SELECT room, type, state_key, event FROM current_state",
    "memberships": "SELECT user_id, room_id, room, membership, event, sender FROM memberships",
    "log": "SELECT position, kind, audience, ref FROM log ORDER BY position",
    "transactions": "SELECT user_id, device_id, txn_id, result FROM transactions",
    "counters": "SELECT room, thread, version, counter FROM unread_counters ORDER BY room, thread, version",
    "reads": "SELECT room, user_id, thread, version, counter FROM read_positions",
    "marks": "SELECT room, version FROM unread_marks",
    "relations": "SELECT child, room FROM relations",
    "receipts": "SELECT room, user_id, event_id FROM receipts",
    "messages": "SELECT id, user_id, device_id FROM to_device_messages",
    "tokens": "SELECT user_id, device_id FROM access_tokens WHERE device_id IS NOT NULL",
    "devices": "SELECT user_id, device_id FROM devices",
    "users": "SELECT user_id FROM users",
    "device_keys": "SELECT user_id, device_id FROM device_keys",
    "one_time_keys": "SELECT user_id, device_id FROM one_time_keys",
}


async def find_faults(fetch: Fetch, *, trimmed: bool = False) -> list[str]:
    """Everything that is wrong; `trimmed` where old rows of the log and of transactions may be gone."""
    tables = {name: await fetch(query) for name, query in _QUERIES.items()}
    return list(_Contents(tables, trimmed).faults())


class _Contents:
    def __init__(self, tables: dict[str, Rows], trimmed: bool) -> None:
        self.tables = tables
        self.trimmed = trimmed
        self.rooms = dict(tables["rooms"])
        self.events = {row[0]: row for row in tables["events"]}
        self.by_id = {row[1]: row for row in tables["events"]}
        self.pdus = {nid: json.loads(row[10]) for nid, row in self.events.items()}
        self.versions: dict[int, dict[int, int]] = defaultdict(dict)
        for room, version, event, _, _ in tables["timeline"]:
            self.versions[room][version] = event

    def faults(self) -> Iterator[str]:
        yield from self._timelines()
        yield from self._state()
        yield from self._memberships()
        yield from self._log()
        yield from self._transactions()
        yield from self._unread()
        yield from self._references()

    def _timelines(self) -> Iterator[str]:
        """Each room's versions are contiguous; each event stands once in its room and on the one before."""
        last: dict[int, tuple[int, int, str]] = {}
        placed: set[int] = set()
        for room, version, nid, line, state_version in self.tables["timeline"]:
            event = self.events.get(nid)
            before, state_before, previous = last.get(room, (0, 0, ""))
            if version != before + 1:
                yield f"room {room}: version {version} follows {before}"
            if event is None or event[2] != room or nid in placed:
                yield f"room {room}: version {version} has the event {nid}, which is {event}"
                continue
            placed.add(nid)
            is_state = event[4] is not None
            if (event[6], event[7]) != (line, state_before) or state_version != state_before + is_state:
                yield f"room {room}: version {version} has the state {line}/{state_version} after {event[6:8]}"
            prev_events = [p if isinstance(p, str) else p[0] for p in self.pdus[nid]["prev_events"]]
            if prev_events != ([previous] if previous else []):
                yield f"room {room}: version {version} builds on {prev_events}, not on {previous}"
            last[room] = (version, state_version, event[1])
        yield from (
            f"the event {e[1]} is in no timeline" for nid, e in self.events.items() if nid not in placed
        )
        yield from (f"the room {room} has no timeline" for room in self.rooms if room not in last)
        yield from (f"the timeline of room {room} has no room" for room in last if room not in self.rooms)

    def _state(self) -> Iterator[str]:
        """Current state is the fold of the timeline, historical state has one change for each state event."""
        folded: dict[tuple[int, str, str], int] = {}
        changes = set()
        for room, _, nid, line, state_version in self.tables["timeline"]:
            event = self.events[nid]
            if event[4] is not None:
                folded[room, event[3], event[4]] = nid
                changes.add((line, event[3], event[4], state_version, nid))
        current = {(row[0], row[1], row[2]): row[3] for row in self.tables["current"]}
        for key in folded.keys() | current.keys():
            if folded.get(key) != current.get(key):
                yield f"current state {key}: {current.get(key)} instead of {folded.get(key)}"
        for row in changes ^ {tuple(row) for row in self.tables["changes"]}:
            yield f"the change of state {row} stands in only one of timeline and state_changes"
        self.current = current

    def _memberships(self) -> Iterator[str]:
        """Memberships say what current state says."""
        wanted = {
            (key, self.rooms[room]): (room, self.pdus[nid]["content"]["membership"], nid, self.events[nid][5])
            for (room, kind, key), nid in self.current.items()
            if kind == "m.room.member"
        }
        found = {(row[0], row[1]): tuple(row[2:6]) for row in self.tables["memberships"]}
        for pair in wanted.keys() | found.keys():
            if wanted.get(pair) != found.get(pair):
                yield f"membership {pair}: {found.get(pair)} instead of {wanted.get(pair)}"

    def _log(self) -> Iterator[str]:
        """Every version of a timeline was announced once, in order; every membership and message too."""
        announced: dict[str, list[int]] = defaultdict(list)
        seen: dict[int, set[tuple[str, str]]] = defaultdict(set)
        for _, kind, audience, ref in self.tables["log"]:
            if kind == Kind.EVENT:
                announced[audience].append(int(ref))
            seen[kind].add((audience, ref))
        for room, versions in self.versions.items():
            entries = announced.pop(room_audience(room), [])
            wanted = sorted(versions)
            if entries != (wanted[len(wanted) - len(entries) :] if self.trimmed else wanted):
                yield f"room {room} has {len(versions)} versions, and the log has {entries[:3]}…{entries[-3:]}"
        yield from (f"the log tells of {audience}, which has no timeline" for audience in announced)
        for ident, user_id, device_id in self.tables["messages"]:
            if (device_audience(user_id, device_id), ident) not in seen[Kind.TO_DEVICE]:
                yield f"the message {ident} for {device_id} is not in the log"
        if self.trimmed:
            return
        for user_id, room_id, *_ in self.tables["memberships"]:
            if (user_id, room_id) not in seen[Kind.MEMBERSHIP]:
                yield f"the log does not tell {user_id} of {room_id}"
        for nid, event in self.events.items():
            if event[8] is not None:
                if event[8] not in self.by_id:
                    yield f"{event[1]} was redacted by {event[8]}, which is not there"
                if (room_audience(event[2]), str(nid)) not in seen[Kind.REDACTION]:
                    yield f"the log does not tell of the redaction of {event[1]}"

    def _transactions(self) -> Iterator[str]:
        """A known transaction id has its event, and an event sent with one has its row."""
        known = {tuple(row) for row in self.tables["transactions"]}
        for user, device, txn, result in known:
            event = self.by_id.get(result)
            # Messages to devices are answered with nothing.
            if result and (
                event is None or event[5] != user or json.loads(event[9] or "null") != [device, txn]
            ):
                yield f"{user} {device} {txn} was answered with {result}, which is {event and event[:10]}"
        for event in self.events.values():
            if event[9] is not None and not self.trimmed:
                device, txn = json.loads(event[9])
                if (event[5], device, txn, event[1]) not in known:
                    yield f"{event[1]} was sent as {device} {txn}, of which nothing is known"

    def _unread(self) -> Iterator[str]:
        """Counters grow by one at versions that exist; nobody has read further than their room goes."""
        newest: dict[tuple[int, str], int] = defaultdict(int)
        at: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
        for room, thread, version, counter in self.tables["counters"]:
            if version not in self.versions[room] or counter != newest[room, thread] + 1:
                yield f"room {room}: {thread} counts {counter} at {version} after {newest[room, thread]}"
            newest[room, thread] = counter
            at[room, thread].append((version, counter))
        for room, user_id, thread, version, counter in self.tables["reads"]:
            counted = max((c for v, c in at[room, thread or "main"] if v <= version), default=0)
            if version not in self.versions[room] or counter != counted:
                yield f"room {room}: {user_id} read {thread} to {version}/{counter}, where the counter was {counted}"
        for room, version in self.tables["marks"]:
            if version not in self.versions[room]:
                yield f"room {room} has no version {version} to be marked"

    def _references(self) -> Iterator[str]:
        """What names something names what is there."""
        for child, room in self.tables["relations"]:
            if child not in self.events or self.events[child][2] != room:
                yield f"a relation names the event {child} of room {room}"
        for room, user_id, event_id in self.tables["receipts"]:
            if event_id not in self.by_id or self.by_id[event_id][2] != room:
                yield f"a receipt of {user_id} names {event_id} of room {room}"
        users = {row[0] for row in self.tables["users"]}
        devices = {tuple(row) for row in self.tables["devices"]}
        for name in ("tokens", "device_keys", "one_time_keys", "devices"):
            for user_id, device_id in self.tables[name]:
                if user_id not in users or (user_id, device_id) not in devices:
                    yield f"{name} names the device {device_id} of {user_id}"
