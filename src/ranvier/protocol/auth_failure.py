"""The verdict of the authorisation rules, as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuthFailure:
    """Why an event is rejected: the number of the rule in its room version's list, and a sentence.

    The number is 0 for a limit of size, which stands beside the rules.
    """

    rule: str
    reason: str
