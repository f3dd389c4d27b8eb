"""Which threads users follow, and which they followed (MSC4306)."""

from typing import NamedTuple

from ranvier.store.database import Reader, Transaction


class Subscription(NamedTuple):
    """`automatic`: the client made it by itself. `unfollowed_at`: the version of the room's timeline at its end."""

    automatic: bool
    unfollowed_at: int | None


async def find(reader: Reader, user_id: str, room: int, thread: str) -> Subscription | None:
    """A user's subscription to a thread, also one that has ended."""
    row = await reader.fetch(
        "SELECT automatic, unfollowed_at FROM thread_subscriptions "
        "WHERE user_id = $1 AND room = $2 AND thread = $3",
        user_id,
        room,
        thread,
    )
    return Subscription(bool(row[0][0]), row[0][1]) if row else None


async def write(
    transaction: Transaction, user_id: str, room: int, thread: str, subscription: Subscription
) -> None:
    """Keep a subscription in place of the one that was."""
    await transaction.insert(
        "thread_subscriptions",
        "user_id, room, thread, automatic, unfollowed_at",
        [(user_id, room, thread, *subscription)],
        "(user_id, room, thread) DO UPDATE SET automatic = excluded.automatic, "
        "unfollowed_at = excluded.unfollowed_at",
    )


async def remove_all(transaction: Transaction, user_id: str) -> None:
    """Forget what a user followed."""
    await transaction.execute("DELETE FROM thread_subscriptions WHERE user_id = $1", user_id)
