"""The grammar of Matrix identifiers (appendices, "Identifier Grammar").

Identifiers travel as plain `str`. A `parse_*` function splits, a `check_*` function only looks; both raise
`BadIdentifier`. Two grammars exist for users: the one for new accounts, and the historical one that is wider
and that events and peers may still use.
"""

import re
from ipaddress import AddressValueError, IPv6Address

MAX_IDENTIFIER_BYTES = 255

_NEW_LOCALPART = re.compile(r"[a-z0-9._=\-/+]+\Z")
_COMPLIANT_LOCALPART = re.compile(r"[!-9;-~]+\Z")
_SERVER_NAME = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[0-9A-Za-z.\-]{1,255}))(?::(?P<port>[0-9]{1,5}))?\Z"
)
_PLAIN_EVENT_ID = re.compile(r"\$[!-~]{1,254}\Z")
_NAMESPACED = re.compile(r"[a-z][a-z0-9\-_.]{0,254}\Z")
_OPAQUE = re.compile(r"[0-9A-Za-z\-._~]{1,255}\Z")


class BadIdentifier(ValueError):
    """An identifier that breaks its grammar; the message is a sentence for whoever sent it."""


def parse_user_id(user_id: str) -> tuple[str, str]:
    """Localpart and server name of a user ID; historical localparts, the empty one included, are accepted."""
    return _parse(user_id, "@", "user ID")


def parse_room_alias(alias: str) -> tuple[str, str]:
    """Localpart and server name of a room alias."""
    return _parse(alias, "#", "room alias")


def server_name_of(identifier: str) -> str:
    """What follows the first colon of a user ID, an alias, or a room or event ID that has a domain.

    The server name is not checked: the identifier is one that passed its own check before.
    """
    _, colon, server_name = identifier.partition(":")
    if not colon:
        raise BadIdentifier("This identifier has no server name: there is no colon in it.")
    return server_name


def is_user_id_shaped(text: str) -> bool:
    """Whether it begins with `@` and has a colon: less than the grammar asks of a user ID."""
    return text[:1] == "@" and ":" in text


def is_valid_localpart(localpart: str) -> bool:
    """Whether a new account may have this localpart; the length of the whole ID is checked elsewhere."""
    return _NEW_LOCALPART.match(localpart) is not None


def is_historical_localpart(localpart: str) -> bool:
    """Whether a user ID that appears in an event may have this localpart."""
    return ":" not in localpart and "\0" not in localpart and _bytes_of(localpart) is not None


def is_compliant_user_id(user_id: str) -> bool:
    """Whether it is a user ID that clients may hear of outside the context of an event.

    Events of senders with other, historical IDs must be accepted; of them alone nothing else is passed on.
    """
    try:
        localpart, _ = parse_user_id(user_id)
    except BadIdentifier:
        return False
    return _COMPLIANT_LOCALPART.match(localpart) is not None


def is_valid_server_name(server_name: str) -> bool:
    """Whether it is a host name, an IPv4 address or a bracketed IPv6 address, with or without a port."""
    match = _SERVER_NAME.match(server_name)
    if match is None or len(server_name) > MAX_IDENTIFIER_BYTES:
        return False
    ipv6 = match["ipv6"]
    if ipv6 is None:
        return True
    try:
        IPv6Address(ipv6)
    except AddressValueError:
        return False
    return True


def check_server_name(server_name: str) -> None:
    """Raises BadIdentifier unless it is a server name."""
    if not is_valid_server_name(server_name):
        raise BadIdentifier(
            "This is not a server name: it must be a host name or an IP address, perhaps with a port."
        )


def check_user_id(user_id: str, *, counts_bytes: bool = True) -> None:
    """Raises BadIdentifier unless it is a user ID, historical ones included.

    Without `counts_bytes` its length is that in code points, as of IDs in events of old room versions.
    """
    _parse(user_id, "@", "user ID", counts_bytes)


def check_new_user_id(user_id: str) -> None:
    """Raises BadIdentifier unless a new account may have this ID."""
    localpart, _ = _parse(user_id, "@", "user ID")
    check_localpart(localpart)


def check_localpart(localpart: str) -> None:
    """Raises BadIdentifier unless a new account may have this localpart."""
    if not is_valid_localpart(localpart):
        raise BadIdentifier("A user name can only contain the characters a-z, 0-9, or any of . _ = - / +")


def check_room_alias(alias: str) -> None:
    """Raises BadIdentifier unless it is a room alias."""
    _parse(alias, "#", "room alias")


def check_room_id(room_id: str, *, counts_bytes: bool = True) -> None:
    """Raises BadIdentifier unless it is a room ID, of any room version; `counts_bytes` as of `check_user_id`."""
    _check_opaque_with_sigil(room_id, "!", "room ID", counts_bytes)


def check_event_id(event_id: str, *, counts_bytes: bool = True) -> None:
    """Raises BadIdentifier unless it is an event ID, of any room version; `counts_bytes` as of `check_user_id`."""
    if _PLAIN_EVENT_ID.match(event_id) is None:
        _check_opaque_with_sigil(event_id, "$", "event ID", counts_bytes)


def check_namespaced(identifier: str) -> None:
    """Raises BadIdentifier unless it keeps to the Common Namespaced Identifier Grammar."""
    if _NAMESPACED.match(identifier) is None:
        raise BadIdentifier(
            "This must begin with a letter a-z and have at most 255 characters, each one of a-z, 0-9, - _ ."
        )


def check_opaque(identifier: str) -> None:
    """Raises BadIdentifier unless it keeps to the Opaque Identifier Grammar."""
    if _OPAQUE.match(identifier) is None:
        raise BadIdentifier("This must have 1 to 255 characters, each one of 0-9, A-Z, a-z, - . _ ~")


def _parse(identifier: str, sigil: str, noun: str, counts_bytes: bool = True) -> tuple[str, str]:
    if identifier[:1] != sigil:
        raise BadIdentifier(f"A {noun} begins with '{sigil}'.")
    localpart, colon, server_name = identifier[1:].partition(":")
    if not colon:
        raise BadIdentifier(f"A {noun} has the form {sigil}localpart:server_name.")
    _check_length(identifier, noun, counts_bytes)
    if "\0" in localpart:
        raise BadIdentifier(f"A {noun} cannot contain NUL.")
    if not is_valid_server_name(server_name):
        raise BadIdentifier(f"What follows the first colon of a {noun} must be a server name.")
    return localpart, server_name


def _check_opaque_with_sigil(identifier: str, sigil: str, noun: str, counts_bytes: bool) -> None:
    if identifier[:1] != sigil:
        raise BadIdentifier(f"A {noun} begins with '{sigil}'.")
    if len(identifier) == 1:
        raise BadIdentifier(f"A {noun} has more than its sigil.")
    if "\0" in identifier:
        raise BadIdentifier(f"A {noun} cannot contain NUL.")
    _check_length(identifier, noun, counts_bytes)


def _check_length(identifier: str, noun: str, counts_bytes: bool) -> None:
    size = _bytes_of(identifier)
    if size is None:
        raise BadIdentifier(f"A {noun} cannot contain surrogate code points.")
    if (size if counts_bytes else len(identifier)) > MAX_IDENTIFIER_BYTES:
        raise BadIdentifier(f"A {noun} has at most {MAX_IDENTIFIER_BYTES} bytes.")


def _bytes_of(text: str) -> int | None:
    """Length in UTF-8, or None if the text cannot be written in it."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None
