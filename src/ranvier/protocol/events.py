"""Events: from the wire form (a PDU) to a value, and from intentions to a signed PDU.

Formats by room version: server-server API, "PDUs", and the room versions' "Event format"; limits of size:
client-server API, "Size limits".
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from ranvier.protocol import canonical_json, signing, unpadded_base64
from ranvier.protocol.identifiers import (
    BadIdentifier,
    check_event_id,
    check_room_id,
    check_user_id,
    server_name_of,
)
from ranvier.protocol.redaction import redact
from ranvier.protocol.room_versions import EventIdFormat, RoomVersion
from ranvier.protocol.signing import SigningKey, reference_hash

MAX_PDU_BYTES: Final = 65_536
MAX_FIELD_BYTES: Final = 255
MAX_PREV_EVENTS: Final = 20
MAX_AUTH_EVENTS: Final = 10
MAX_BUILT_NESTING: Final = 100
"""Arrays and objects within each other in an event made here: fewer than are accepted from peers."""

MAX_BUILT_DEPTH: Final = 2**53 - 1
"""COMPAT(synapse, 1.163): room versions 1 to 5 allow 2^63-1, but it drops what is deeper than this."""

_LEAST_64_BIT: Final = -(2**63)
_GREATEST_64_BIT: Final = 2**63 - 1


class BadEvent(ValueError):
    """A PDU that breaks its room version's format, or content that no event can hold."""

    def __init__(self, reason: str, errcode: str = "M_BAD_JSON") -> None:
        super().__init__(reason)
        self.errcode = errcode


class Event:
    """A PDU that keeps to its room version's format. It is never changed after it was made.

    `pdu` is the wire form; `content` the same object as its `content`. `state_key` is None for message
    events, `redacts` the event that this redaction names, wherever its room version keeps it. `client_json`
    is room for the bytes that clients get, and `view` for what a state event's content gives rise to, ready
    for use (power levels, a server ACL): both are filled by whoever needs them first.
    """

    __slots__ = (
        "_pdu_json",
        "auth_events",
        "client_json",
        "content",
        "depth",
        "essence",
        "event_id",
        "origin_server_ts",
        "pdu",
        "prev_events",
        "redacts",
        "room_id",
        "room_version",
        "sender",
        "state_key",
        "type",
        "view",
    )

    def __init__(
        self, event_id: str, room_version: RoomVersion, pdu: dict[str, Any], pdu_json: bytes | None = None
    ) -> None:
        """An event of a PDU that `parse` or `build` once accepted; nothing is checked again."""
        self.event_id = event_id
        self.room_version = room_version
        self.pdu = pdu
        self.type: str = pdu["type"]
        self.sender: str = pdu["sender"]
        self.state_key: str | None = pdu.get("state_key")
        self.content: dict[str, Any] = pdu["content"]
        self.depth: int = pdu["depth"]
        self.origin_server_ts: int = pdu["origin_server_ts"]
        if room_version.references_with_hashes:
            self.prev_events: tuple[str, ...] = tuple([pair[0] for pair in pdu["prev_events"]])
            self.auth_events: tuple[str, ...] = tuple([pair[0] for pair in pdu["auth_events"]])
        else:
            self.prev_events = tuple(pdu["prev_events"])
            self.auth_events = tuple(pdu["auth_events"])
        self.room_id: str = "!" + event_id[1:] if _makes_room_id(pdu, room_version) else pdu["room_id"]
        self.redacts = _redacts_of(pdu, room_version) if self.type == "m.room.redaction" else None
        self.client_json: bytes | None = None
        self.view: object = None
        # The bytes that are signed, between parsing and verifying.
        self.essence: bytes | None = None
        self._pdu_json = pdu_json

    @property
    def pdu_json(self) -> bytes:
        """The PDU in Canonical JSON, made once."""
        if self._pdu_json is None:
            self._pdu_json = canonical_json.trim(canonical_json.encode(self.pdu))
        return self._pdu_json

    @property
    def is_state(self) -> bool:
        """Whether this is a state event."""
        return self.state_key is not None

    def __repr__(self) -> str:
        return f"Event({self.event_id!r}, {self.type!r}, room_id={self.room_id!r}, sender={self.sender!r})"


