"""Fuzz targets of the protocol floor."""

import copy
import json
from itertools import islice
from typing import Any

from tests.fuzz.target import Target, json_of, lax_json_of, text_of
from tests.protocol.room_script import ALICE, BOB, KEY, Room
from tests.protocol.sent_events import make_event, make_message

from ranvier.protocol import (
    auth_rules,
    canonical_json,
    client_format,
    events,
    filter_parsing,
    globs,
    identifiers,
    invite_permission,
    join_rules,
    policy_server,
    presence,
    property_paths,
    push_rule_changes,
    push_rules,
    relations,
    room_summaries,
    server_acl,
    server_discovery,
    server_keys,
    space_hierarchy,
    unpadded_base64,
    x_matrix,
)
from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.filters import EventFilter
from ranvier.protocol.history_visibility import may_see, may_server_see_event
from ranvier.protocol.push_conditions import PushFacts
from ranvier.protocol.push_evaluation import DEFAULT_RULE_SET, compile_rules
from ranvier.protocol.receipt_checks import check_hash, check_signatures, judge
from ranvier.protocol.redaction import redact
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.room_versions import ROOM_VERSIONS

VERSIONS = list(ROOM_VERSIONS.values())
ROOMS = {version.identifier: Room(version.identifier) for version in VERSIONS}
KEYS = {KEY.server_name: {KEY.key_id: KEY.public}}
EVENT = make_message("a test of words, alice")


def canonical(data: bytes) -> None:
    try:
        value = canonical_json.decode(data)
    except canonical_json.BadJson as error:
        assert str(error)
    else:
        written = canonical_json.encode(value)
        assert canonical_json.decode(written) == value
        assert canonical_json.encode(canonical_json.decode(written)) == written
    value = lax_json_of(data)
    for strict in (True, False):
        try:
            canonical_json.check(value, strict=strict)
        except canonical_json.BadJson as error:
            assert str(error)
            continue
        written = canonical_json.encode(value)
        again = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
        assert written == again


def pdu(data: bytes) -> None:
    """The first byte chooses the room version, the rest is an event, or what differs from a plausible one."""
    version = VERSIONS[(data[0] if data else 0) % len(VERSIONS)]
    room = ROOMS[version.identifier]
    changes = lax_json_of(data[1:])
    plausible = room.event("m.room.message", {"body": "x"}).pdu
    given = [changes]
    if isinstance(changes, dict):
        given.append({**plausible, **changes})
    for candidate in given:
        try:
            event = events.parse(copy.deepcopy(candidate), version)
        except BadEvent as error:
            assert str(error)
            assert error.errcode in ("M_BAD_JSON", "M_TOO_LARGE")
            continue
        _use(event, room)
    if isinstance(changes, dict):
        try:
            completed = events.complete({**plausible, **changes}, version, KEY)
        except BadEvent:
            return
        _use(completed, room)


def _use(event: Event, room: Room) -> None:
    """All that is done with an event from elsewhere, before and after it is accepted."""
    assert len(event.pdu_json) <= events.MAX_PDU_BYTES
    parsed_again = events.parse(json.loads(event.pdu_json), event.room_version)
    assert parsed_again.event_id == event.event_id
    assert parsed_again.pdu_json == event.pdu_json
    redacted = redact(event.pdu, event.room_version)
    assert redact(redacted, event.room_version) == redacted
    assert events.redacted(event).event_id == event.event_id
    try:
        check_signatures(event, KEYS)
    except BadEvent as error:
        assert str(error)
    use = check_hash(event)
    assert use.event_id == event.event_id
    state = {**room.state, (event.type, event.state_key or ""): event}
    for known in ({}, room.state, state):
        judge(event, auth_events={}, state_before=known, current_state=known)
        verdict = auth_rules.check(event, known)
        assert verdict is None or (verdict.rule and verdict.reason)
        # What strangers' state leads to, when our own event is checked.
        auth_rules.check(room.event("m.room.name", {"name": "x"}, state_key=""), {**state, **known})
        auth_rules.check(
            room.event("m.room.member", {"membership": "join"}, sender=BOB, state_key=BOB), state
        )
    auth_rules.auth_types(event.room_version, event.type, event.sender, event.state_key, event.content)
    _show(event)


def _show(event: Event) -> None:
    json.loads(client_format.full_json(event))
    relation = relations.relation_of(event.content)
    assert relation is None or relation.event_id
    relations.replied_event_of(event.content)
    relations.is_valid_edit(EVENT, event)
    relations.is_valid_edit(event, EVENT)
    relations.annotation_identity(event)
    relations.apply_edit(EVENT.content, event.content)
    facts = PushFacts(event, 3, lambda key: True)
    DEFAULT_RULE_SET.evaluate(facts, ALICE, "Alice")
    assert may_see(event, ALICE, "joined", "leave", joined_since=False) in (True, False)
    assert may_server_see_event(event, "one.example", "joined", []) in (True, False)
    room_summaries.room_summary("!r:b", event.room_version, {event.type: event.content}, 1)
    join_rules.allowed_rooms(event.content)
    invite_permission.judge_invite(event.content, event.sender)
    space_hierarchy.child_of(event)
    named = policy_server.policy_server_of(event)
    if named is not None:
        assert policy_server.recommends(named, event) in (True, False)
    server_acl.ServerAcl(event.content).allows("one.example:8448")


