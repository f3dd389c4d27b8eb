"""Where each authorisation rule stands in its room version's list, so that a verdict can quote its number."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleNumbers:
    """Numbers of the top-level rules, and of those below them that moved between room versions.

    `member_*` are the numbers within the rule on `m.room.member`, `join_*` those within its rule on joins,
    `levels_*` those within the rule on `m.room.power_levels`. Zero where a version has no such rule.
    """

    auth_events: int = 2
    federate: int = 3
    aliases: int = 4
    member: int = 5
    sender_membership: int = 6
    third_party_invite: int = 7
    required_power: int = 8
    state_key: int = 9
    power_levels: int = 10
    redaction: int = 11
    member_authoriser: int = 0
    member_join: int = 2
    member_invite: int = 3
    member_leave: int = 4
    member_ban: int = 5
    member_knock: int = 0
    member_unknown: int = 6
    join_restricted: int = 0
    join_otherwise: int = 6
    levels_integers: int = 0
    levels_users: int = 1
    levels_creators: int = 0
    levels_defaults: int = 3
    levels_events_old: int = 4
    levels_events_new: int = 5
    levels_users_old: int = 6
    levels_users_new: int = 7