def parse(pdu: Any, version: RoomVersion) -> Event:
    """The event of a PDU from elsewhere, named and checked for format, not for signatures or hashes.

    The PDU is kept, not copied, but without `unsigned`: nobody vouches for that, and it must reach no client.
    Raises BadEvent: such an event is to be dropped.
    """
    if not isinstance(pdu, dict):
        raise BadEvent("An event is a JSON object.")
    if "unsigned" in pdu:
        if not isinstance(pdu["unsigned"], dict):
            raise BadEvent("unsigned must be an object.")
        pdu = {key: value for key, value in pdu.items() if key != "unsigned"}
    try:
        canonical_json.check(pdu, strict=version.strict_json)
        _check_format(pdu, version)
        pdu_json = canonical_json.encode_checked(pdu) if version.strict_json else canonical_json.encode(pdu)
        _check_size(pdu_json)
        essence = None
        if version.event_id_is_hash:
            essence = _essence(pdu, version)
            event_id = _hash_id(essence, version)
        else:
            event_id = pdu["event_id"]
    except (canonical_json.BadJson, BadIdentifier) as error:
        raise BadEvent(str(error)) from None
    event = Event(event_id, version, pdu, canonical_json.trim(pdu_json))
    event.essence = essence
    return event


def build(
    version: RoomVersion,
    *,
    room_id: str | None,
    sender: str,
    type: str,
    content: dict[str, Any],
    state_key: str | None = None,
    prev_events: Sequence[str],
    auth_events: Sequence[str],
    depth: int,
    origin_server_ts: int,
    redacts: str | None = None,
    reference_hashes: Mapping[str, str] | None = None,
    signer: SigningKey,
) -> Event:
    """A new event: hashed, signed and named.

    `content` is kept, not copied: it must not be changed afterwards. `room_id` is left out of a create event
    whose ID becomes the room's. Rooms of versions 1 and 2 write the SHA-256 reference hash of each previous
    and auth event (unpadded Base64, by event ID): `reference_hashes`. Depth is capped.

    Raises BadEvent with an errcode for content that cannot be sent.
    """
    if redacts is not None and version.redacts_in_content:
        content = {**content, "redacts": redacts}
    pdu: dict[str, Any] = {
        "auth_events": list(auth_events),
        "content": content,
        "depth": min(depth, MAX_BUILT_DEPTH),
        "origin_server_ts": origin_server_ts,
        "prev_events": list(prev_events),
        "sender": sender,
        "type": type,
    }
    if state_key is not None:
        pdu["state_key"] = state_key
    if not _makes_room_id(pdu, version):
        pdu["room_id"] = room_id
    if redacts is not None and not version.redacts_in_content:
        pdu["redacts"] = redacts
    try:
        canonical_json.check(content, strict=version.strict_json, max_nesting=MAX_BUILT_NESTING)
        _check_built(pdu, version)
        if version.references_with_hashes:
            _add_reference_hashes(pdu, reference_hashes or {})
        if not version.event_id_is_hash:
            pdu["event_id"] = _new_id(pdu, signer.server_name)
        return _seal(pdu, version, signer)
    except (canonical_json.BadJson, BadIdentifier) as error:
        raise BadEvent(str(error)) from None


def complete(pdu: Any, version: RoomVersion, signer: SigningKey) -> Event:
    """The event of a template that another server proposed (make_join and its kin), hashed and signed by us.

    The template is changed: its ID, hashes, signatures and `unsigned` give way to ours. Raises BadEvent.
    """
    if not isinstance(pdu, dict):
        raise BadEvent("An event is a JSON object.")
    for key in ("hashes", "signatures", "unsigned", "event_id"):
        pdu.pop(key, None)
    try:
        canonical_json.check(pdu, strict=version.strict_json, max_nesting=MAX_BUILT_NESTING)
        if not version.event_id_is_hash:
            pdu["event_id"] = _new_id(pdu, signer.server_name)
        _check_format({**pdu, "hashes": {"sha256": ""}, "signatures": {}}, version)
        return _seal(pdu, version, signer)
    except (canonical_json.BadJson, BadIdentifier) as error:
        raise BadEvent(str(error)) from None


def redacted(event: Event) -> Event:
    """The event with only what its room version keeps on redaction; it has the same ID."""
    return Event(event.event_id, event.room_version, redact(event.pdu, event.room_version))


def cosigned(event: Event, signer: SigningKey) -> Event:
    """The event with our signature added, as a server does that authorises a restricted join."""
    signatures = signer.sign_json(redact(event.pdu, event.room_version))["signatures"]
    return Event(event.event_id, event.room_version, {**event.pdu, "signatures": signatures})


def required_signers(event: Event) -> frozenset[str]:
    """Servers without whose valid signature the event must be dropped.

    Source: server-server API, "Validating hashes and signatures on received events", and for restricted joins
    the authorisation rule on `join_authorised_via_users_server`.

    Raises BadEvent if the event names one that cannot be.
    """
    version = event.room_version
    content = event.content
    signers = set()
    try:
        is_member = event.type == "m.room.member"
        # The server that sends a third-party invite on may be another than the sender's.
        if not (is_member and content.get("membership") == "invite" and "third_party_invite" in content):
            signers.add(server_name_of(event.sender))
        if not version.event_id_is_hash:
            signers.add(server_name_of(event.event_id))
        if version.restricted_joins and is_member and "join_authorised_via_users_server" in content:
            authoriser = content["join_authorised_via_users_server"]
            if not isinstance(authoriser, str):
                raise BadEvent("join_authorised_via_users_server must be a user ID.")
            check_user_id(authoriser)
            signers.add(server_name_of(authoriser))
    except BadIdentifier as error:
        raise BadEvent(str(error)) from None
    return frozenset(signers)


