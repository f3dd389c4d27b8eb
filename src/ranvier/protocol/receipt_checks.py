"""The checks on an event that another server sent, in their order.

`RECEIPT_CHECKS` lists them: what each asks, its function, and what becomes of an event that fails it. The
first three need the event and keys only; `judge` makes the others, which need the room.

Source: server-server API, "Checks performed on receipt of a PDU", "Rejection", "Soft failure".
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from ranvier.protocol import auth_rules, events, policy_server, signing
from ranvier.protocol.auth_failure import AuthFailure
from ranvier.protocol.auth_rules import State
from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.policy_server import PolicyServer
from ranvier.protocol.room_versions import RoomVersion

_CREATE: Final = ("m.room.create", "")


class Fate(Enum):
    """What becomes of an event that fails a check."""

    DROPPED = "It is as if it had never come."
    REDACTED = "Its redacted form goes through the further checks in its place."
    REJECTED = "It is kept, but changes no state, is shown to nobody and no event made here refers to it."
    SOFT_FAILED = (
        "It counts in the state after it, but is shown to nobody and no event made here refers to it."
    )


@dataclass(frozen=True, slots=True)
class ReceiptFailure:
    """Why an event fails check `number`; `rule` is the number of the authorisation rule, if it was one."""

    number: int
    reason: str
    rule: str | None = None

    @property
    def fate(self) -> Fate:
        """What becomes of the event."""
        return RECEIPT_CHECKS[self.number - 1].otherwise


def check_format(pdu: Any, version: RoomVersion) -> Event:
    """1: the event of the PDU, if it keeps to the room version's format. Raises BadEvent: it is dropped."""
    event = events.parse(pdu, version)
    events.required_signers(event)
    return event


def check_signatures(event: Event, keys: Mapping[str, Mapping[str, bytes]]) -> ReceiptFailure | None:
    """2: whether every server signed that must have.

    `keys` are public keys by key ID by server: those alone that may be used for an event of this time.
    Signatures by other keys are passed over.
    """
    message = events.signed_bytes(event)
    for server_name in sorted(events.required_signers(event)):
        if not signing.is_signed(event.pdu, message, server_name, keys.get(server_name, {})):
            return ReceiptFailure(2, f"There is no valid signature by {server_name}.")
    return None


def check_hash(event: Event) -> Event:
    """3: the event, if its content is what its origin hashed; otherwise its redacted form."""
    return event if events.content_hash_matches(event) else events.redacted(event)


def check_by_auth_events(
    event: Event,
    auth_events: Mapping[str, Event],
    create: Event | None,
    rejected: Container[str] = frozenset(),
) -> ReceiptFailure | None:
    """4: whether the event's auth events are such and authorise it.

    `auth_events` holds them by ID, `rejected` the IDs of those that were rejected. `create` is the room's
    create event: where the room version makes its ID the room's, the auth events do not name it.
    """
    failure = auth_rules.check_auth_events(event, auth_events, rejected)
    if failure is None:
        state = auth_rules.as_state([auth_events[event_id] for event_id in event.auth_events])
        if create is not None and not event.room_version.create_is_auth_event:
            state[_CREATE] = create
        failure = auth_rules.check(event, state)
    return _failed(4, failure)


def check_by_state_before(event: Event, state_before: State) -> ReceiptFailure | None:
    """5: whether the state before the event authorises it."""
    return _failed(5, auth_rules.check(event, state_before))


def check_by_current_state(event: Event, current_state: State) -> ReceiptFailure | None:
    """6: whether the room's current state, resolved across all its forward extremities, authorises it."""
    return _failed(6, auth_rules.check(event, current_state))


def check_by_policy_server(event: Event, in_use: PolicyServer | None) -> ReceiptFailure | None:
    """7: whether the policy server recommends the event, if the room uses one.

    Who gets a failure should first ask the policy server for a signature, and check again with it.
    """
    if in_use is None or policy_server.recommends(in_use, event):
        return None
    return ReceiptFailure(7, f"The room's policy server {in_use.via} has not signed the event.")


def judge(
    event: Event,
    *,
    auth_events: Mapping[str, Event],
    rejected: Container[str] = frozenset(),
    state_before: State,
    current_state: State | None,
    policy_server_in_use: PolicyServer | None = None,
) -> ReceiptFailure | None:
    """Checks 4 to 7 in order, of an event that passed the first three; None means that it is accepted.

    `auth_events` and `rejected` are as in `check_by_auth_events`; the states hold what `auth_types` names, as
    far as it exists, and the create event in any case. `current_state` is None for an event that is no news,
    such as one of history that was asked for: it cannot be soft-failed.
    """
    failure = check_by_auth_events(event, auth_events, state_before.get(_CREATE), rejected)
    if failure is None:
        failure = check_by_state_before(event, state_before)
    if failure is not None or current_state is None:
        return failure
    return check_by_current_state(event, current_state) or check_by_policy_server(event, policy_server_in_use)


@dataclass(frozen=True, slots=True)
class ReceiptCheck:
    """A check: what it asks of an event, the function that makes it, and the fate of who fails."""

    asks: str
    function: Callable[..., Event | ReceiptFailure | None]
    otherwise: Fate


RECEIPT_CHECKS: Final = (
    ReceiptCheck("It keeps to the room version's event format.", check_format, Fate.DROPPED),
    ReceiptCheck("The servers signed it that have to.", check_signatures, Fate.DROPPED),
    ReceiptCheck("Its content is what was hashed.", check_hash, Fate.REDACTED),
    ReceiptCheck("Its auth events authorise it.", check_by_auth_events, Fate.REJECTED),
    ReceiptCheck("The state before it authorises it.", check_by_state_before, Fate.REJECTED),
    ReceiptCheck("The current state authorises it.", check_by_current_state, Fate.SOFT_FAILED),
    ReceiptCheck("The policy server recommends it.", check_by_policy_server, Fate.SOFT_FAILED),
)
"""The checks in order; the first has number 1."""


def _failed(number: int, failure: AuthFailure | None) -> ReceiptFailure | None:
    return None if failure is None else ReceiptFailure(number, failure.reason, failure.rule)


__all__ = [
    "RECEIPT_CHECKS",
    "BadEvent",
    "Fate",
    "ReceiptCheck",
    "ReceiptFailure",
    "check_by_auth_events",
    "check_by_current_state",
    "check_by_policy_server",
    "check_by_state_before",
    "check_format",
    "check_hash",
    "check_signatures",
    "judge",
]
