"""Mail addresses and telephone numbers that an account is known by."""

from typing import Any

from ranvier.store import threepids
from ranvier.store.database import Database


class Addresses:
    """Shows them; administrators and imports set them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_user(self, user_id: str) -> list[dict[str, Any]]:
        """All addresses of a user, with when they were proven and added (milliseconds since the epoch)."""
        return [
            {"medium": medium, "address": address, "validated_at": validated, "added_at": added}
            for medium, address, validated, added in await threepids.of_user(self._database, user_id)
        ]
