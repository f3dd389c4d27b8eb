"""Registration tokens, and the nonces of registrations with a shared secret."""

from dataclasses import dataclass

from ranvier.store.database import Reader, Transaction

_COLUMNS = "token, uses_allowed, pending, completed, expiry_ts"
_USABLE = (
    "(expiry_ts IS NULL OR expiry_ts > $1) AND (uses_allowed IS NULL OR pending + completed < uses_allowed)"
)


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """`pending` counts registrations under way; `None` stands for no limit and no expiry (milliseconds)."""

    token: str
    uses_allowed: int | None
    pending: int
    completed: int
    expiry_ts: int | None


async def find(reader: Reader, token: str) -> RegistrationToken | None:
    """The token, whether it can still be used or not."""
    row = await reader.fetch_row(f"SELECT {_COLUMNS} FROM registration_tokens WHERE token = $1", token)  # noqa: S608
    return RegistrationToken(*row) if row is not None else None


async def is_usable(reader: Reader, token: str, now: int) -> bool:
    """Whether an account could be made with the token at this moment."""
    sql = f"SELECT 1 FROM registration_tokens WHERE {_USABLE} AND token = $2"  # noqa: S608
    return await reader.fetch_value(sql, now, token) is not None


async def read_all(reader: Reader, now: int, usable: bool | None) -> list[RegistrationToken]:
    """All tokens, or only those that can (or can't) still be used."""
    where = "" if usable is None else f"WHERE {'' if usable else 'NOT '}({_USABLE})"
    values = () if usable is None else (now,)
    sql = f"SELECT {_COLUMNS} FROM registration_tokens {where} ORDER BY token"  # noqa: S608
    return [RegistrationToken(*row) for row in await reader.fetch(sql, *values)]


async def create(
    transaction: Transaction, token: str, uses_allowed: int | None, expiry_ts: int | None
) -> bool:
    """Add a token; False if there is such."""
    row = (token, uses_allowed, 0, 0, expiry_ts)
    return await transaction.insert("registration_tokens", _COLUMNS, [row], "DO NOTHING") == 1


async def change(
    transaction: Transaction, token: str, uses_allowed: int | None, expiry_ts: int | None
) -> None:
    """Set both limits anew."""
    await transaction.execute(
        "UPDATE registration_tokens SET uses_allowed = $2, expiry_ts = $3 WHERE token = $1",
        token,
        uses_allowed,
        expiry_ts,
    )


async def remove(transaction: Transaction, token: str) -> bool:
    """Forget a token; False if there is none."""
    return await transaction.execute("DELETE FROM registration_tokens WHERE token = $1", token) == 1


async def reserve(transaction: Transaction, token: str, now: int) -> bool:
    """Count a registration under way; False if the token can't be used."""
    sql = f"UPDATE registration_tokens SET pending = pending + 1 WHERE {_USABLE} AND token = $2"  # noqa: S608
    return await transaction.execute(sql, now, token) == 1


async def release(transaction: Transaction, token: str, *, completed: bool) -> None:
    """A registration under way is done, or was given up."""
    await transaction.execute(
        "UPDATE registration_tokens SET pending = pending - 1, completed = completed + $2 "
        "WHERE token = $1 AND pending > 0",
        token,
        int(completed),
    )


async def add_nonce(transaction: Transaction, nonce: str, expires_ts: int, now: int, most: int) -> None:
    """Remember a nonce, forget those that expired, and of the rest all but the newest `most`."""
    await transaction.execute("DELETE FROM registration_nonces WHERE expires_ts <= $1", now)
    await transaction.insert("registration_nonces", "nonce, expires_ts", [(nonce, expires_ts)])
    await transaction.execute(
        "DELETE FROM registration_nonces WHERE nonce IN "
        "(SELECT nonce FROM registration_nonces ORDER BY expires_ts DESC LIMIT 1000 OFFSET $1)",
        most,
    )


async def take_nonce(transaction: Transaction, nonce: str, now: int) -> bool:
    """Spend a nonce; False if it is unknown, expired or spent."""
    sql = "DELETE FROM registration_nonces WHERE nonce = $1 AND expires_ts > $2"
    return await transaction.execute(sql, nonce, now) == 1
