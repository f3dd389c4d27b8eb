"""Redactions that wait for what they redact: only then it shows whether they may."""

from collections.abc import Sequence

from ranvier.store.database import Reader, Transaction


async def expect(transaction: Transaction, target: str, redaction: int) -> None:
    """A redaction (its number) came before its target (an event's id)."""
    await transaction.insert("awaited_redactions", "target, redaction", [(target, redaction)], "DO NOTHING")


async def awaiting(reader: Reader, event_ids: Sequence[str]) -> list[tuple[str, int]]:
    """(target's id, redaction's number) of the redactions that wait for these events, oldest first."""
    rows = await reader.fetch(
        "SELECT target, redaction FROM awaited_redactions WHERE target = ANY($1) ORDER BY redaction",
        list(event_ids),
    )
    return [(row[0], row[1]) for row in rows]


async def settle(transaction: Transaction, target: str) -> None:
    """The target has come: none waits for it any more."""
    await transaction.execute("DELETE FROM awaited_redactions WHERE target = $1", target)
