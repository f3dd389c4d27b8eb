"""Cross-signing keys of users: one each to be the master, to sign own devices, and to sign other users."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ranvier.store.database import Reader, Transaction
from ranvier.store.device_keys import announce_device_list

Purpose = Literal["master", "self_signing", "user_signing"]


class CrossSigningRow(NamedTuple):
    """What a key is for, the public key (unpadded Base64), and the uploaded object as JSON."""

    purpose: Purpose
    public_key: str
    key: str


async def read_cross_signing_keys(
    reader: Reader, user_ids: Sequence[str]
) -> dict[str, dict[Purpose, CrossSigningRow]]:
    """The keys of these users, by user and purpose."""
    found: dict[str, dict[Purpose, CrossSigningRow]] = {}
    rows = await reader.fetch(
        "SELECT user_id, purpose, public_key, key FROM cross_signing_keys WHERE user_id = ANY($1)",
        list(user_ids),
    )
    for user_id, purpose, public_key, key in rows:
        found.setdefault(user_id, {})[purpose] = CrossSigningRow(purpose, public_key, key)
    return found


async def is_cross_signing_key(reader: Reader, user_id: str, public_key: str) -> bool:
    """Whether the user has a cross-signing key of that name: no device of theirs may be called so."""
    found = await reader.fetch_value(
        "SELECT 1 FROM cross_signing_keys WHERE user_id = $1 AND public_key = $2", user_id, public_key
    )
    return found is not None


async def write_cross_signing_keys(
    transaction: Transaction, user_id: str, keys: Sequence[CrossSigningRow], replaced: Sequence[str]
) -> None:
    """Keep keys in place of those for the same purposes, and say so to those who follow the user.

    Signatures of and by the `replaced` public keys go: they speak of keys that nobody uses any more.
    """
    await transaction.insert(
        "cross_signing_keys",
        "user_id, purpose, public_key, key",
        [(user_id, *key) for key in keys],
        "(user_id, purpose) DO UPDATE SET public_key = excluded.public_key, key = excluded.key",
    )
    await _delete_signatures(transaction, user_id, replaced)
    await announce_device_list(transaction, user_id, cross_signing=True)


async def delete_cross_signing_keys(transaction: Transaction, user_id: str) -> None:
    """Forget a user's cross-signing keys and what they signed, as when the account is closed."""
    rows = await transaction.fetch("SELECT public_key FROM cross_signing_keys WHERE user_id = $1", user_id)
    if not rows:
        return
    await transaction.execute("DELETE FROM cross_signing_keys WHERE user_id = $1", user_id)
    await _delete_signatures(transaction, user_id, [row[0] for row in rows])
    await announce_device_list(transaction, user_id, cross_signing=True)


async def _delete_signatures(transaction: Transaction, user_id: str, public_keys: Sequence[str]) -> None:
    if not public_keys:
        return
    await transaction.execute(
        "DELETE FROM key_signatures WHERE target_user = $1 AND target_key = ANY($2)",
        user_id,
        list(public_keys),
    )
    await transaction.execute(
        "DELETE FROM key_signatures WHERE signer = $1 AND signing_key = ANY($2)",
        user_id,
        [f"ed25519:{key}" for key in public_keys],
    )
