"""Invites and knocks of this server's users in rooms that it is not in."""

from typing import NamedTuple

from ranvier.store.database import Entry, Reader, Transaction
from ranvier.store.log import Kind
from ranvier.store.rooms import Membership, set_memberships

_COLUMNS = "user_id, room_id, room_version, event_id, via"


class Invitation(NamedTuple):
    """A room that a user is invited to, or knocks at, and the server through which that can be answered."""

    user_id: str
    room_id: str
    room_version: str
    event_id: str
    via: str


async def find(reader: Reader, user_id: str, room_id: str) -> Invitation | None:
    """The user's invite to a room that this server is not in, or their knock."""
    row = await reader.fetch_row(
        f"SELECT {_COLUMNS} FROM invitations WHERE user_id = $1 AND room_id = $2",  # noqa: S608
        user_id,
        room_id,
    )
    return Invitation(*row) if row is not None else None


async def sender_of(reader: Reader, user_id: str, room_id: str) -> str | None:
    """Who invited the user to a room; None if it was the user who knocked, or nothing stands."""
    value = await reader.fetch_value(
        "SELECT sender FROM memberships WHERE user_id = $1 AND room_id = $2 AND membership = 'invite'",
        user_id,
        room_id,
    )
    return str(value) if value is not None else None


async def keep(transaction: Transaction, invitation: Invitation, membership: Membership) -> None:
    """Keep an invite or a knock with the user's membership, and tell them."""
    await transaction.insert(
        "invitations",
        _COLUMNS,
        [invitation],
        "(user_id, room_id) DO UPDATE SET room_version = excluded.room_version, "
        "event_id = excluded.event_id, via = excluded.via",
    )
    await _set(transaction, membership)


async def end(transaction: Transaction, membership: Membership) -> None:
    """The invite was rejected or taken back, the knock likewise: `membership` says what is left."""
    await transaction.execute(
        "DELETE FROM invitations WHERE user_id = $1 AND room_id = $2", membership.user_id, membership.room_id
    )
    await _set(transaction, membership)


async def _set(transaction: Transaction, membership: Membership) -> None:
    await set_memberships(transaction, [membership])
    transaction.announce(Entry(Kind.MEMBERSHIP, membership.user_id, membership.room_id, membership))
