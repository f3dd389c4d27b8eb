"""Identifier grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.protocol import identifiers
from ranvier.protocol.identifiers import BadIdentifier


@pytest.mark.parametrize(
    "name",
    [
        "matrix.org", "matrix.org:8888", "1.2.3.4", "1.2.3.4:1234", "[1234:5678::abcd]", "[1234:5678::abcd]:5678",
        "localhost", "UPPER.example",
    ],
)  # fmt: skip
def test_server_names_of_the_specification_are_valid(name: str) -> None:
    assert identifiers.is_valid_server_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ":8448", "a:b", "a:123456", "[::1", "[zz::1]", "[1:2:3]", "a_b", "a/b", "a b", "a\n", "é.example", "a:1\n",
        "١.example", "a:١", "x" * 256,
    ],
)  # fmt: skip
def test_other_strings_are_no_server_names(name: str) -> None:
    assert not identifiers.is_valid_server_name(name)
    with pytest.raises(BadIdentifier):
        identifiers.check_server_name(name)


def test_a_user_id_is_split_at_its_first_colon() -> None:
    assert identifiers.parse_user_id("@alice:example.org:8448") == ("alice", "example.org:8448")
    assert identifiers.parse_room_alias("#röom:example.org") == ("röom", "example.org")
    assert identifiers.server_name_of("!abc:example.org:8448") == "example.org:8448"


@pytest.mark.parametrize(
    "user_id", ["@:example.org", "@A B/é:example.org", "@\x01:example.org", "@🦀:example.org"]
)
def test_historical_user_ids_are_accepted_but_not_for_new_accounts(user_id: str) -> None:
    identifiers.check_user_id(user_id)
    with pytest.raises(BadIdentifier):
        identifiers.check_new_user_id(user_id)


@pytest.mark.parametrize(
    "user_id",
    [
        "", "alice:example.org", "@alice", "@alice:", "@a\0b:example.org", "@a\ud800:example.org", "@alice:exa mple",
        "@" + "a" * 243 + ":example.org", "@" + "é" * 122 + ":example.org",
    ],
)  # fmt: skip
def test_malformed_user_ids_are_refused(user_id: str) -> None:
    with pytest.raises(BadIdentifier):
        identifiers.check_user_id(user_id)


def test_a_user_id_may_have_255_bytes() -> None:
    identifiers.check_user_id("@" + "a" * 242 + ":example.org")
    identifiers.check_new_user_id("@a-z0.9_=/+:example.org")


@pytest.mark.parametrize("localpart", ["", "Alice", "a:b", "a b", "é", "a\n"])
def test_new_localparts_have_a_narrow_alphabet(localpart: str) -> None:
    assert not identifiers.is_valid_localpart(localpart)


def test_historical_localparts_exclude_only_colon_nul_and_surrogates() -> None:
    assert identifiers.is_historical_localpart("")
    assert identifiers.is_historical_localpart("Ä \x7f")
    assert not any(map(identifiers.is_historical_localpart, ["a:b", "\0", "\ud800"]))


@pytest.mark.parametrize(
    "room_id", ["!abc:example.org", "!BZO3N9s2ghkiCU1gLxNHOxWaezbQf3CbKd7Angn4m8k", "! :x"]
)
def test_room_ids_are_opaque(room_id: str) -> None:
    identifiers.check_room_id(room_id)


@pytest.mark.parametrize("room_id", ["", "!", "#a:b", "!a\0", "!" + "a" * 255, "!\udfff"])
def test_malformed_room_ids_are_refused(room_id: str) -> None:
    with pytest.raises(BadIdentifier):
        identifiers.check_room_id(room_id)
    with pytest.raises(BadIdentifier):
        identifiers.check_event_id(room_id.replace("!", "$"))


def test_aliases_cannot_contain_nul_and_need_a_server_name() -> None:
    for alias in ("#a", "#a\0:b", "a:b", "#a:b c"):
        with pytest.raises(BadIdentifier):
            identifiers.check_room_alias(alias)
    with pytest.raises(BadIdentifier):
        identifiers.server_name_of("#a")


def test_namespaced_and_opaque_identifiers_have_their_alphabets() -> None:
    identifiers.check_namespaced("m.login.password")
    identifiers.check_opaque("aZ-._~9")
    for text in ("", "1a", "A", "a b", "a" * 256, "a\n"):
        with pytest.raises(BadIdentifier):
            identifiers.check_namespaced(text)
    for text in ("", "a/b", "é", "a" * 256, "a\n"):
        with pytest.raises(BadIdentifier):
            identifiers.check_opaque(text)


@given(st.text(st.characters(), max_size=40))
def test_every_check_raises_its_own_error_and_no_other(text: str) -> None:
    for check in (
        identifiers.check_user_id,
        identifiers.check_new_user_id,
        identifiers.check_room_alias,
        identifiers.check_room_id,
        identifiers.check_event_id,
        identifiers.check_server_name,
        identifiers.check_namespaced,
        identifiers.check_opaque,
    ):
        for sigil in ("", "@", "#", "!", "$"):
            try:
                check(sigil + text)
            except BadIdentifier as error:
                assert str(error).endswith((".", "+", "~", "_"))


def test_clients_hear_of_compliant_users_only() -> None:
    for user_id in ("@alice:example.org", "@Alice!~/:example.org", "@a:[::1]:8448"):
        assert identifiers.is_compliant_user_id(user_id)
    for user_id in (
        "@:example.org",
        "@a b:example.org",
        "@\x7f:example.org",
        "@\u00e9:example.org",
        "alice",
        "@a",
    ):
        assert not identifiers.is_compliant_user_id(user_id)
