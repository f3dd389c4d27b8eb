"""Room versions 1 to 12 as data (specification, "Room Versions"), and two with owned state (MSC3757).

Code asks a version for a property and never compares version numbers; each version is the one before it with
the fields replaced that its page changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from ranvier.protocol.auth_rule_numbers import RuleNumbers


class EventIdFormat(Enum):
    """How an event gets its ID."""

    SERVER_ASSIGNED = "the origin chooses `$opaque:domain` and writes it into the event"
    HASH = "reference hash in standard Base64"
    URL_SAFE_HASH = "reference hash in URL-safe Base64"


class StateResolution(Enum):
    """Which algorithm resolves conflicting states."""

    V1 = "room version 1"
    V2 = "room version 2"
    V2_1 = "room version 12"


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """What redaction keeps: top-level keys, and keys of the content by event type."""

    top_level: frozenset[str]
    content: Mapping[str, frozenset[str]]
    keeps_all_of_create: bool = False
    keeps_signed_of_third_party_invite: bool = False


@dataclass(frozen=True, slots=True)
class RoomVersion:
    """All that differs between room versions.

    Event format: `event_id_format`; `references_with_hashes` (prev_events and auth_events are pairs of ID and
    hashes); `room_id_is_create_event_id` (and the create event has none); `redacts_in_content`;
    `strict_json`; `max_depth`; `strict_byte_limits` (who exceeds a limit of 255 in bytes is dropped; otherwise
    rejected, and dropped for code points); `enforces_key_validity` (a signing key must have been valid at the
    event's `origin_server_ts`).

    Authorisation: `rules` (numbers of the rules), and what they include; `owned_state` is MSC3757's.
    A version that is not `is_stable` is a proposal's.
    """

    identifier: str
    event_id_format: EventIdFormat
    state_resolution: StateResolution
    redaction: RedactionRules
    references_with_hashes: bool = True
    room_id_is_create_event_id: bool = False
    redacts_in_content: bool = False
    strict_json: bool = False
    strict_byte_limits: bool = False
    max_depth: int = 2**63 - 1
    enforces_key_validity: bool = False
    rules: RuleNumbers = field(default_factory=RuleNumbers)
    aliases_rule: bool = True
    redaction_rule: bool = True
    create_names_creator: bool = True
    create_is_auth_event: bool = True
    creators_have_infinite_power: bool = False
    limits_notification_levels: bool = False
    integer_power_levels: bool = False
    float_power_levels: bool = True
    knocking: bool = False
    restricted_joins: bool = False
    knock_restricted_joins: bool = False
    owned_state: bool = False
    is_stable: bool = True

    @property
    def event_id_is_hash(self) -> bool:
        """Whether the event ID is computed and absent from the PDU."""
        return self.event_id_format is not EventIdFormat.SERVER_ASSIGNED


_TOP_LEVEL = frozenset(
    {
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    }
)
_POWER_LEVELS = frozenset(
    {
        "ban",
        "events",
        "events_default",
        "kick",
        "redact",
        "state_default",
        "users",
        "users_default",
    }
)
_KEPT_CONTENT = {
    "m.room.member": frozenset({"membership"}),
    "m.room.create": frozenset({"creator"}),
    "m.room.join_rules": frozenset({"join_rule"}),
    "m.room.power_levels": _POWER_LEVELS,
    "m.room.history_visibility": frozenset({"history_visibility"}),
}


def _redaction(**kept: frozenset[str]) -> RedactionRules:
    """The rules of versions before 11; a keyword is an event type less its `m.room.`."""
    return RedactionRules(
        top_level=_TOP_LEVEL | {"prev_state", "origin", "membership"},
        content=MappingProxyType(_KEPT_CONTENT | {f"m.room.{name}": keys for name, keys in kept.items()}),
    )


_JOIN_RULES_ALLOW = frozenset({"join_rule", "allow"})
_MEMBER_AUTHORISER = frozenset({"membership", "join_authorised_via_users_server"})

_V1 = RoomVersion(
    identifier="1",
    event_id_format=EventIdFormat.SERVER_ASSIGNED,
    state_resolution=StateResolution.V1,
    redaction=_redaction(aliases=frozenset({"aliases"})),
)
_V2 = replace(_V1, identifier="2", state_resolution=StateResolution.V2)
_V3 = replace(
    _V2,
    identifier="3",
    event_id_format=EventIdFormat.HASH,
    references_with_hashes=False,
    redaction_rule=False,
    rules=RuleNumbers(redaction=0),
)
_V4 = replace(_V3, identifier="4", event_id_format=EventIdFormat.URL_SAFE_HASH)
_V5 = replace(_V4, identifier="5", enforces_key_validity=True)
_V6 = replace(
    _V5,
    identifier="6",
    strict_json=True,
    max_depth=2**53 - 1,
    float_power_levels=False,
    limits_notification_levels=True,
    aliases_rule=False,
    redaction=_redaction(),
    rules=replace(
        _V5.rules,
        aliases=0,
        member=4,
        sender_membership=5,
        third_party_invite=6,
        required_power=7,
        state_key=8,
        power_levels=9,
    ),
)
_V7 = replace(
    _V6,
    identifier="7",
    knocking=True,
    rules=replace(_V6.rules, member_knock=6, member_unknown=7),
)
_V8 = replace(
    _V7,
    identifier="8",
    restricted_joins=True,
    redaction=_redaction(join_rules=_JOIN_RULES_ALLOW),
    rules=replace(
        _V7.rules,
        member_authoriser=2,
        member_join=3,
        member_invite=4,
        member_leave=5,
        member_ban=6,
        member_knock=7,
        member_unknown=8,
        join_restricted=5,
        join_otherwise=7,
    ),
)
_V9 = replace(
    _V8,
    identifier="9",
    redaction=_redaction(join_rules=_JOIN_RULES_ALLOW, member=_MEMBER_AUTHORISER),
)
_V10 = replace(
    _V9,
    identifier="10",
    integer_power_levels=True,
    knock_restricted_joins=True,
    rules=replace(
        _V9.rules,
        levels_integers=1,
        levels_users=3,
        levels_defaults=5,
        levels_events_old=6,
        levels_events_new=7,
        levels_users_old=8,
        levels_users_new=9,
    ),
)
_V11 = replace(
    _V10,
    identifier="11",
    strict_byte_limits=True,
    redacts_in_content=True,
    create_names_creator=False,
    redaction=RedactionRules(
        top_level=_TOP_LEVEL,
        content=MappingProxyType(
            _KEPT_CONTENT
            | {
                "m.room.member": _MEMBER_AUTHORISER,
                "m.room.join_rules": _JOIN_RULES_ALLOW,
                "m.room.power_levels": _POWER_LEVELS | {"invite"},
                "m.room.redaction": frozenset({"redacts"}),
            }
        ),
        keeps_all_of_create=True,
        keeps_signed_of_third_party_invite=True,
    ),
)
_V12 = replace(
    _V11,
    identifier="12",
    state_resolution=StateResolution.V2_1,
    room_id_is_create_event_id=True,
    create_is_auth_event=False,
    creators_have_infinite_power=True,
    rules=replace(
        _V11.rules,
        auth_events=3,
        federate=4,
        member=5,
        sender_membership=6,
        third_party_invite=7,
        required_power=8,
        state_key=9,
        power_levels=10,
        levels_creators=4,
        levels_defaults=6,
        levels_events_old=7,
        levels_events_new=8,
        levels_users_old=9,
        levels_users_new=10,
    ),
)

_V10_OWNED = replace(_V10, identifier="org.matrix.msc3757.10", owned_state=True, is_stable=False)
_V11_OWNED = replace(_V11, identifier="org.matrix.msc3757.11", owned_state=True, is_stable=False)

ROOM_VERSIONS: Final[Mapping[str, RoomVersion]] = MappingProxyType(
    {
        v.identifier: v
        for v in (
            *(_V1, _V2, _V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10, _V11, _V12),
            *(_V10_OWNED, _V11_OWNED),
        )
    }
)
DEFAULT_ROOM_VERSION: Final = "12"
