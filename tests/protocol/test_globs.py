"""Globs: the appendices' "Glob-style matching", and words as push rules understand them."""

import time
from functools import cache

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ranvier.protocol.globs import Glob, contains_as_words, is_word, is_word_boundary, words_of

PATTERNS = st.text("ab_-*?", max_size=8)
TEXTS = st.text("ab_- \n", max_size=12)


@cache
def naive_match(pattern: str, text: str) -> bool:
    """The text of the appendices, word for word."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive_match(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and naive_match(pattern[1:], text[1:])


def naive_word_match(pattern: str, text: str) -> bool:
    places = [place for place in range(len(text) + 1) if is_word_boundary(text, place)]
    return any(naive_match(pattern, text[start:end]) for start in places for end in places if start <= end)


@given(PATTERNS, TEXTS)
@example("a*a", "a")
@example("*", "")
@example("a?*?a", "aaa")
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_glob_matches_as_the_text_says(pattern: str, text: str) -> None:
    assert Glob(pattern).matches(text) == naive_match(pattern, text)


@given(PATTERNS, TEXTS)
@example("", "ab")
@example("*b", "ab")
@example("a*", "ba")
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_glob_occurs_as_words_as_the_text_says(pattern: str, text: str) -> None:
    assert Glob(pattern).occurs_as_words(text) == naive_word_match(pattern, text)


@given(st.text("ab_-", min_size=1, max_size=4), TEXTS)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_words_without_wildcards_are_found_alike_in_three_ways(words: str, text: str) -> None:
    found = naive_word_match(words, text)
    assert contains_as_words(text, words) == found
    if is_word(words):
        assert (words in words_of(text)) == found


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("An example event.", True),
        ("exple", True),
        ("An exciting triple-whammy", True),
        ("examples", False),
        ("index ample", False),
    ],
)
def test_the_examples_for_words_in_the_specification_hold(text: str, matches: bool) -> None:
    assert Glob("ex*ple").occurs_as_words(text) is matches


def test_letters_beyond_ascii_bound_words() -> None:
    assert Glob("cake").occurs_as_words("écakeé")
    assert not Glob("cake").occurs_as_words("xcakex")


def test_a_sign_may_start_a_pattern_inside_a_word() -> None:
    assert Glob("@room").occurs_as_words("hey@room")
    assert not Glob("@room").occurs_as_words("hey@rooms")


def test_without_question_marks_only_the_star_is_special() -> None:
    assert not Glob("a?", question_marks=False).matches("ab")
    assert Glob("a?*", question_marks=False).matches("a?b")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*a" * 200 + "b", "a" * 65_000),
        ("a?" * 200 + "b", "a" * 65_000),
        ("a-*" * 150 + "b", "a-" * 32_000),
        ("aa", "a" * 65_000),
        ("?a", "a" * 65_000),
    ],
)
def test_no_pattern_takes_long_for_the_longest_text(pattern: str, text: str) -> None:
    glob = Glob(pattern)
    start = time.process_time()
    assert not glob.matches(text)
    glob.occurs_as_words(text)
    assert time.process_time() - start < 0.5
