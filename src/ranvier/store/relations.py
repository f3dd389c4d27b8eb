"""How events relate to one another."""

from ranvier.store.database import Reader

# A child that was redacted forms no relation any more.
_CHILD = "FROM relations r JOIN events e ON e.nid = r.child WHERE e.redacted_by IS NULL AND r.parent = $1"


async def annotation_exists(reader: Reader, parent: str, sender: str, kind: str, key: str) -> bool:
    """Whether the user has already annotated an event with this type and key."""
    row = await reader.fetch_row(
        f"SELECT 1 {_CHILD} AND r.rel_type = 'm.annotation' AND r.sender = $2 AND r.type = $3 "
        "AND r.aggregation_key = $4",
        parent,
        sender,
        kind,
        key,
    )
    return row is not None
