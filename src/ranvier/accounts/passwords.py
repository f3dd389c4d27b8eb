"""Passwords: how strong they must be, and how they are hashed.

New hashes are argon2id (19 MiB, two passes, one lane). Hashes of imported accounts are bcrypt; they are replaced
when the user next logs in. Hashing happens one at a time in a thread of its own, so that memory stays bounded and
the event loop free. See docs/decisions/0021-password-hashes.md.
"""

import asyncio
import string
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ranvier.protocol.refusal import Refusal, invalid_param

LONGEST = 512
"""Characters of a password."""
_WAITING = 200
"""Hashes that may wait for the thread; at 30 ms each the last one comes after six seconds."""
_BCRYPT_BYTES = 72
"""All that bcrypt looks at."""
_PASSES = 2
_MEMORY_KIB = 19 * 1024
_NOBODY = f"$argon2id$v=19$m={_MEMORY_KIB},t={_PASSES},p=1${'A' * 22}${'A' * 43}"
"""The hash of no password: takes as long to verify as a real one."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """What a new password must have; `minimum_length` counts characters."""

    enabled: bool = False
    minimum_length: int = 0
    require_digit: bool = False
    require_symbol: bool = False
    require_lowercase: bool = False
    require_uppercase: bool = False


def check_policy(policy: PasswordPolicy, password: str) -> None:
    """Refuse a password that is too long, or weaker than the policy asks (M_WEAK_PASSWORD)."""
    if not password or len(password) > LONGEST or "\0" in password:
        raise invalid_param(f"A password has 1 to {LONGEST} characters, and none of them is NUL.")
    if not policy.enabled:
        return
    asked = [
        (len(password) >= policy.minimum_length, f"at least {policy.minimum_length} characters"),
        (not policy.require_digit or any(c.isdigit() for c in password), "a digit"),
        (not policy.require_symbol or any(_is_symbol(c) for c in password), "a symbol"),
        (not policy.require_lowercase or any(c.islower() for c in password), "a lower-case letter"),
        (not policy.require_uppercase or any(c.isupper() for c in password), "an upper-case letter"),
    ]
    missing = [what for met, what in asked if not met]
    if missing:
        raise Refusal("M_WEAK_PASSWORD", f"The password needs {', '.join(missing)}.")


def _is_symbol(character: str) -> bool:
    return character in string.punctuation or not (character.isalnum() or character.isspace())


class Passwords:
    """Hashes and verifies. `pepper` is appended to every password first and must never change."""

    def __init__(self, pepper: str = "") -> None:
        self._pepper = pepper
        self._argon2 = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1)
        self._thread = ThreadPoolExecutor(1, "passwords")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The argon2id hash of a new password."""
        peppered = self._prepare(password)
        return await self._in_turn(lambda: self._argon2.hash(peppered))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether that is the password. Without a hash it takes as long, and is not."""
        if len(password) > LONGEST:
            return False
        known = password_hash is not None
        peppered = self._prepare(password)
        return await self._in_turn(lambda: self._matches(peppered, password_hash or _NOBODY)) and known

    def is_dated(self, password_hash: str) -> bool:
        """Whether the hash should be made anew, with today's method and parameters."""
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    def stop(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, password: str) -> str:
        return unicodedata.normalize("NFKC", password) + self._pepper

    def _matches(self, peppered: str, password_hash: str) -> bool:
        if password_hash.startswith("$2"):
            import bcrypt  # noqa: PLC0415 - only imported accounts need it

            try:
                return bcrypt.checkpw(peppered.encode()[:_BCRYPT_BYTES], password_hash.encode())
            except ValueError:
                return False
        try:
            return self._argon2.verify(password_hash, peppered)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= _WAITING:
            raise Refusal(
                "M_LIMIT_EXCEEDED", "Too many log in at this moment; try again soon.", retry_after_ms=5000
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1
