"""A room of any version for tests: real events, built and signed, and the state they make."""

from collections.abc import Sequence
from typing import Any

from ranvier.protocol import auth_rules, events
from ranvier.protocol.auth_failure import AuthFailure
from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.protocol.signing import SigningKey

ALICE, BOB, CAROL = "@alice:one.example", "@bob:one.example", "@carol:two.example"
KEY = SigningKey("one.example", "ed25519:1", b"one seed of thirty-two bytes....")
IDENTITY_KEY = SigningKey("id.example", "ed25519:0", b"another seed of 32 bytes, for id")
ALL_VERSIONS = tuple(key for key, version in ROOM_VERSIONS.items() if version.is_stable)
"""Those of the specification."""


def versions_with(**properties: Any) -> list[str]:
    """Room versions of the specification that have all these properties."""
    return [
        identifier
        for identifier in ALL_VERSIONS
        if all(getattr(ROOM_VERSIONS[identifier], name) == value for name, value in properties.items())
    ]


class _AnyHash(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "aHash"


def build(version: RoomVersion, **fields: Any) -> Event:
    """`events.build` with every field that a test does not care for filled in."""
    content = fields.pop("content", {})
    return events.build(
        version,
        **{
            "room_id": "!room:one.example",
            "sender": ALICE,
            "type": "m.room.message",
            "prev_events": ["$previous:one.example"],
            "auth_events": [],
            "depth": 3,
            "origin_server_ts": 1_000_000,
            "reference_hashes": _AnyHash(any="hash"),
            "signer": KEY,
            **fields,
        },
        content=content,
    )


class Room:
    """Alice's room: she made it and joined; whatever else holds is set by `put`."""

    def __init__(self, version: str, *, creator: str = ALICE, **create_content: Any) -> None:
        self.version = ROOM_VERSIONS[version]
        content: dict[str, Any] = {"room_version": version, **create_content}
        if self.version.create_names_creator:
            content.setdefault("creator", creator)
        self.create = build(
            self.version, type="m.room.create", state_key="", sender=creator, content=content, prev_events=[]
        )
        self.state: dict[tuple[str, str], Event] = {("m.room.create", ""): self.create}
        self.put("m.room.member", {"membership": "join"}, state_key=creator, sender=creator)

    def event(
        self,
        type: str,
        content: dict[str, Any] | None = None,
        *,
        sender: str = ALICE,
        state_key: str | None = None,
        prev_events: Sequence[str] = ("$previous:one.example",),
        **more: Any,
    ) -> Event:
        """An event of this room that is not in its state."""
        return build(
            self.version,
            room_id=self.create.room_id,
            type=type,
            content={} if content is None else content,
            sender=sender,
            state_key=state_key,
            prev_events=prev_events,
            **more,
        )

    def put(self, type: str, content: dict[str, Any], *, state_key: str = "", sender: str = ALICE) -> Event:
        """Set state without asking whether it is allowed."""
        event = self.event(type, content, sender=sender, state_key=state_key)
        self.state[type, state_key] = event
        return event

    def member(self, user: str, membership: str) -> None:
        """Set a user's membership."""
        self.put("m.room.member", {"membership": membership}, state_key=user, sender=user)

    def join_rule(self, rule: str) -> None:
        """Set the join rule."""
        self.put("m.room.join_rules", {"join_rule": rule})

    def levels(self, **content: Any) -> None:
        """Set power levels."""
        self.put("m.room.power_levels", content)

    def membership(
        self,
        membership: Any,
        target: str,
        *,
        sender: str | None = None,
        content: dict[str, Any] | None = None,
    ) -> AuthFailure | None:
        """The verdict on a change of membership; the target sends it unless said otherwise."""
        return self.check(
            "m.room.member",
            {"membership": membership, **(content or {})},
            state_key=target,
            sender=sender or target,
        )

    def check(self, type: str, content: dict[str, Any] | None = None, **fields: Any) -> AuthFailure | None:
        """The verdict on an event in the room's present state."""
        return auth_rules.check(self.event(type, content, **fields), self.state)


def rule_of(failure: AuthFailure | None) -> str | None:
    """The number of the rule that rejects, None if allowed."""
    return None if failure is None else failure.rule