def identifier(data: bytes) -> None:
    text = text_of(data)
    for parse, sigil in ((identifiers.parse_user_id, "@"), (identifiers.parse_room_alias, "#")):
        try:
            localpart, server_name = parse(text)
        except identifiers.BadIdentifier as error:
            assert str(error)
            continue
        assert f"{sigil}{localpart}:{server_name}" == text
        assert len(text.encode()) <= 255
        assert identifiers.is_valid_server_name(server_name)
    for check in (
        identifiers.check_room_id,
        identifiers.check_event_id,
        identifiers.check_new_user_id,
        identifiers.check_localpart,
        identifiers.check_namespaced,
        identifiers.check_opaque,
        identifiers.server_name_of,
    ):
        try:
            check(text)
        except identifiers.BadIdentifier as error:
            assert str(error)
    if identifiers.is_compliant_user_id(text):
        identifiers.check_user_id(text)


def server_name(data: bytes) -> None:
    text = text_of(data)
    host = server_acl.host_of(text)
    server_acl.is_ip_literal(host)
    if identifiers.is_valid_server_name(text):
        assert host
        assert identifiers.is_valid_server_name(host)
        assert text.startswith(host)


def authorization(data: bytes) -> None:
    text = text_of(data)
    try:
        header = x_matrix.parse(text)
    except x_matrix.BadXMatrix as error:
        assert str(error)
        return
    assert identifiers.is_valid_server_name(header.origin)
    assert header.destination is None or identifiers.is_valid_server_name(header.destination)
    written = f'X-Matrix origin="{header.origin}",key="{header.key_id}",sig="{header.signature}"'
    assert x_matrix.parse(written) == header._replace(destination=None)


def keys_of_server(data: bytes) -> None:
    document = lax_json_of(data)
    for given in (document, json_of(data)):
        try:
            found = server_keys.parse(given, 1_000_000)
        except server_keys.BadServerKeys as error:
            assert str(error)
            continue
        assert identifiers.is_valid_server_name(found.server_name)
    if isinstance(document, dict):
        assert server_keys.is_cosigned(document, KEY.server_name, KEYS[KEY.server_name]) in (True, False)


def well_known(data: bytes) -> None:
    """The first line is how long the document counts, the rest the document."""
    headers, _, body = data.partition(b"\n")
    for name in ("cache-control", "expires"):
        lifetime = server_discovery.lifetime_of({name: headers.decode("latin-1")}, 1_000_000)
        assert server_discovery.SHORTEST_LIFETIME_MS <= lifetime <= server_discovery.LONGEST_LIFETIME_MS
    delegated = server_discovery.parse_well_known(body)
    discovery = server_discovery.Discovery("one.example")
    assert isinstance(discovery.next_step(), server_discovery.NeedWellKnown)
    discovery.tell_well_known(delegated)
    while not isinstance(step := discovery.next_step(), server_discovery.Route):
        assert isinstance(step, server_discovery.NeedSrv)
        discovery.tell_srv([])
    assert step.targets
    assert all(0 <= target.port <= 65_535 for target in step.targets)


def presence_edu(data: bytes) -> None:
    content = lax_json_of(data)
    if isinstance(content, dict):
        for update in presence.read_updates(content, "one.example"):
            assert update.user_id.endswith(":one.example")


def acl(data: bytes) -> None:
    """The first line is a server name, the rest the content of an `m.room.server_acl`."""
    name, _, content = data.partition(b"\n")
    value = lax_json_of(content)
    if isinstance(value, dict):
        server = text_of(name)
        compiled = server_acl.ServerAcl(value)
        assert compiled.allows(server) in (True, False)
        assert compiled.allows(server) == server_acl.ServerAcl(value).allows(server)
        if "allow" not in value:
            assert not compiled.allows(server)


def filter_of_client(data: bytes) -> None:
    value = json_of(data)
    for parse in (filter_parsing.parse_filter, filter_parsing.parse_room_event_filter):
        try:
            wanted = parse(value)
        except Refusal as refusal:
            assert refusal.errcode in ("M_BAD_JSON", "M_INVALID_PARAM")
            continue
        if isinstance(wanted, EventFilter):
            _ask(wanted)
            continue
        for part in (wanted.presence, wanted.account_data, wanted.room.timeline, wanted.room.state):
            _ask(part)
        if wanted.event_fields is not None:
            wanted.event_fields.project(client_format.client_event(EVENT))


