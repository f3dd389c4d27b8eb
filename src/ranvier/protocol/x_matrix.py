"""Authentication of requests between servers: the `Authorization: X-Matrix …` header, and what it signs.

Source: server-server API, "Request Authentication"; form of the header: RFC 9110, section 11.4.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ranvier.protocol.identifiers import is_valid_server_name
from ranvier.protocol.signing import SigningKey

MAX_HEADER: Final = 4096
"""Characters of a header that are read; names of 255 and a signature of 86 leave plenty of room."""

_SCHEME: Final = re.compile(r"(?i:x-matrix)(?:[ \t]+|\Z)")
_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# COMPAT(older servers): values with colons need no quotes, and some leave them away around Base64 too.
_PARAMETER: Final = re.compile(
    rf'({_NAME})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"\\]+))[ \t]*(?:,|\Z)', re.ASCII
)
_BETWEEN: Final = re.compile(r"[ \t,]*")
_ESCAPED: Final = re.compile(r"\\(.)")
_KEY_ID: Final = re.compile(r"ed25519:[A-Za-z0-9_]{1,200}\Z", re.ASCII)
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{86}={0,2}\Z", re.ASCII)


class BadXMatrix(ValueError):
    """A header that can't be read; the message is a sentence for the server that sent it."""


class XMatrix(NamedTuple):
    """What a header says: who asks, whom it asks (older servers leave it out), by which key, and the signature."""

    origin: str
    destination: str | None
    key_id: str
    signature: str


def is_x_matrix(header: str) -> bool:
    """Whether this `Authorization` header is meant to be read here."""
    return _SCHEME.match(header) is not None


def parse(header: str) -> XMatrix:
    """What the header says. Raises BadXMatrix."""
    if len(header) > MAX_HEADER:
        raise BadXMatrix(f"The Authorization header is longer than {MAX_HEADER} characters.")
    scheme = _SCHEME.match(header)
    if scheme is None:
        raise BadXMatrix("The Authorization header must begin with X-Matrix and a space.")
    found = _parameters(header, scheme.end())
    for name in ("origin", "key", "sig"):
        if name not in found:
            raise BadXMatrix(f"The X-Matrix header lacks `{name}`.")
    for name in ("origin", "destination"):
        if name in found and not is_valid_server_name(found[name]):
            raise BadXMatrix(f"`{name}` of the X-Matrix header must be a server name.")
    if _KEY_ID.match(found["key"]) is None:
        raise BadXMatrix("`key` of the X-Matrix header must have the form ed25519:version.")
    if _SIGNATURE.match(found["sig"]) is None:
        raise BadXMatrix("`sig` of the X-Matrix header must be the Base64 of an Ed25519 signature.")
    return XMatrix(found["origin"], found.get("destination"), found["key"], found["sig"])


def _parameters(header: str, position: int) -> dict[str, str]:
    """The parameters by lower-case name; the text's `signature` counts as `sig`, which everybody writes."""
    found: dict[str, str] = {}
    while position < len(header):
        between = _BETWEEN.match(header, position)
        position = between.end() if between is not None else position
        if position == len(header):
            break
        match = _PARAMETER.match(header, position)
        if match is None:
            raise BadXMatrix(
                "The X-Matrix header must be a list of name=value, with commas between, values in double quotes."
            )
        name = match[1].lower()
        name = "sig" if name == "signature" else name
        if name in found:
            raise BadXMatrix(f"The X-Matrix header says `{name}` twice.")
        found[name] = match[3] if match[3] is not None else _ESCAPED.sub(r"\1", match[2])
        position = match.end()
    return found


def signed_request(
    method: str, uri: str, origin: str, destination: str, content: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The object that is signed for a request; `uri` is path and query exactly as they are sent."""
    request: dict[str, Any] = {
        "method": method,
        "uri": uri,
        "origin": origin,
        "destination": destination,
    }
    if content is not None:
        request["content"] = content
    return request


def make(
    signer: SigningKey, destination: str, method: str, uri: str, content: Mapping[str, Any] | None
) -> str:
    """The header of a request of ours. Raises BadJson for content that can't be signed."""
    origin = signer.server_name
    signed = signer.sign_json(signed_request(method, uri, origin, destination, content))
    signature = signed["signatures"][origin][signer.key_id]
    return f'X-Matrix origin="{origin}",destination="{destination}",key="{signer.key_id}",sig="{signature}"'
