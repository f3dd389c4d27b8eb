"""Who gets an account, and by which way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.accounts.conftest import PASSWORD, SERVER, Floor

from ranvier.accounts.interactive_auth import AuthenticationNeeded, InteractiveRules
from ranvier.accounts.passwords import PasswordPolicy
from ranvier.protocol.refusal import Refusal
from ranvier.store import accounts, profiles, registration_tokens

OPERATION = "POST /register"
POLICIES = {"privacy": {"version": "1.2", "en": {"name": "Privacy", "url": "https://ranvier.test/privacy"}}}


async def step(floor: Floor, body: dict[str, Any]) -> dict[str, Any]:
    """One request that must not be enough: the answer that says what is missing."""
    with pytest.raises(AuthenticationNeeded) as caught:
        await floor.registration.register(OPERATION, body)
    return caught.value.to_json()


async def refused(floor: Floor, body: dict[str, Any]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await floor.registration.register(OPERATION, body)
    assert not isinstance(caught.value, AuthenticationNeeded)
    return caught.value


async def test_a_closed_server_says_so_before_anything_else(floor: Floor):
    floor.allow(enabled=False)
    refusal = await refused(floor, {"username": "alice"})
    assert refusal.errcode == "M_FORBIDDEN"
    assert "closed" in refusal.error


async def test_an_account_is_made_once_the_dummy_stage_is_done(floor: Floor):
    body = {"username": "Alice", "password": PASSWORD, "initial_device_display_name": "Phone"}
    asked = await step(floor, body)
    assert asked["flows"] == [{"stages": ["m.login.dummy"]}]
    assert "errcode" not in asked
    auth = {"type": "m.login.dummy", "session": asked["session"]}
    user_id, session = await floor.registration.register(OPERATION, {**body, "auth": auth})
    assert user_id == f"@alice:{SERVER}"
    assert session is not None
    requester = await floor.requester(session)
    assert (requester.user_id, requester.device_id) == (user_id, session.device_id)
    assert await profiles.read(floor.database, user_id) == {"displayname": "alice"}


async def test_a_request_without_auth_never_makes_an_account(floor: Floor):
    await step(floor, {"username": "alice", "password": PASSWORD})
    assert await accounts.find(floor.database, f"@alice:{SERVER}") is None


async def test_no_login_comes_with_the_account_if_none_is_wanted(floor: Floor):
    body = {
        "username": "alice",
        "password": PASSWORD,
        "inhibit_login": True,
        "auth": {"type": "m.login.dummy"},
    }
    user_id, session = await floor.registration.register(OPERATION, body)
    assert session is None
    assert await accounts.exists(floor.database, user_id)
    assert await floor.database.fetch_value("SELECT COUNT(*) FROM access_tokens") == 0


async def test_a_name_is_drawn_for_who_gives_none(floor: Floor):
    user_id, _ = await floor.registration.register(
        OPERATION, {"password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    )
    assert await accounts.exists(floor.database, user_id)


@pytest.mark.parametrize(
    "name", ["al ice", "älice", "@alice:ranvier.test", "", "a:b", "a" * 250, "_alice", "a\0b"]
)
async def test_names_that_break_the_grammar_are_refused_before_authentication(floor: Floor, name: str):
    refusal = await refused(floor, {"username": name, "password": PASSWORD})
    assert refusal.errcode == "M_INVALID_USERNAME"


async def test_a_taken_name_is_refused_before_authentication(floor: Floor):
    await floor.make("alice")
    assert (await refused(floor, {"username": "ALICE", "password": PASSWORD})).errcode == "M_USER_IN_USE"
    with pytest.raises(Refusal, match="M_USER_IN_USE"):
        await floor.registration.is_available("alice")
    assert await floor.registration.is_available("bob")


async def test_a_server_may_hide_which_names_are_taken_until_the_end(floor: Floor):
    floor.allow(hide_taken_names=True)
    await floor.make("alice")
    assert await floor.registration.is_available("alice")
    body = {"username": "alice", "password": PASSWORD}
    await step(floor, body)
    assert (await refused(floor, {**body, "auth": {"type": "m.login.dummy"}})).errcode == "M_USER_IN_USE"


async def test_a_bridge_s_name_is_for_the_bridge_alone(floor: Floor):
    floor.allow(is_reserved=lambda user_id: user_id.startswith("@irc_"))
    assert (await refused(floor, {"username": "irc_bob", "password": PASSWORD})).errcode == "M_EXCLUSIVE"


async def test_of_two_who_register_a_name_at_once_one_gets_it(floor: Floor):
    body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    outcomes = await asyncio.gather(
        *(floor.registration.register(OPERATION, body) for _ in range(2)), return_exceptions=True
    )
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert [refusal.errcode for refusal in refusals] == ["M_USER_IN_USE"]


@pytest.mark.parametrize(
    ("password", "missing"),
    [
        ("short1!A", "10 characters"),
        ("longenough!A", "digit"),
        ("longenough1A", "symbol"),
        ("LONGENOUGH1!", "lower"),
    ],
)
async def test_weak_passwords_are_refused_where_there_is_a_policy(floor: Floor, password: str, missing: str):
    floor.allow(password_policy=PasswordPolicy(True, 10, True, True, True, True))
    refusal = await refused(floor, {"username": "alice", "password": password})
    assert refusal.errcode == "M_WEAK_PASSWORD"
    assert missing in refusal.error


async def test_a_registration_token_lets_as_many_in_as_it_says(floor: Floor):
    floor.allow(requires_token=True)
    await floor.write(registration_tokens.create, "sesame", 1, None)
    body = {"username": "alice", "password": PASSWORD}
    asked = await step(floor, body)
    assert asked["flows"] == [{"stages": ["m.login.registration_token", "m.login.dummy"]}]
    auth = {"type": "m.login.registration_token", "session": asked["session"]}
    wrong = await step(floor, {**body, "auth": {**auth, "token": "open"}})
    assert wrong["errcode"] == "M_UNAUTHORIZED"
    await step(floor, {**body, "auth": {**auth, "token": "sesame"}})
    dummy = {"type": "m.login.dummy", "session": asked["session"]}
    await floor.registration.register(OPERATION, {**body, "auth": dummy})
    used = await registration_tokens.find(floor.database, "sesame")
    assert used is not None
    assert (used.pending, used.completed) == (0, 1)
    assert not await floor.registration.token_is_valid("sesame")
    late = await step(floor, {"username": "bob", "auth": {"type": auth["type"], "token": "sesame"}})
    assert late["errcode"] == "M_UNAUTHORIZED"


async def test_a_registration_that_is_given_up_gives_its_use_of_the_token_back(floor: Floor):
    floor.allow(requires_token=True, requires_terms=True)
    floor.interactive_rules = InteractiveRules(policies=POLICIES)
    await floor.write(registration_tokens.create, "sesame", 1, None)
    auth = {"type": "m.login.registration_token", "token": "sesame"}
    await step(floor, {"username": "alice", "password": PASSWORD, "auth": auth})
    assert not await floor.registration.token_is_valid("sesame")
    floor.clock.pass_by(25 * 3600 * 1000)
    await step(floor, {"username": "bob", "password": PASSWORD})
    assert await floor.registration.token_is_valid("sesame")


async def test_requests_at_once_with_one_session_make_one_account(floor: Floor):
    floor.allow(requires_token=True)
    await floor.write(registration_tokens.create, "sesame", 1, None)
    body = {"password": PASSWORD}
    asked = await step(floor, {**body, "auth": {"type": "m.login.registration_token", "token": "sesame"}})
    last = {**body, "auth": {"type": "m.login.dummy", "session": asked["session"]}}
    found = await asyncio.gather(
        *(floor.registration.register(OPERATION, last) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, Refusal) for one in found) == 4
    assert await floor.database.fetch_value("SELECT COUNT(*) FROM users") == 1
    token = await registration_tokens.find(floor.database, "sesame")
    assert token is not None
    assert (token.pending, token.completed) == (0, 1)


async def test_stages_must_be_done_in_the_order_of_the_flow(floor: Floor):
    floor.allow(requires_token=True, requires_terms=True)
    floor.interactive_rules = InteractiveRules(policies=POLICIES)
    await floor.write(registration_tokens.create, "sesame", None, None)
    body = {"username": "alice", "password": PASSWORD}
    asked = await step(floor, body)
    assert asked["params"]["m.login.terms"]["policies"] == POLICIES
    session = {"session": asked["session"]}
    early = await step(floor, {**body, "auth": {"type": "m.login.terms", **session}})
    assert early["errcode"] == "M_FORBIDDEN"
    first = {"type": "m.login.registration_token", "token": "sesame", **session}
    halfway = await step(floor, {**body, "auth": first})
    assert halfway["completed"] == ["m.login.registration_token"]
    again = await step(floor, {**body, "auth": first})
    assert again["completed"] == halfway["completed"]
    await step(floor, {**body, "auth": {"type": "m.login.dummy", **session}})
    user_id, _ = await floor.registration.register(
        OPERATION, {**body, "auth": {"type": "m.login.terms", **session}}
    )
    account = await accounts.find(floor.database, user_id)
    assert account is not None
    assert account.consent == '{"privacy":"1.2"}'


async def test_after_a_page_of_the_server_the_session_alone_is_enough(floor: Floor):
    floor.allow(requires_terms=True)
    floor.interactive_rules = InteractiveRules(policies=POLICIES)
    asked = await step(floor, {"username": "alice", "password": PASSWORD, "device_id": "PHONE"})
    await step(floor, {"auth": {"type": "m.login.dummy", "session": asked["session"]}})
    await floor.authentication.complete(asked["session"], "m.login.terms", {})
    user_id, session = await floor.registration.register(OPERATION, {"auth": {"session": asked["session"]}})
    assert user_id == f"@alice:{SERVER}"
    assert session is not None
    assert session.device_id == "PHONE"
    await floor.logins.with_password({"type": "m.id.user", "user": "alice"}, PASSWORD, _wish())


def _wish() -> Any:
    from ranvier.accounts.sessions import Wish

    return Wish()


async def test_what_was_confirmed_for_one_request_does_not_count_for_another(floor: Floor):
    floor.allow(requires_token=True, requires_terms=True)
    floor.interactive_rules = InteractiveRules(policies=POLICIES)
    await floor.write(registration_tokens.create, "sesame", None, None)
    auth = {"type": "m.login.registration_token", "token": "sesame"}
    begun = await step(floor, {"username": "alice", "password": PASSWORD, "auth": auth})
    dummy = {"type": "m.login.dummy", "session": begun["session"]}
    answer = await step(floor, {"username": "mallory", "password": PASSWORD, "auth": dummy})
    assert answer["session"] != begun["session"]
    assert "completed" not in answer


async def test_a_password_is_nowhere_in_the_store_while_a_registration_is_under_way(floor: Floor):
    await step(floor, {"username": "alice", "password": "visible to nobody"})
    rows = await floor.database.fetch("SELECT * FROM interactive_sessions")
    assert len(rows) == 1
    assert all(
        "visible" not in str(value) and b"visible" not in bytes(str(value), "utf8") for value in rows[0]
    )


async def test_an_unknown_session_begins_anew(floor: Floor):
    auth = {"type": "m.login.dummy", "session": "made up"}
    answer = await step(floor, {"username": "alice", "password": PASSWORD, "auth": auth})
    assert answer["session"] != "made up"
    assert answer["errcode"] == "M_UNKNOWN"


@pytest.mark.parametrize(
    "body",
    [
        {"username": 5},
        {"password": ["a"]},
        {"inhibit_login": "yes", "auth": {"type": "m.login.dummy"}, "password": "x"},
        {"auth": "please"},
        {"auth": {"session": 5}},
        {"auth": {"session": "x" * 300}},
        {"device_id": "x" * 600, "password": "x", "auth": {"type": "m.login.dummy"}},
        {"auth": {"type": "m.login.dummy"}},
    ],
)
async def test_malformed_requests_are_refused_not_failed(floor: Floor, body: dict[str, Any]):
    refusal = await refused(floor, body)
    assert refusal.errcode in ("M_INVALID_PARAM", "M_BAD_JSON", "M_MISSING_PARAM")
