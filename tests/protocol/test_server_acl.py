"""Server ACLs: who may take part in a room. Source: `m.room.server_acl`."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.json_values import STRICT_OBJECTS
from tests.protocol.sent_events import make_event

from ranvier.protocol.server_acl import ServerAcl, host_of, is_ip_literal, may_take_part, server_acl_of

NAMES = st.sampled_from(
    [
        "a.com",
        "A.com:8448",
        "b.a.com",
        "xa.com",
        "c.b.a.com",
        "com",
        "1.2.3.4",
        "1.2.3.4:80",
        "[::1]:8448",
        "a",
    ]
)
PATTERNS = st.text("ab.*?c:1[", max_size=6) | NAMES


def allowed(server_name: str, **content: Any) -> bool:
    return ServerAcl(content).allows(server_name)


def test_a_room_without_an_acl_is_open_to_all() -> None:
    assert may_take_part("evil.com", None)
    assert server_acl_of(None) is None


def test_what_is_denied_stays_out_even_if_it_is_allowed_too() -> None:
    assert not allowed("evil.com", allow=["*", "evil.com"], deny=["evil.com"])
    assert allowed("good.com", allow=["*"], deny=["evil.com"])


def test_who_is_in_no_list_stays_out() -> None:
    assert not allowed("good.com")
    assert not allowed("good.com", deny=["evil.com"])
    assert not allowed("good.com", allow=["better.com"])


@pytest.mark.parametrize("name", ["evil.com", "evil.com:8448", "evil.com:1234", "EVIL.com", "Evil.Com:1"])
def test_the_port_and_the_case_of_a_server_name_make_no_difference(name: str) -> None:
    assert not allowed(name, allow=["*"], deny=["evil.com"])
    assert not allowed(name, allow=["*"], deny=["EVIL.COM"])
    assert allowed(name, allow=["evil.com"])
    assert allowed(name, allow=["eViL.*"])


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (
            "*.evil.com",
            ["a.evil.com", "b.a.evil.com", ".evil.com"],
            ["evil.com", "xevil.com", "a.evil.com.org"],
        ),
        ("*evil.com", ["evil.com", "xevil.com", "a.evil.com"], ["evil.org"]),
        ("evil.*", ["evil.com", "evil."], ["xevil.com", "evil"]),
        ("?.evil.com", ["a.evil.com"], ["ab.evil.com", ".evil.com", "evil.com"]),
        ("*.?.com", ["a.b.com"], ["a.bb.com"]),
        ("evil", ["evil"], ["evil.com", "devil"]),
        ("evi[l].com", [], ["evil.com"]),
        ("evil.com:8448", [], ["evil.com:8448", "evil.com"]),
        ("[::1]", ["[::1]", "[::1]:8448"], ["[::2]"]),
        ("1.2.3.*", ["1.2.3.4", "1.2.3.4:8448"], ["1.2.4.4"]),
    ],
)
def test_entries_are_globs_of_whole_names(pattern: str, matching: list[str], others: list[str]) -> None:
    for name in matching:
        assert allowed(name, allow=[pattern])
        assert not allowed(name, allow=["*"], deny=[pattern])
    for name in others:
        assert not allowed(name, allow=[pattern])
        assert allowed(name, allow=["*"], deny=[pattern])


@pytest.mark.parametrize(
    "name", ["1.2.3.4", "1.2.3.4:8448", "[::1]", "[::1]:8448", "[2001:db8::1]", "255.255.255.255", "01.2.3.4"]
)
def test_addresses_stay_out_where_the_room_says_so(name: str) -> None:
    assert not allowed(name, allow=["*", name], allow_ip_literals=False)
    assert allowed(name, allow=["*"], allow_ip_literals=True)
    assert allowed(name, allow=["*"])


@pytest.mark.parametrize(
    "name", ["1.2.3.example", "1.2.3.4.5", "1.2.3", "a1.2.3.4", "1.2.3.4.example:8448", "1.2.3.256"]
)
def test_what_only_resembles_an_address_is_none(name: str) -> None:
    assert allowed(name, allow=["*"], allow_ip_literals=False)


@pytest.mark.parametrize("value", [None, 0, "false", [], {}])
def test_what_is_no_boolean_leaves_addresses_allowed(value: Any) -> None:
    assert allowed("1.2.3.4", allow=["*"], allow_ip_literals=value)


@pytest.mark.parametrize("value", [None, 5, "*", {"*": "*"}, [None, 5, ["*"]]])
def test_a_list_that_is_none_is_empty(value: Any) -> None:
    assert not allowed("good.com", allow=value)
    assert allowed("good.com", allow=["*"], deny=value)


def test_entries_that_are_no_text_do_not_hide_the_others() -> None:
    assert not allowed("evil.com", allow=["*"], deny=[5, "evil.com", None])


def test_an_acl_is_compiled_once_for_its_event() -> None:
    event = make_event("m.room.server_acl", {"allow": ["*"]}, state_key="")
    assert server_acl_of(event) is server_acl_of(event)
    assert may_take_part("good.com", event)


def naive_match(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive_match(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and naive_match(pattern[1:], text[1:])


@given(
    st.lists(PATTERNS, max_size=4),
    st.lists(PATTERNS, max_size=4),
    st.sampled_from([True, False, None]),
    NAMES,
)
def test_the_compiled_list_decides_as_the_text_does(
    allow: list[str], deny: list[str], literals: bool | None, name: str
) -> None:
    host = host_of(name).lower()
    denied = literals is False and is_ip_literal(host)
    denied = denied or any(naive_match(pattern.lower(), host) for pattern in deny)
    expected = not denied and any(naive_match(pattern.lower(), host) for pattern in allow)
    acl = ServerAcl({"allow": allow, "deny": deny, "allow_ip_literals": literals})
    assert acl.allows(name) is expected
    assert acl.allows(name) is expected


@given(STRICT_OBJECTS, st.text(max_size=300))
def test_no_content_and_no_name_raises(content: dict[str, Any], name: str) -> None:
    assert ServerAcl(content).allows(name) in (True, False)
    assert ServerAcl({"allow": ["*"], **content}).allows(name) in (True, False)


def test_a_long_list_is_no_burden() -> None:
    deny = [f"*.evil{number}.example" for number in range(1000)] + [
        f"evil{number}.org" for number in range(1000)
    ]
    acl = ServerAcl({"allow": ["*"], "deny": deny})
    started = time.process_time()
    for number in range(10_000):
        acl.allows(f"server{number}.good.example")
    assert time.process_time() - started < 0.5