def _ask(wanted: EventFilter) -> None:
    assert wanted.wants_event(EVENT) in (True, False)
    assert wanted.wants_room(EVENT.room_id) in (True, False)
    assert wanted.limit_or(10) >= 0
    if wanted.wants_all():
        assert wanted.wants_event(EVENT)


def rule_of_client(data: bytes) -> None:
    """The first line is kind and rule id, the rest the body of a push rule, and again its actions."""
    head, _, rest = data.partition(b"\n")
    kind, _, rule_id = text_of(head).partition("/")
    body = json_of(rest)
    if not isinstance(body, dict):
        return
    rules = push_rules.PushRules()
    try:
        rules = push_rule_changes.put_rule(rules, kind, rule_id, body)
        rules = push_rule_changes.set_actions(rules, kind, rule_id, body)
        rules = push_rule_changes.set_enabled(rules, kind, rule_id, body.get("enabled"))
    except Refusal as refusal:
        assert refusal.errcode.startswith("M_")
    json.dumps(push_rules.ruleset_json(rules, ALICE))
    assert push_rules.parse_changes(json.loads(json.dumps(push_rules.changes_json(rules)))) == rules
    compiled = compile_rules(rules)
    for event in (EVENT, make_event("m.room.member", {"membership": "invite"}, state_key=BOB)):
        compiled.evaluate(PushFacts(event, 2, lambda key: False), BOB, "Bob")


def glob(data: bytes) -> None:
    """The first line is a pattern, the rest a text."""
    pattern, _, text = text_of(data).partition("\n")
    for question_marks in (True, False):
        compiled = globs.Glob(pattern[:200], question_marks=question_marks)
        assert compiled.matches(text) in (True, False)
        if compiled.matches(text):
            assert compiled.occurs_as_words(text)
    if "?" not in pattern and "*" not in pattern:
        assert globs.Glob(pattern[:200]).matches(text) == (pattern[:200] == text)
    globs.contains_as_words(text, pattern[:200])
    globs.words_of(text)


def property_path(data: bytes) -> None:
    names = property_paths.split_path(text_of(data))
    assert names
    property_paths.read_property(client_format.client_event(EVENT), names)
    assert ".".join(names).count(".") >= len(names) - 1


def base64(data: bytes) -> None:
    assert unpadded_base64.decode(unpadded_base64.encode(data)) == data
    assert unpadded_base64.decode(unpadded_base64.encode_url_safe(data)) == data
    try:
        decoded = unpadded_base64.decode(text_of(data))
    except ValueError:
        return
    assert unpadded_base64.decode(unpadded_base64.encode(decoded)) == decoded


def hierarchy(data: bytes) -> None:
    """An array of arrays of `children_state` as a peer answers them, walked."""
    answers = lax_json_of(data)
    if not isinstance(answers, list):
        return
    walk = space_hierarchy.HierarchyWalk("!root:a")
    for answer in islice(answers, 50):
        if walk.wanted() is None:
            break
        items: Any = answer if isinstance(answer, list) else [answer]
        walk.tell(child for child in map(space_hierarchy.read_child, items) if child is not None)


ITS_OWN = "its own error or a value, never anything else"

PROTOCOL_TARGETS = (
    Target("well_known", "any document leads to a route whose ports exist, for a bounded time", well_known),
    Target("presence", "any content is read; only users of the origin come out", presence_edu),
    Target(
        "canonical_json",
        f"decode and check: {ITS_OWN}; what passes is written as Python's json does",
        canonical,
    ),
    Target("pdu", f"parse: {ITS_OWN}; what passes can be judged, redacted, shown and parsed again", pdu),
    Target("identifiers", f"parse and check: {ITS_OWN}; what is split joins to the same text", identifier),
    Target("server_names", "never an error; a valid name has a valid host", server_name),
    Target("x_matrix", f"parse: {ITS_OWN}; what passes can be written and read again", authorization),
    Target("server_keys", f"parse: {ITS_OWN}", keys_of_server),
    Target(
        "server_acl", "any content decides on any name, twice alike; without `allow` nobody comes in", acl
    ),
    Target("filters", f"parse: {ITS_OWN}; what passes can be asked about any event", filter_of_client),
    Target(
        "push_rules", f"changes: {ITS_OWN}; the rules survive storage and can be evaluated", rule_of_client
    ),
    Target("globs", "any pattern decides on any text; a whole match is one between word boundaries", glob),
    Target("property_paths", "any path is split and can be read", property_path),
    Target("base64", f"decode: {ITS_OWN}; what is encoded decodes to the same", base64),
    Target("space_hierarchy", "any answer of a peer is walked to an end", hierarchy),
)
