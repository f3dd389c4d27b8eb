"""Labels: filters of list requests, and changes of commits."""

import pytest
from complement.engine.labels import BadLabel, match, parse_change, parse_filters


@pytest.mark.parametrize(
    "text",
    [
        '{"label":{"complement_context":true,"complement_pkg=csapi":true}}',
        '{"label":["complement_context","complement_pkg=csapi"]}',
    ],
)
def test_both_forms_of_filters_mean_the_same(text: str) -> None:
    wanted = parse_filters(text)
    assert match({"complement_context": "x", "complement_pkg": "csapi"}, wanted)
    assert not match({"complement_context": "x", "complement_pkg": "fed"}, wanted)
    assert not match({"complement_pkg": "csapi"}, wanted)


def test_no_filter_matches_everything() -> None:
    assert match({}, parse_filters(None))
    assert match({"a": "b"}, parse_filters("{}"))


@pytest.mark.parametrize("text", ["{", "[]", '{"status":["running"]}'])
def test_a_filter_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(BadLabel):
        parse_filters(text)


def test_a_label_change_keeps_line_breaks_that_are_written_as_escapes() -> None:
    change = r'LABEL "application_service_as"="id: as\nurl: ' + "'http://x'" + r'\n"'
    assert parse_change(change) == ("application_service_as", r"id: as\nurl: 'http://x'\n")


def test_a_user_id_is_a_label() -> None:
    assert parse_change('LABEL "access_token_@alice:hs1"="a=b"') == ("access_token_@alice:hs1", "a=b")


def test_other_changes_are_refused() -> None:
    with pytest.raises(BadLabel):
        parse_change("CMD ls")
