"""Another password for an account.

Source: Client-Server API, "Password management".
"""

from ranvier.accounts.passwords import PasswordPolicy, Passwords, check_policy
from ranvier.accounts.requester import Requester
from ranvier.accounts.sessions import end_all
from ranvier.store import accounts
from ranvier.store.database import Transaction
from ranvier.store.writer import Writer


class PasswordChange:
    """Changes passwords, for users themselves and for administrators."""

    def __init__(self, policy: PasswordPolicy, passwords: Passwords, writer: Writer) -> None:
        self._policy = policy
        self._passwords = passwords
        self._writer = writer

    def check(self, password: str) -> None:
        """Refuse a password that is too weak (M_WEAK_PASSWORD)."""
        check_policy(self._policy, password)

    async def change(
        self, user_id: str, password: str, *, log_out: bool, kept: Requester | None = None
    ) -> None:
        """Set the password, and if `log_out` end all logins but that of `kept`, who asks for it."""
        self.check(password)
        password_hash = await self._passwords.hash(password)

        async def write(transaction: Transaction) -> None:
            await accounts.set_password(transaction, user_id, password_hash)
            if log_out:
                device_id = kept.device_id if kept is not None else None
                token = kept.token if kept is not None else b""
                await end_all(transaction, user_id, kept_device=device_id, kept=token)

        await self._writer.run(write)