def exceeded_limit(event: Event) -> str | None:
    """The key of the event that is longer than its limit of 255 bytes, if there is one.

    Room versions that count bytes on receipt drop such an event; in others it has to be rejected, so that those
    that follow can be understood.
    """
    if event.room_version.strict_byte_limits:
        return None
    for key in ("sender", "room_id", "state_key", "type", "event_id"):
        text = getattr(event, key)
        if text is not None and len(text) * 4 > MAX_FIELD_BYTES and len(text.encode()) > MAX_FIELD_BYTES:
            return key
    return None


def reference_hash_of(event: Event) -> str:
    """The event's reference hash in unpadded Base64, for `build`'s `reference_hashes`."""
    return unpadded_base64.encode(reference_hash(event.pdu, event.room_version))


def _seal(pdu: dict[str, Any], version: RoomVersion, signer: SigningKey) -> Event:
    """Add hash and signature to the checked PDU, and name it. Each form is serialised once."""
    encode = canonical_json.encode_checked if version.strict_json else canonical_json.encode
    pdu["hashes"] = {"sha256": unpadded_base64.encode(sha256(encode(pdu)).digest())}
    # What is signed is also what the reference hash covers: the redacted form without signatures.
    essence = encode(redact(pdu, version))
    pdu["signatures"] = {signer.server_name: {signer.key_id: signer.sign(essence)}}
    pdu_json = encode(pdu)
    _check_size(pdu_json)
    event_id: str = pdu["event_id"] if not version.event_id_is_hash else _hash_id(essence, version)
    return Event(event_id, version, pdu, canonical_json.trim(pdu_json))


def signed_bytes(event: Event) -> bytes:
    """What the event's servers sign: its redacted form less `signatures`, which is also what names it.

    Parsing has made it already, and it is kept only until it is asked for. Raises BadJson.
    """
    essence, event.essence = event.essence, None
    return _essence(event.pdu, event.room_version) if essence is None else essence


def content_hash_matches(event: Event) -> bool:
    """Whether the event's content is what its origin hashed; if not, only its redacted form may be used."""
    return signing.content_hash_matches(event.pdu, checked=event.room_version.strict_json)


def _essence(pdu: dict[str, Any], version: RoomVersion) -> bytes:
    """For a checked PDU."""
    essence = redact(pdu, version)
    essence.pop("signatures", None)
    essence.pop("unsigned", None)
    encode = canonical_json.encode_checked if version.strict_json else canonical_json.encode
    return encode(essence)


def _new_id(pdu: dict[str, Any], server_name: str) -> str:
    """An old-style ID, unique without chance: events that agree in all, place included, are one event."""
    opaque = unpadded_base64.encode_url_safe(sha256(canonical_json.encode(pdu)).digest())
    return f"${opaque}:{server_name}"


def _hash_id(essence: bytes, version: RoomVersion) -> str:
    digest = sha256(essence).digest()
    if version.event_id_format is EventIdFormat.URL_SAFE_HASH:
        return "$" + unpadded_base64.encode_url_safe(digest)
    return "$" + unpadded_base64.encode(digest)


def _makes_room_id(pdu: dict[str, Any], version: RoomVersion) -> bool:
    return (
        version.room_id_is_create_event_id and pdu["type"] == "m.room.create" and pdu.get("state_key") == ""
    )


def _redacts_of(pdu: dict[str, Any], version: RoomVersion) -> str | None:
    redacts = (pdu["content"] if version.redacts_in_content else pdu).get("redacts")
    return redacts if isinstance(redacts, str) else None


def _check_size(pdu_json: bytes) -> None:
    if len(pdu_json) > MAX_PDU_BYTES:
        raise BadEvent(f"The event has {len(pdu_json)} bytes; {MAX_PDU_BYTES} are allowed.", "M_TOO_LARGE")


def _check_built(pdu: dict[str, Any], version: RoomVersion) -> None:
    """What `build` cannot know of its callers' input; identifiers were checked where they came in."""
    for key in ("type", "sender", "state_key", "room_id"):
        text = pdu.get(key)
        if text is not None:
            _check_text(key, text, strict_bytes=True)
    if len(pdu["prev_events"]) > MAX_PREV_EVENTS:
        raise BadEvent(f"An event has at most {MAX_PREV_EVENTS} prev_events.")
    if len(pdu["auth_events"]) > MAX_AUTH_EVENTS:
        raise BadEvent(f"An event has at most {MAX_AUTH_EVENTS} auth_events.")
    if "room_id" in pdu and pdu["room_id"] is None:
        raise BadEvent("An event needs a room_id.")


