"""What administrators do to accounts: lock, suspend, promote, look up.

Source: Client-Server API, "Server Administration", "Account locking" and "Account suspension".
"""

from typing import Any, Literal

from ranvier.accounts.requester import Requester
from ranvier.accounts.tokens import announce_change
from ranvier.protocol.identifiers import BadIdentifier, parse_user_id
from ranvier.protocol.refusal import forbidden, invalid_param, not_found
from ranvier.store import accounts, devices
from ranvier.store.accounts import Account
from ranvier.store.database import Database, Transaction
from ranvier.store.writer import Writer

Flag = Literal["admin", "locked", "suspended", "shadow_banned"]


class Moderation:
    """Changes flags of accounts, and tells of them."""

    def __init__(self, server_name: str, database: Database, writer: Writer) -> None:
        self._server_name = server_name
        self._database = database
        self._writer = writer

    async def find(self, requester: Requester, user_id: str) -> Account:
        """An account that is not deactivated, for an administrator."""
        requester.check_admin()
        try:
            _, server_name = parse_user_id(user_id)
        except BadIdentifier as error:
            raise invalid_param(str(error)) from error
        if server_name != self._server_name:
            raise invalid_param("That user is of another server.")
        account = await accounts.find(self._database, user_id)
        if account is None or account.deactivated:
            raise not_found("There is no such user, or the account is deactivated.")
        return account

    async def find_subject(self, requester: Requester, user_id: str) -> Account:
        """An account that may be locked or suspended: not one's own, and no other administrator's."""
        account = await self.find(requester, user_id)
        if account.admin:
            raise forbidden("This user is an administrator.")
        return account

    async def set_flag(self, user_id: str, flag: Flag, value: bool) -> None:
        """Set a flag; it holds from the user's next request on."""

        async def write(transaction: Transaction) -> None:
            if await accounts.set_flag(transaction, user_id, flag, value):
                announce_change(transaction, user_id)

        await self._writer.run(write)

    async def whois(self, requester: Requester, user_id: str) -> dict[str, Any]:
        """A user's devices and where they were last used from, for the user and for administrators."""
        if user_id != requester.user_id:
            await self.find(requester, user_id)
        found: dict[str, Any] = {}
        for device in await devices.of_user(self._database, user_id):
            seen = {"ip": device.address, "last_seen": device.seen_ts, "user_agent": device.user_agent}
            connection = {name: value for name, value in seen.items() if value is not None}
            found[device.device_id] = {"sessions": [{"connections": [connection] if connection else []}]}
        return {"user_id": user_id, "devices": found}
