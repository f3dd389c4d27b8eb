"""Deciding for a whole room whom an event notifies, without asking for each member.

Members who changed no rule all get the same verdict, except those whom the event names. So one verdict is
stored for all, and the others are the few that `concerned_users` gives.

Source: Client-Server API, "Push rules", "Receiving notifications".
"""

from collections.abc import Callable, Iterable, Mapping

from ranvier.protocol.push_conditions import PushFacts
from ranvier.protocol.push_evaluation import DEFAULT_RULE_SET, RuleSet, Verdict

_NOBODY = ""


def default_verdict(facts: PushFacts) -> Verdict:
    """What the event means for all whose rules are the predefined ones and whom the event does not name.

    In a room of two members this is the verdict of the one-to-one rules: the same answer for both, as their
    number is all that counts. The sender is no part of this: own events never notify.
    """
    return DEFAULT_RULE_SET.evaluate(facts, _NOBODY)


def concerned_users(
    facts: PushFacts, may_be_notified: Callable[[str], bool], with_own_rules: Iterable[str]
) -> set[str]:
    """Those for whom the verdict can differ from `default_verdict`: all others share it.

    They are the mentioned, the user whom a state event (such as an invite) is about, and `with_own_rules`:
    the members for whom `RuleSet.may_differ_in` this room. `may_be_notified` tells who is asked at all: local
    users who have joined, or whom this event invites.
    """
    named = _named_users(facts)
    concerned = {user_id for user_id in named if may_be_notified(user_id)}
    concerned.update(with_own_rules)
    concerned.discard(facts.event.sender)
    return concerned


def find_differing(
    facts: PushFacts,
    concerned: Iterable[str],
    rule_sets: Mapping[str, RuleSet],
    display_name_of: Callable[[str], str | None],
) -> dict[str, Verdict]:
    """The verdicts, by user, that differ in effect from `default_verdict`.

    `rule_sets` holds those of the concerned users who changed anything. Names are only asked for where a rule
    wants to know.
    """
    shared = default_verdict(facts)
    differing = {}
    for user_id in concerned:
        rule_set = rule_sets.get(user_id, DEFAULT_RULE_SET)
        name = display_name_of(user_id) if rule_set.needs_display_name else None
        verdict = rule_set.evaluate(facts, user_id, name)
        if (verdict.highlight, verdict.actions) != (shared.highlight, shared.actions):
            differing[user_id] = verdict
    return differing


def _named_users(facts: PushFacts) -> list[str]:
    event = facts.event
    mentions = event.content.get("m.mentions")
    user_ids = mentions.get("user_ids") if isinstance(mentions, dict) else None
    named = (
        [user_id for user_id in user_ids if isinstance(user_id, str)] if isinstance(user_ids, list) else []
    )
    if event.state_key:
        named.append(event.state_key)
    return named
