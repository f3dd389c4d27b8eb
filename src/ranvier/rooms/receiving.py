"""Receiving events from other servers into the live timeline of a room.

Source: Server-Server API, "Checks performed on receipt of a PDU", "Soft failure", "Rejection".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ranvier.protocol.events import Event
from ranvier.rooms.heads import Room
from ranvier.store.events import Judgement


@dataclass(frozen=True, slots=True)
class Missing:
    """What an event builds on and this server does not have: nothing of the event was kept.

    `prev_events` are those whose state is not known (an outlier is such a one), `auth_events` those that are not
    there at all.
    """

    prev_events: tuple[str, ...] = ()
    auth_events: tuple[str, ...] = ()


class Receiving:
    """Takes in events of others whose form, hash and signatures have been checked, in rooms that we are in."""

    async def receive(self, room: Room, event: Event) -> Judgement | Missing:
        """Judge a new event, and let it move the room if it is accepted; answers once that is durable.

        A known event answers what was judged of it; one that was an outlier until now is brought in. Events of one
        room may come at the same time, but an event whose `prev_events` are still on their way is `Missing` them.
        """
        raise NotImplementedError

    async def receive_with_state(
        self, room: Room, event: Event, state: Sequence[Event], auth_chain: Sequence[Event]
    ) -> Judgement | Missing:
        """Receive an event beyond a gap: the state before it is what a peer says (`/state` or `/state_ids`).

        `state` may leave out nothing; `auth_chain` holds what else that state's authority rests on. Those of its
        `prev_events` that are absent are noted as a gap.
        """
        raise NotImplementedError

    async def append_signed(self, room: Room, event: Event) -> None:
        """Take in an event that a peer made of our template (`send_join`, `send_leave`, `send_knock`, an invite).

        Its auth events, the state before it and the state that is now must all allow it; otherwise it is not kept.
        Raises `Refusal`. One that is known and accepted already is no error.
        """
        raise NotImplementedError
