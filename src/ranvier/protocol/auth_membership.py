"""The authorisation rule on `m.room.member`.

Numbers in comments are those of room version 12; verdicts quote the numbers of the event's own version.
"""

from collections.abc import Mapping
from typing import Any, Final

from ranvier.protocol import unpadded_base64
from ranvier.protocol.auth_failure import AuthFailure
from ranvier.protocol.canonical_json import BadJson
from ranvier.protocol.events import Event
from ranvier.protocol.identifiers import BadIdentifier, check_user_id
from ranvier.protocol.power_levels import PowerLevels, creators_of, power_levels_of
from ranvier.protocol.signing import signed_bytes, verify

State = Mapping[tuple[str, str], Event]

MAX_INVITE_VERIFICATIONS: Final = 128
"""Signatures times keys that are tried for one third-party invite; real ones need one or two."""


def membership_of(state: State, user_id: str) -> str:
    """The user's membership in this state; `leave` for those who never had one."""
    event = state.get(("m.room.member", user_id))
    if event is None:
        return "leave"
    membership = event.content.get("membership")
    return membership if isinstance(membership, str) else "leave"


def join_rule_of(state: State) -> str:
    """The room's join rule in this state: `invite` if none is set, and empty, which lets nobody in, for no text."""
    event = state.get(("m.room.join_rules", ""))
    rule = "invite" if event is None else event.content.get("join_rule", "invite")
    return rule if isinstance(rule, str) else ""


def check_membership(event: Event, state: State, create: Event) -> AuthFailure | None:
    """Rule 5 of version 12. `create` is the room's create event."""
    version = event.room_version
    rules = version.rules
    target = event.state_key
    membership = event.content.get("membership")
    if target is None or membership is None:
        # 5.1
        return AuthFailure(f"{rules.member}.1", "A membership needs a state_key and content.membership.")
    if version.restricted_joins and "join_authorised_via_users_server" in event.content:
        # 5.2.1: that the authorising server signed is checked with the other signatures, see
        # `events.required_signers`; here only that there can be such a server.
        authoriser = event.content["join_authorised_via_users_server"]
        if not _is_user_id(authoriser):
            return AuthFailure(
                f"{rules.member}.{rules.member_authoriser}.1",
                "join_authorised_via_users_server is not a user ID, so no server can have signed for it.",
            )
    if membership == "join":
        return _check_join(event, state, create, target)
    levels = power_levels_of(create, state.get(("m.room.power_levels", "")))
    if membership == "invite":
        return _check_invite(event, state, levels, target)
    if membership == "leave":
        return _check_leave(event, state, levels, target)
    if membership == "ban":
        return _check_ban(event, state, levels, target)
    if membership == "knock" and version.knocking:
        return _check_knock(event, state, target)
    # 5.8
    return AuthFailure(f"{rules.member}.{rules.member_unknown}", "The membership is unknown.")


def _check_join(event: Event, state: State, create: Event, target: str) -> AuthFailure | None:
    version = event.room_version
    rule = f"{version.rules.member}.{version.rules.member_join}"
    if event.prev_events == (create.event_id,) and target in _first_joiner(create):
        # 5.3.1
        return None
    if event.sender != target:
        # 5.3.2
        return AuthFailure(f"{rule}.2", "Nobody can join for somebody else.")
    membership = membership_of(state, target)
    if membership == "ban":
        # 5.3.3
        return AuthFailure(f"{rule}.3", "The user is banned from the room.")
    join_rule = join_rule_of(state)
    if join_rule == "invite" or (join_rule == "knock" and version.knocking):
        # 5.3.4
        if membership in ("invite", "join"):
            return None
    elif _is_restricted(join_rule, event):
        # 5.3.5.1
        if membership in ("invite", "join"):
            return None
        # 5.3.5.2, 5.3.5.3
        return _check_authoriser(event, state, create, f"{rule}.{version.rules.join_restricted}")
    elif join_rule == "public":
        # 5.3.6
        return None
    # 5.3.7
    return AuthFailure(f"{rule}.{version.rules.join_otherwise}", "The user was not invited to the room.")


def _first_joiner(create: Event) -> frozenset[str]:
    """Who may join as the room's second event: not the additional creators, who join as others do."""
    if create.room_version.create_names_creator:
        return creators_of(create)
    return frozenset({create.sender})


def _is_restricted(join_rule: str, event: Event) -> bool:
    version = event.room_version
    return (join_rule == "restricted" and version.restricted_joins) or (
        join_rule == "knock_restricted" and version.knock_restricted_joins
    )


def _check_authoriser(event: Event, state: State, create: Event, rule: str) -> AuthFailure | None:
    authoriser = event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str):
        return AuthFailure(f"{rule}.2", "No user who may invite others authorised the join.")
    if membership_of(state, authoriser) != "join":
        return AuthFailure(f"{rule}.2", "The user who authorised the join is not in the room.")
    levels = power_levels_of(create, state.get(("m.room.power_levels", "")))
    if levels.of_user(authoriser) < levels.invite:
        return AuthFailure(f"{rule}.2", "The user who authorised the join may not invite others.")
    return None


def _check_invite(event: Event, state: State, levels: PowerLevels, target: str) -> AuthFailure | None:
    rule = f"{event.room_version.rules.member}.{event.room_version.rules.member_invite}"
    if "third_party_invite" in event.content:
        # 5.4.1
        return _check_third_party_invite(event, state, target, f"{rule}.1")
    if membership_of(state, event.sender) != "join":
        # 5.4.2
        return AuthFailure(f"{rule}.2", "The sender is not in the room.")
    membership = membership_of(state, target)
    if membership in ("join", "ban"):
        # 5.4.3
        reason = "is already in the room" if membership == "join" else "is banned from the room"
        return AuthFailure(f"{rule}.3", f"The invited user {reason}.")
    if levels.of_user(event.sender) >= levels.invite:
        # 5.4.4
        return None
    # 5.4.5
    return AuthFailure(f"{rule}.5", f"Inviting takes a power level of {levels.invite}.")


