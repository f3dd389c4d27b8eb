"""Tokens: what they look like, what each stands for, and when it ends.

A token is a prefix and 256 random bits. Its SHA-256 is what the store and the cache know it by.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ranvier.accounts.requester import Requester
from ranvier.protocol.refusal import Refusal
from ranvier.store import tokens as stored
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import EVERYONE, Kind
from ranvier.store.writer import Writer

ACCESS = "rva_"
REFRESH = "rvr_"
LOGIN = "rvl_"
OPENID = "rvo_"
_LONGEST = 2048
_CACHED = 50_000


@dataclass(frozen=True, slots=True)
class TokenLifetimes:
    """How long tokens live, in milliseconds; `None` is for ever.

    `refreshable_access` is for access tokens that came with a refresh token, `other_access` for those without.
    `session` bounds a whole login, however often it is refreshed. `login` is for tokens that log in another client.
    """

    refreshable_access: int | None = 300_000
    other_access: int | None = None
    refresh: int | None = None
    session: int | None = None
    login: int = 120_000


def make_token(prefix: str) -> str:
    """A new random token."""
    return prefix + secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """What the store knows a token by."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def announce_end(transaction: Transaction, digests: Sequence[bytes]) -> None:
    """Tell all caches that these access tokens are no longer valid."""
    for digest in digests:
        transaction.announce(Entry(Kind.TOKEN, EVERYONE, digest.hex()))


def announce_change(transaction: Transaction, user_id: str) -> None:
    """Tell all caches that the user's tokens ended, or that the user is somebody else now (an administrator, …)."""
    transaction.announce(Entry(Kind.TOKEN, EVERYONE, user_id))


@dataclass(slots=True)
class _Known:
    requester: Requester
    expires_ts: int | None
    locked: bool


class Tokens:
    """Access tokens and who they stand for: from memory when warm, else from the store.

    The memory is bounded, and follows the log: composition must hand `heard` every entry.
    """

    def __init__(self, database: Database, writer: Writer, now: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._now = now
        self._known: dict[bytes, _Known] = {}
        self._of_user: dict[str, set[bytes]] = {}
        self._changes = 0

    async def authenticate(self, token: str, *, locked_ok: bool = False) -> Requester:
        """Who asks; refuses tokens that are unknown, ended or expired, and locked users unless `locked_ok`.

        `soft_logout` is true where logging in again with the same device is enough.
        """
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is None:
            known = await self._find(token, digest)
        if known.expires_ts is not None and known.expires_ts <= self._now():
            raise Refusal("M_UNKNOWN_TOKEN", "The access token has expired.", soft_logout=True)
        if known.locked and not locked_ok:
            raise Refusal("M_USER_LOCKED", "This account is locked.", soft_logout=True)
        return known.requester

    async def _find(self, token: str, digest: bytes) -> _Known:
        if len(token) > _LONGEST:
            raise _unknown()
        changes = self._changes
        row = await stored.find_access(self._database, digest)
        if row is None:
            raise _unknown()
        if row.supersedes is not None and (row.expires_ts is None or row.expires_ts > self._now()):
            await self._retire(row.supersedes)
        requester = Requester(
            row.user_id,
            row.device_id,
            digest,
            is_admin=row.admin,
            is_guest=row.guest,
            shadow_banned=row.shadow_banned,
            is_suspended=row.suspended,
        )
        known = _Known(requester, row.expires_ts, row.locked)
        # What was heard while the row was read may concern it: then it is right for now, but not to be kept.
        if changes == self._changes:
            self._keep(digest, known)
        return known

    async def _retire(self, refresh: bytes) -> None:
        """The client has its new tokens: the old ones fall (Client-Server API, "Refreshing access tokens")."""

        async def write(transaction: Transaction) -> None:
            announce_end(transaction, await stored.retire_refresh(transaction, refresh))

        await self._writer.run(write)

    def _keep(self, digest: bytes, known: _Known) -> None:
        while len(self._known) >= _CACHED:
            self._forget(next(iter(self._known)))
        self._known[digest] = known
        self._of_user.setdefault(known.requester.user_id, set()).add(digest)

    def _forget(self, digest: bytes) -> None:
        known = self._known.pop(digest, None)
        if known is not None:
            user_id = known.requester.user_id
            mine = self._of_user[user_id]
            mine.discard(digest)
            if not mine:
                del self._of_user[user_id]

    def heard(self, entries: Sequence[Entry]) -> None:
        """Forget what the log says has ended or changed."""
        for entry in entries:
            if entry.kind != Kind.TOKEN:
                continue
            self._changes += 1
            if entry.ref.startswith("@"):
                for digest in list(self._of_user.get(entry.ref, ())):
                    self._forget(digest)
            else:
                self._forget(bytes.fromhex(entry.ref))


def _unknown() -> Refusal:
    return Refusal("M_UNKNOWN_TOKEN", "This access token is not known: log in again.", soft_logout=False)
