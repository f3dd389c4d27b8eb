"""Logging in and out, and what becomes of tokens."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import bcrypt
import pytest
from tests.accounts.conftest import PASSWORD, SERVER, Floor

from ranvier.accounts.registration import NewAccount
from ranvier.accounts.sessions import Session, Wish
from ranvier.accounts.tokens import TokenLifetimes, announce_change
from ranvier.protocol.refusal import Refusal
from ranvier.store import accounts, devices, threepids
from ranvier.store.database import Transaction

ALICE = {"type": "m.id.user", "user": "alice"}
USER = f"@alice:{SERVER}"
MINUTE = 60_000


async def refusal_of(floor: Floor, session: Session) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await floor.requester(session)
    return caught.value


@pytest.mark.parametrize("name", ["alice", USER, "Alice", f"@ALICE:{SERVER}"])
async def test_a_user_may_be_named_by_localpart_or_in_full(floor: Floor, name: str):
    await floor.make("alice")
    session = await floor.logins.with_password({"type": "m.id.user", "user": name}, PASSWORD, Wish())
    assert session.user_id == USER
    assert (await floor.requester(session)).device_id == session.device_id


async def test_a_mail_address_names_its_owner_and_an_unknown_one_is_forbidden(floor: Floor):
    await floor.make("alice")
    await floor.write(threepids.add, USER, "email", "alice@example.org", 1)
    known = {"type": "m.id.thirdparty", "medium": "email", "address": "Alice@Example.org"}
    assert (await floor.logins.with_password(known, PASSWORD, Wish())).user_id == USER
    with pytest.raises(Refusal, match="M_FORBIDDEN"):
        await floor.logins.with_password({**known, "address": "bob@example.org"}, PASSWORD, Wish())
    await floor.write(threepids.add, USER, "msisdn", "447700900123", 1)
    phone = {"type": "m.id.phone", "country": "GB", "phone": "+44 7700 900123"}
    assert (await floor.logins.with_password(phone, PASSWORD, Wish())).user_id == USER


async def test_wrong_password_and_unknown_user_look_the_same(floor: Floor):
    await floor.make("alice")
    for name in ("alice", "bob"):
        with pytest.raises(Refusal) as caught:
            await floor.logins.with_password({"type": "m.id.user", "user": name}, "wrong", Wish())
        assert caught.value.to_json() == {
            "errcode": "M_FORBIDDEN",
            "error": "The user name or the password is wrong.",
        }


async def test_too_many_wrong_passwords_stop_the_right_one_for_a_while(floor: Floor):
    await floor.make("alice")
    for _ in range(3):
        with pytest.raises(Refusal, match="M_FORBIDDEN"):
            await floor.logins.with_password(ALICE, "wrong", Wish())
    with pytest.raises(Refusal, match="M_LIMIT_EXCEEDED"):
        await floor.logins.with_password(ALICE, PASSWORD, Wish())
    floor.clock.pass_by(MINUTE)
    await floor.logins.with_password(ALICE, PASSWORD, Wish())


async def test_many_wrong_passwords_at_once_count_like_one_after_the_other(floor: Floor):
    await floor.make("alice")
    attempts = [floor.logins.with_password(ALICE, f"guess {n}", Wish()) for n in range(20)]
    found = await asyncio.gather(*attempts, return_exceptions=True)
    errcodes = sorted(refusal.errcode for refusal in found if isinstance(refusal, Refusal))
    assert errcodes == ["M_FORBIDDEN"] * 3 + ["M_LIMIT_EXCEEDED"] * 17


async def test_a_crowd_of_attempts_at_one_account_does_not_keep_others_waiting(floor: Floor):
    await floor.make("alice")
    await floor.make("bob")
    bob = {"type": "m.id.user", "user": "bob"}
    crowd = [asyncio.ensure_future(floor.logins.with_password(ALICE, PASSWORD, Wish())) for _ in range(60)]
    await asyncio.sleep(0)
    await floor.logins.with_password(bob, PASSWORD, Wish())
    assert sum(not attempt.done() for attempt in crowd) > 40
    found = await asyncio.gather(*crowd, return_exceptions=True)
    assert [one.errcode for one in found if isinstance(one, Refusal)] == ["M_LIMIT_EXCEEDED"] * 10


async def test_an_address_that_nobody_has_can_not_be_told_from_one_that_somebody_has(floor: Floor):
    await floor.make("alice")
    await floor.write(threepids.add, USER, "email", "alice@example.org", 1)
    for name in ("alice", "bob"):
        address = {"type": "m.id.thirdparty", "medium": "email", "address": f"{name}@example.org"}
        found = await asyncio.gather(
            *(floor.logins.with_password(address, "wrong", Wish()) for _ in range(4)), return_exceptions=True
        )
        errcodes = sorted(one.errcode for one in found if isinstance(one, Refusal))
        assert errcodes == [*["M_FORBIDDEN"] * 3, "M_LIMIT_EXCEEDED"]


async def test_logging_in_with_a_device_again_ends_its_former_login_and_keeps_its_name(floor: Floor):
    await floor.make("alice")
    first = await floor.logins.with_password(ALICE, PASSWORD, Wish("PHONE", "Blue phone", refreshable=True))
    await floor.requester(first)
    second = await floor.logins.with_password(ALICE, PASSWORD, Wish("PHONE", "Red phone"))
    assert (await refusal_of(floor, first)).errcode == "M_UNKNOWN_TOKEN"
    assert first.refresh_token is not None
    with pytest.raises(Refusal, match="M_UNKNOWN_TOKEN"):
        await floor.logins.refresh(first.refresh_token)
    assert (await floor.requester(second)).device_id == "PHONE"
    device = await devices.find(floor.database, USER, "PHONE")
    assert device is not None
    assert device.display_name == "Blue phone"


async def test_a_deactivated_user_can_not_log_in(floor: Floor):
    await floor.make("alice")
    await floor.write(accounts.deactivate, USER, False)
    with pytest.raises(Refusal, match="M_USER_DEACTIVATED"):
        await floor.logins.with_password(ALICE, PASSWORD, Wish())


async def test_a_locked_user_keeps_the_session_but_can_not_use_it(floor: Floor):
    session = await floor.make("alice")
    await floor.requester(session)

    async def lock(transaction: Transaction, locked: bool) -> None:
        await accounts.set_flag(transaction, USER, "locked", locked)
        announce_change(transaction, USER)

    await floor.write(lock, True)
    refusal = await refusal_of(floor, session)
    assert refusal.to_json()["soft_logout"] is True
    assert refusal.errcode == "M_USER_LOCKED"
    assert (await floor.tokens.authenticate(session.access_token, locked_ok=True)).user_id == USER
    with pytest.raises(Refusal, match="M_USER_LOCKED"):
        await floor.logins.with_password(ALICE, PASSWORD, Wish())
    await floor.write(lock, False)
    await floor.requester(session)


async def test_an_imported_bcrypt_hash_lets_in_once_and_is_argon2_after_that(floor: Floor):
    await floor.registration.create(NewAccount(USER), None)
    old = bcrypt.hashpw(b"s3cret" + b"a pinch of pepper", bcrypt.gensalt(4)).decode()
    await floor.write(accounts.set_password, USER, old)
    with pytest.raises(Refusal, match="M_FORBIDDEN"):
        await floor.logins.with_password(ALICE, "other", Wish())
    await floor.logins.with_password(ALICE, "s3cret", Wish())
    account = await accounts.find(floor.database, USER)
    assert account is not None
    assert account.password_hash is not None
    assert account.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await floor.logins.with_password(ALICE, "s3cret", Wish())


async def test_an_imported_bcrypt_hash_of_a_long_password_counts_its_first_72_bytes(floor: Floor):
    await floor.registration.create(NewAccount(USER), None)
    password = "ä" * 60
    old = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    await floor.write(accounts.set_password, USER, old)
    await floor.logins.with_password(ALICE, password, Wish())


async def test_the_same_characters_in_another_unicode_form_are_the_same_password(floor: Floor):
    await floor.registration.create(NewAccount(USER, "cafe\u0301 au lait"), None)
    await floor.logins.with_password(ALICE, "caf\u00e9 au lait", Wish())


async def test_no_token_lies_in_the_store_as_it_is(floor: Floor):
    session = await floor.make("alice")
    rows = await floor.database.fetch("SELECT * FROM access_tokens")
    assert session.access_token not in str([list(row) for row in rows])


async def test_a_token_that_never_was_is_unknown_and_the_session_is_lost(floor: Floor):
    for token in ("", "rva_unknown", "x" * 5000, "\ud800"):
        with pytest.raises(Refusal) as caught:
            await floor.tokens.authenticate(token)
        assert caught.value.errcode == "M_UNKNOWN_TOKEN"
        assert caught.value.to_json()["soft_logout"] is False


async def test_a_warm_token_needs_no_database(floor: Floor, monkeypatch: pytest.MonkeyPatch):
    session = await floor.make("alice")
    before = await floor.requester(session)

    def fail(*_: object) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(type(floor.database), "fetch_row", fail)
    assert await floor.requester(session) is before


async def test_an_expired_token_asks_for_a_soft_logout(floor: Floor):
    floor.login_rules = replace(floor.login_rules, lifetimes=TokenLifetimes(other_access=MINUTE))
    await floor.make("alice")
    session = await floor.logins.with_password(ALICE, PASSWORD, Wish("PHONE"))
    assert session.to_json()["expires_in_ms"] == MINUTE
    await floor.requester(session)
    floor.clock.pass_by(MINUTE)
    refusal = await refusal_of(floor, session)
    assert (refusal.errcode, refusal.to_json()["soft_logout"]) == ("M_UNKNOWN_TOKEN", True)


async def test_a_login_ends_with_its_session_however_often_it_is_refreshed(floor: Floor):
    floor.login_rules = replace(floor.login_rules, lifetimes=TokenLifetimes(session=10 * MINUTE))
    await floor.make("alice")
    session = await floor.logins.with_password(ALICE, PASSWORD, Wish(refreshable=True))
    assert session.expires_in_ms == 5 * MINUTE
    floor.clock.pass_by(8 * MINUTE)
    assert session.refresh_token is not None
    renewed = await floor.logins.refresh(session.refresh_token)
    assert renewed.expires_in_ms == 2 * MINUTE
    floor.clock.pass_by(2 * MINUTE)
    assert renewed.refresh_token is not None
    with pytest.raises(Refusal) as caught:
        await floor.logins.refresh(renewed.refresh_token)
    assert caught.value.to_json()["soft_logout"] is True


async def refreshable(floor: Floor) -> tuple[Session, str]:
    await floor.make("alice")
    session = await floor.logins.with_password(ALICE, PASSWORD, Wish("PHONE", refreshable=True))
    assert session.refresh_token is not None
    await floor.requester(session)
    return session, session.refresh_token


async def test_old_tokens_hold_until_the_new_access_token_is_used(floor: Floor):
    old, refresh = await refreshable(floor)
    lost = await floor.logins.refresh(refresh)
    new = await floor.logins.refresh(refresh)
    await floor.requester(old)
    assert (await floor.requester(new)).device_id == "PHONE"
    assert (await refusal_of(floor, old)).errcode == "M_UNKNOWN_TOKEN"
    assert (await refusal_of(floor, lost)).errcode == "M_UNKNOWN_TOKEN"
    with pytest.raises(Refusal, match="M_UNKNOWN_TOKEN"):
        await floor.logins.refresh(refresh)
    await floor.requester(new)


async def test_old_tokens_fall_when_the_new_refresh_token_is_used(floor: Floor):
    old, refresh = await refreshable(floor)
    second = await floor.logins.refresh(refresh)
    assert second.refresh_token is not None
    third = await floor.logins.refresh(second.refresh_token)
    with pytest.raises(Refusal, match="M_UNKNOWN_TOKEN"):
        await floor.logins.refresh(refresh)
    assert (await refusal_of(floor, old)).errcode == "M_UNKNOWN_TOKEN"
    await floor.requester(second)
    await floor.requester(third)
    assert (await refusal_of(floor, second)).errcode == "M_UNKNOWN_TOKEN"


async def test_logging_out_ends_the_device_and_nothing_else(floor: Floor):
    first = await floor.make("alice", "PHONE")
    second = await floor.logins.with_password(ALICE, PASSWORD, Wish("LAPTOP"))
    await floor.logins.log_out(await floor.requester(first))
    assert (await refusal_of(floor, first)).to_json()["soft_logout"] is False
    await floor.requester(second)
    assert [device.device_id for device in await devices.of_user(floor.database, USER)] == ["LAPTOP"]


async def test_logging_out_everywhere_ends_all_devices_of_that_user_only(floor: Floor):
    first = await floor.make("alice", "PHONE")
    second = await floor.logins.with_password(ALICE, PASSWORD, Wish("LAPTOP"))
    other = await floor.make("bob")
    for session in (first, second, other):
        await floor.requester(session)
    await floor.logins.log_out_everywhere(USER)
    for session in (first, second):
        assert (await refusal_of(floor, session)).errcode == "M_UNKNOWN_TOKEN"
    await floor.requester(other)
    assert await devices.of_user(floor.database, USER) == []


async def test_a_login_token_logs_in_once(floor: Floor):
    session = await floor.make("alice")
    with pytest.raises(Refusal, match="M_UNRECOGNIZED"):
        await floor.logins.create_token(await floor.requester(session))
    floor.login_rules = replace(floor.login_rules, tokens=True)
    logins = floor.logins
    assert {"type": "m.login.token", "get_login_token": True} in logins.flows()
    token, life = await logins.create_token(await floor.requester(session))
    assert life == 2 * MINUTE
    again = await logins.with_token(token, Wish("TABLET"))
    assert (await floor.requester(again)).device_id == "TABLET"
    for spent in (token, "rvl_made_up"):
        with pytest.raises(Refusal, match="M_FORBIDDEN"):
            await logins.with_token(spent, Wish())
    late, _ = await logins.create_token(await floor.requester(session))
    floor.clock.pass_by(3 * MINUTE)
    with pytest.raises(Refusal, match="M_FORBIDDEN"):
        await logins.with_token(late, Wish())


async def test_a_server_without_passwords_says_so(floor: Floor):
    floor.login_rules = replace(floor.login_rules, passwords=False)
    assert floor.logins.flows() == []
    with pytest.raises(Refusal, match="M_UNKNOWN"):
        await floor.logins.with_password(ALICE, PASSWORD, Wish())


async def test_more_tokens_than_memory_holds_still_authenticate(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ranvier.accounts.tokens._CACHED", 2)
    sessions = [await floor.make(name) for name in ("alice", "bob", "carol")]
    for _ in range(2):
        for session in sessions:
            assert (await floor.requester(session)).user_id == session.user_id


@pytest.mark.parametrize(
    "identifier",
    [
        {},
        {"type": "m.id.user"},
        {"type": "m.id.user", "user": 5},
        {"type": "m.id.soul"},
        {"type": "m.id.phone"},
    ],
)
async def test_identifiers_that_name_nobody_are_refused(floor: Floor, identifier: dict[str, object]):
    with pytest.raises(Refusal) as caught:
        await floor.logins.with_password(identifier, PASSWORD, Wish())
    assert caught.value.errcode in ("M_MISSING_PARAM", "M_BAD_JSON", "M_UNKNOWN")