def _check_third_party_invite(event: Event, state: State, target: str, rule: str) -> AuthFailure | None:
    if membership_of(state, target) == "ban":
        # 5.4.1.1
        return AuthFailure(f"{rule}.1", "The invited user is banned from the room.")
    invite = event.content["third_party_invite"]
    signed = invite.get("signed") if isinstance(invite, dict) else None
    if not isinstance(signed, dict):
        # 5.4.1.2
        return AuthFailure(f"{rule}.2", "third_party_invite has no signed object.")
    mxid, token = signed.get("mxid"), signed.get("token")
    if not isinstance(mxid, str) or not isinstance(token, str):
        # 5.4.1.3
        return AuthFailure(f"{rule}.3", "third_party_invite.signed needs mxid and token.")
    if mxid != target:
        # 5.4.1.4
        return AuthFailure(f"{rule}.4", "The third-party invite was made out to another user.")
    origin = state.get(("m.room.third_party_invite", token))
    if origin is None:
        # 5.4.1.5
        return AuthFailure(f"{rule}.5", "The room knows no third-party invite of this token.")
    if origin.sender != event.sender:
        # 5.4.1.6
        return AuthFailure(f"{rule}.6", "Somebody else sent the third-party invite.")
    if _signed_by_any(signed, _public_keys_of(origin.content)):
        # 5.4.1.7
        return None
    # 5.4.1.8
    return AuthFailure(f"{rule}.8", "No key of the third-party invite signed this one.")


def _public_keys_of(content: Mapping[str, Any]) -> list[bytes]:
    # 5.4.1.7.1, 5.4.1.7.2
    encoded = [content.get("public_key")]
    listed = content.get("public_keys")
    if isinstance(listed, list):
        encoded += [entry.get("public_key") for entry in listed if isinstance(entry, dict)]
    keys = []
    for text in encoded:
        if isinstance(text, str):
            try:
                keys.append(unpadded_base64.decode(text))
            except ValueError:
                continue
    return keys


def _signed_by_any(signed: Mapping[str, Any], keys: list[bytes]) -> bool:
    signatures = signed.get("signatures")
    if not isinstance(signatures, dict):
        return False
    try:
        message = signed_bytes(signed)
    except BadJson:
        return False
    left = MAX_INVITE_VERIFICATIONS
    for by_key in signatures.values():
        for key_id, signature in by_key.items() if isinstance(by_key, dict) else ():
            if not key_id.startswith("ed25519:") or not isinstance(signature, str):
                continue
            for key in keys:
                if left == 0:
                    return False
                left -= 1
                if verify(key, message, signature):
                    return True
    return False


def _check_leave(event: Event, state: State, levels: PowerLevels, target: str) -> AuthFailure | None:
    version = event.room_version
    rule = f"{version.rules.member}.{version.rules.member_leave}"
    if event.sender == target:
        # 5.5.1
        membership = membership_of(state, target)
        if membership in ("invite", "join") or (membership == "knock" and version.knocking):
            return None
        return AuthFailure(f"{rule}.1", "The user is not in the room, nor invited to it.")
    if membership_of(state, event.sender) != "join":
        # 5.5.2
        return AuthFailure(f"{rule}.2", "The sender is not in the room.")
    power = levels.of_user(event.sender)
    if membership_of(state, target) == "ban" and power < levels.ban:
        # 5.5.3
        return AuthFailure(f"{rule}.3", f"Unbanning takes a power level of {levels.ban}.")
    if power >= levels.kick and levels.of_user(target) < power:
        # 5.5.4
        return None
    # 5.5.5
    return AuthFailure(
        f"{rule}.5", f"Kicking takes a power level of {levels.kick}, and more than the user's."
    )


def _check_ban(event: Event, state: State, levels: PowerLevels, target: str) -> AuthFailure | None:
    rule = f"{event.room_version.rules.member}.{event.room_version.rules.member_ban}"
    if membership_of(state, event.sender) != "join":
        # 5.6.1
        return AuthFailure(f"{rule}.1", "The sender is not in the room.")
    power = levels.of_user(event.sender)
    if power >= levels.ban and levels.of_user(target) < power:
        # 5.6.2
        return None
    # 5.6.3
    return AuthFailure(f"{rule}.3", f"Banning takes a power level of {levels.ban}, and more than the user's.")


def _check_knock(event: Event, state: State, target: str) -> AuthFailure | None:
    version = event.room_version
    rule = f"{version.rules.member}.{version.rules.member_knock}"
    join_rule = join_rule_of(state)
    if join_rule != "knock" and not (join_rule == "knock_restricted" and version.knock_restricted_joins):
        # 5.7.1
        return AuthFailure(f"{rule}.1", "The room does not take knocks.")
    if event.sender != target:
        # 5.7.2
        return AuthFailure(f"{rule}.2", "Nobody can knock for somebody else.")
    if membership_of(state, target) not in ("ban", "invite", "join"):
        # 5.7.3
        return None
    # 5.7.4
    return AuthFailure(f"{rule}.4", "Who is banned, invited or in the room cannot knock.")


def _is_user_id(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        check_user_id(value)
    except BadIdentifier:
        return False
    return True
