"""What users report to the administrators."""

from typing import NamedTuple

from ranvier.store.database import Transaction


class Report(NamedTuple):
    """An event (room and event), a room, or a user that somebody (`user_id`) complains of; `received_ts` in ms."""

    received_ts: int
    user_id: str
    room_id: str | None = None
    event_id: str | None = None
    target_user_id: str | None = None
    reason: str | None = None
    score: int | None = None


async def insert(transaction: Transaction, report: Report) -> int:
    """Keep a report; answers its number. Numbers rise and are never given again."""
    await transaction.insert(
        "counters", "name, value", [("report", 1)], "(name) DO UPDATE SET value = counters.value + 1"
    )
    number = int(await transaction.fetch_value("SELECT value FROM counters WHERE name = 'report'"))
    await transaction.insert(
        "reports",
        "id, received_ts, user_id, room_id, event_id, target_user_id, reason, score",
        [(number, *report)],
    )
    return number