def _check_text(key: str, text: Any, *, strict_bytes: bool) -> None:
    if not isinstance(text, str):
        raise BadEvent(f"{key} must be a string.")
    # A character has at most four bytes.
    if len(text) * 4 <= MAX_FIELD_BYTES:
        return
    size = len(text.encode(errors="surrogatepass")) if strict_bytes else len(text)
    if size > MAX_FIELD_BYTES:
        raise BadEvent(f"{key} is longer than {MAX_FIELD_BYTES} bytes.", "M_TOO_LARGE")


def _check_integer(key: str, value: Any, least: int, greatest: int) -> None:
    if type(value) is not int:
        raise BadEvent(f"{key} must be an integer.")
    if not least <= value <= greatest:
        raise BadEvent(f"{key} is out of range.")


def _check_format(pdu: dict[str, Any], version: RoomVersion) -> None:
    # COMPAT(synapse, all): before room version 11 it drops what exceeds a limit in code points, and rejects what
    # exceeds it in bytes only, as old rooms hold such events: see `exceeded_limit`.
    strict_bytes = version.strict_byte_limits
    for key in ("type", "sender"):
        _check_text(key, pdu.get(key), strict_bytes=strict_bytes)
    if "state_key" in pdu:
        _check_text("state_key", pdu["state_key"], strict_bytes=strict_bytes)
    check_user_id(pdu["sender"], counts_bytes=strict_bytes)
    _check_room_id(pdu, version)
    if not isinstance(pdu.get("content"), dict):
        raise BadEvent("content must be an object.")
    _check_integer("depth", pdu.get("depth"), 0, version.max_depth)
    _check_integer("origin_server_ts", pdu.get("origin_server_ts"), _LEAST_64_BIT, _GREATEST_64_BIT)
    _check_hashes_and_signatures(pdu)
    _check_references("prev_events", pdu.get("prev_events"), MAX_PREV_EVENTS, version)
    _check_references("auth_events", pdu.get("auth_events"), MAX_AUTH_EVENTS, version)
    if version.event_id_is_hash:
        if "event_id" in pdu:
            raise BadEvent("An event of this room version does not hold its own event_id.")
    else:
        event_id = pdu.get("event_id")
        if not isinstance(event_id, str):
            raise BadEvent("event_id must be a string.")
        check_event_id(event_id, counts_bytes=strict_bytes)
        server_name_of(event_id)


def _check_room_id(pdu: dict[str, Any], version: RoomVersion) -> None:
    if _makes_room_id(pdu, version):
        # One that is there all the same is for the authorisation rules to reject.
        return
    room_id = pdu.get("room_id")
    if not isinstance(room_id, str):
        raise BadEvent("room_id must be a string.")
    check_room_id(room_id, counts_bytes=version.strict_byte_limits)
    if not version.room_id_is_create_event_id:
        server_name_of(room_id)


def _check_hashes_and_signatures(pdu: dict[str, Any]) -> None:
    hashes = pdu.get("hashes")
    if not isinstance(hashes, dict) or not isinstance(hashes.get("sha256"), str):
        raise BadEvent("hashes must be an object with a string sha256.")
    try:
        unpadded_base64.decode_leniently(hashes["sha256"])
    except ValueError:
        raise BadEvent("hashes.sha256 must be Base64.") from None
    signatures = pdu.get("signatures")
    if not isinstance(signatures, dict):
        raise BadEvent("signatures must be an object.")
    for by_key in signatures.values():
        if not isinstance(by_key, dict) or not all(isinstance(sig, str) for sig in by_key.values()):
            raise BadEvent("signatures must be strings by key ID by server name.")


def _check_references(key: str, references: Any, most: int, version: RoomVersion) -> None:
    if not isinstance(references, list):
        raise BadEvent(f"{key} must be an array.")
    if len(references) > most:
        raise BadEvent(f"{key} has more than {most} entries.")
    for reference in references:
        event_id = reference
        if version.references_with_hashes:
            if not isinstance(reference, list) or len(reference) != 2 or not isinstance(reference[1], dict):
                raise BadEvent(f"{key} must hold pairs of event ID and hashes.")
            event_id = reference[0]
        if not isinstance(event_id, str):
            raise BadEvent(f"{key} must hold event IDs.")
        check_event_id(event_id, counts_bytes=version.strict_byte_limits)


def _add_reference_hashes(pdu: dict[str, Any], hashes: Mapping[str, str]) -> None:
    for key in ("prev_events", "auth_events"):
        try:
            pdu[key] = [[event_id, {"sha256": hashes[event_id]}] for event_id in pdu[key]]
        except KeyError:
            raise BadEvent(
                "This room version needs the reference hash of each previous and auth event."
            ) from None
