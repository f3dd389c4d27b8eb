"""Push rules, as users see and change them (pushrules.yaml)."""

from typing import Any

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol import push_rule_changes
from ranvier.protocol.push_rules import rule_json
from ranvier.protocol.refusal import Refusal
from ranvier.push.rules import PushRuleBook

_RULE = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}"


@endpoint("GET", "/_matrix/client/v3/pushrules/")
async def get_push_rules(request: Request, rules: PushRuleBook) -> Answer:
    """All push rules of the user."""
    return {"global": await rules.ruleset(request.requester.user_id)}


@endpoint("GET", "/_matrix/client/v3/pushrules/global/")
async def get_push_rules_global(request: Request, rules: PushRuleBook) -> Answer:
    """All push rules of the user, without the scope around them."""
    return await rules.ruleset(request.requester.user_id)


@endpoint("GET", _RULE)
async def get_push_rule(request: Request, rules: PushRuleBook) -> Answer:
    """One rule."""
    kind, rule_id = _named(request)
    user_id = request.requester.user_id
    found = push_rule_changes.find_rule(await rules.of(user_id), kind, rule_id)
    return rule_json(kind, found, user_id)


@endpoint("PUT", _RULE, rate_limit="other")
async def set_push_rule(request: Request, rules: PushRuleBook) -> Answer:
    """Add a rule, or change one of the user's own."""
    kind, rule_id = _named(request)
    body = request.json()
    before, after = request.query("before"), request.query("after")
    await rules.change(
        request.requester.user_id,
        lambda known: push_rule_changes.put_rule(known, kind, rule_id, body, before=before, after=after),
    )
    return {}


@endpoint("DELETE", _RULE)
async def delete_push_rule(request: Request, rules: PushRuleBook) -> Answer:
    """Remove one of the user's own rules."""
    kind, rule_id = _named(request)
    await rules.change(
        request.requester.user_id, lambda known: push_rule_changes.delete_rule(known, kind, rule_id)
    )
    return {}


@endpoint("GET", f"{_RULE}/enabled")
async def is_push_rule_enabled(request: Request, rules: PushRuleBook) -> Answer:
    """Whether a rule is switched on."""
    kind, rule_id = _named(request)
    found = push_rule_changes.find_rule(await rules.of(request.requester.user_id), kind, rule_id)
    return {"enabled": found.enabled}


@endpoint("PUT", f"{_RULE}/enabled")
async def set_push_rule_enabled(request: Request, rules: PushRuleBook) -> Answer:
    """Switch a rule on or off."""
    kind, rule_id = _named(request)
    enabled = _required(request.json(), "enabled")
    await rules.change(
        request.requester.user_id, lambda known: push_rule_changes.set_enabled(known, kind, rule_id, enabled)
    )
    return {}


@endpoint("GET", f"{_RULE}/actions")
async def get_push_rule_actions(request: Request, rules: PushRuleBook) -> Answer:
    """What a rule does."""
    kind, rule_id = _named(request)
    user_id = request.requester.user_id
    found = push_rule_changes.find_rule(await rules.of(user_id), kind, rule_id)
    return {"actions": rule_json(kind, found, user_id)["actions"]}


@endpoint("PUT", f"{_RULE}/actions")
async def set_push_rule_actions(request: Request, rules: PushRuleBook) -> Answer:
    """Change what a rule does."""
    kind, rule_id = _named(request)
    body = request.json()
    _required(body, "actions")
    await rules.change(
        request.requester.user_id, lambda known: push_rule_changes.set_actions(known, kind, rule_id, body)
    )
    return {}


def _named(request: Request) -> tuple[str, str]:
    return request.parameters["kind"], request.parameters["ruleId"]


def _required(body: dict[str, Any], key: str) -> Any:
    if key not in body:
        raise Refusal("M_MISSING_PARAM", f"The body lacks '{key}'.")
    return body[key]
