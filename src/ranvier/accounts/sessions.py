"""A login: a device and its tokens, made outside of the transaction that writes them."""

import secrets
import string
from dataclasses import dataclass
from typing import Any

from ranvier.accounts.account_data import forget_device_settings
from ranvier.accounts.tokens import (
    ACCESS,
    REFRESH,
    TokenLifetimes,
    announce_change,
    announce_end,
    hash_token,
    make_token,
)
from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.refusal import forbidden, invalid_param
from ranvier.store import cross_signing, device_keys, devices, tokens
from ranvier.store.database import Transaction

LONGEST_DEVICE_ID = 512
LONGEST_DISPLAY_NAME = 255
_LONGEST_AGENT = 512


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client says of itself when it logs in, and where it does so from: all of it optional."""

    device_id: str | None = None
    display_name: str | None = None
    refreshable: bool = False
    address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A login. `refresh_token` and the times (milliseconds since the epoch) are `None` where there is none."""

    user_id: str
    device_id: str
    display_name: str | None
    access_token: str
    refresh_token: str | None
    expires_in_ms: int | None
    expires_ts: int | None
    refresh_expires_ts: int | None
    session_expires_ts: int | None
    address: str | None = None
    user_agent: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What the client is told."""
        answer: dict[str, Any] = {
            "user_id": self.user_id,
            "access_token": self.access_token,
            "device_id": self.device_id,
            "home_server": server_name_of(self.user_id),
        }
        if self.refresh_token is not None:
            answer["refresh_token"] = self.refresh_token
        if self.expires_in_ms is not None:
            answer["expires_in_ms"] = self.expires_in_ms
        return answer


def check_device_id(device_id: str) -> None:
    """Refuse what can't name a device."""
    if not 0 < len(device_id) <= LONGEST_DEVICE_ID or "\0" in device_id:
        raise invalid_param(f"A device_id has 1 to {LONGEST_DEVICE_ID} characters, and none of them is NUL.")


def shorten_agent(user_agent: str | None) -> str | None:
    """What is kept of a client's `User-Agent`."""
    return user_agent.replace("\0", "")[:_LONGEST_AGENT] if user_agent else None


def make_session(lifetimes: TokenLifetimes, user_id: str, wish: Wish, now: int) -> Session:
    """Draw the tokens of a new login, and a device id if the client has none."""
    if wish.device_id is not None:
        check_device_id(wish.device_id)
    device_id = wish.device_id or "".join(secrets.choice(string.ascii_uppercase) for _ in range(10))
    name = (
        wish.display_name.replace("\0", "")[:LONGEST_DISPLAY_NAME] if wish.display_name is not None else None
    )
    session_ts = _after(now, lifetimes.session)
    access = lifetimes.refreshable_access if wish.refreshable else lifetimes.other_access
    expires_ts = _soonest(_after(now, access), session_ts)
    return Session(
        user_id,
        device_id,
        name,
        make_token(ACCESS),
        make_token(REFRESH) if wish.refreshable else None,
        expires_ts - now if expires_ts is not None else None,
        expires_ts,
        _soonest(_after(now, lifetimes.refresh), session_ts),
        session_ts,
        wish.address,
        wish.user_agent,
    )


def renew(lifetimes: TokenLifetimes, old: tokens.RefreshToken, now: int) -> Session:
    """Draw the next tokens of a login that goes on."""
    session_ts = old.session_expires_ts
    expires_ts = _soonest(_after(now, lifetimes.refreshable_access), session_ts)
    return Session(
        old.user_id,
        old.device_id,
        None,
        make_token(ACCESS),
        make_token(REFRESH),
        expires_ts - now if expires_ts is not None else None,
        expires_ts,
        _soonest(_after(now, lifetimes.refresh), session_ts),
        session_ts,
    )


async def write_session(transaction: Transaction, session: Session, now: int) -> None:
    """Make the device, or take it over: its former tokens fall, its keys stay.

    Refuses a device that is called like one of the user's cross-signing keys.
    """
    if await cross_signing.is_cross_signing_key(transaction, session.user_id, session.device_id):
        raise forbidden("A device can't have the name of one of your cross-signing keys.")
    made = await devices.add(transaction, session.user_id, session.device_id, session.display_name, now)
    if not made:
        gone = await tokens.remove_of_devices(transaction, session.user_id, [session.device_id])
        announce_end(transaction, gone)
    if session.address is not None:
        agent = shorten_agent(session.user_agent)
        seen = devices.Sighting(session.user_id, session.device_id, now, session.address, agent)
        await devices.write_sightings(transaction, [seen])
    await write_tokens(transaction, session, None)


async def write_tokens(transaction: Transaction, session: Session, replaces: bytes | None) -> None:
    """Give out the tokens; `replaces` is the refresh token that they were got for."""
    refresh = None
    if session.refresh_token is not None:
        refresh = hash_token(session.refresh_token)
        row = tokens.RefreshToken(
            session.user_id,
            session.device_id,
            replaces,
            session.refresh_expires_ts,
            session.session_expires_ts,
        )
        await tokens.add_refresh(transaction, refresh, row)
    await tokens.add_access(
        transaction,
        hash_token(session.access_token),
        session.user_id,
        session.device_id,
        expires_ts=session.expires_ts,
        refresh_hash=refresh,
    )


async def end_devices(transaction: Transaction, user_id: str, device_ids: list[str]) -> None:
    """Delete devices with their tokens, their keys, the messages that wait for them, and what was set for them."""
    await devices.remove(transaction, user_id, device_ids)
    for device_id in device_ids:
        await forget_device_settings(transaction, user_id, device_id)
    announce_end(transaction, await tokens.remove_of_devices(transaction, user_id, device_ids))
    await device_keys.delete_device_keys(transaction, user_id, device_ids)


async def end_all(
    transaction: Transaction, user_id: str, *, kept_device: str | None, kept: bytes = b""
) -> None:
    """End all logins of a user but one: `kept_device` with the access token whose hash is `kept`."""
    ids = [d.device_id for d in await devices.of_user(transaction, user_id) if d.device_id != kept_device]
    await end_devices(transaction, user_id, ids)
    await tokens.remove_all(transaction, user_id, kept=kept)
    announce_change(transaction, user_id)


def _after(now: int, lifetime: int | None) -> int | None:
    return now + lifetime if lifetime is not None else None


def _soonest(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
