"""The list of results, runs held against it, and the table."""

import json
from pathlib import Path

from complement.__main__ import LIST, PAGE, SYNAPSE_LIST, is_drawn
from complement.results import Result, Run, compare, update

from complement import results, table

_KNOWN = {
    "TestA": Result("pass"),
    "TestB": Result("fail", "waits for something"),
    "TestB/one": Result("fail", "waits for something"),
    "TestB/two": Result("pass"),
}
_LISTED = {"TestA", "TestB"}


def _event(action: str, test: str | None, **more: str) -> str:
    return json.dumps({"Action": action, "Package": "p", **({"Test": test} if test else {}), **more})


def test_a_run_like_the_list_is_good() -> None:
    found = {name: row.result for name, row in _KNOWN.items()}
    assert compare(_KNOWN, found, _LISTED) == results.Verdict()


def test_a_test_that_passed_and_fails_is_told() -> None:
    verdict = compare(
        _KNOWN, {"TestA": "fail", "TestB": "fail", "TestB/one": "fail", "TestB/two": "skip"}, _LISTED
    )
    assert verdict.worse == ("TestA", "TestB/two")
    assert not verdict.good


def test_an_unlisted_result_is_told_even_if_it_passes() -> None:
    verdict = compare(
        _KNOWN, {**{name: row.result for name, row in _KNOWN.items()}, "TestC": "pass"}, _LISTED
    )
    assert verdict.unlisted == ("TestC",)
    assert not verdict.good


def test_a_passing_test_that_did_not_run_is_told() -> None:
    verdict = compare(_KNOWN, {"TestB": "fail", "TestB/one": "fail", "TestB/two": "pass"}, _LISTED)
    assert verdict.missing == ("TestA",)


def test_a_sub_test_that_its_failing_test_never_reached_is_not_told_twice() -> None:
    verdict = compare(_KNOWN, {"TestA": "pass", "TestB": "fail"}, _LISTED)
    assert verdict.good


def test_tests_of_other_packages_are_not_missed() -> None:
    assert compare(_KNOWN, {"TestA": "pass"}, {"TestA"}).good


def test_a_test_that_passes_now_speaks_against_nothing() -> None:
    verdict = compare(
        _KNOWN, {"TestA": "pass", "TestB": "pass", "TestB/one": "pass", "TestB/two": "pass"}, _LISTED
    )
    assert verdict.better == ("TestB", "TestB/one")
    assert verdict.good


def test_a_failure_without_a_reason_speaks_against_a_run() -> None:
    assert not compare({"TestA": Result("fail")}, {"TestA": "fail"}, {"TestA"}).good


def test_an_update_keeps_reasons_and_drops_those_of_passes() -> None:
    found = {"TestA": "pass", "TestB": "fail", "TestB/one": "pass", "TestB/three": "fail"}
    updated = update(_KNOWN, found, _LISTED)  # type: ignore[arg-type]
    assert updated["TestB/one"] == Result("pass")
    assert updated["TestB/three"] == Result("fail", "waits for something")
    assert "TestB/two" not in updated


def test_a_test_whose_program_died_has_failed() -> None:
    run = Run()
    for line in [
        _event("run", "TestA"),
        _event("output", "TestA", Output="panic: no\n"),
        _event("fail", None),
    ]:
        run.hear(line)
    assert run.results == {"TestA": "fail"}
    assert run.packages == {"p": "fail"}


def test_lines_that_are_no_events_are_kept() -> None:
    run = Run()
    run.hear("go: downloading")
    assert run.stray == ["go: downloading"]


def test_the_first_fault_is_no_request_and_no_warning() -> None:
    run = Run()
    for text in [
        "    client.go:860: [CSAPI] POST hs1/x => 200 OK\n",
        "    a_test.go:2: WARNING: x\n",
        "    a_test.go:3: \x1b[31mwrong\x1b[39m\n",
    ]:
        run.hear(_event("output", "TestA", Output=text))
    assert run.first_fault("TestA") == "a_test.go:3: wrong"


def test_a_second_try_replaces_the_first_as_a_whole() -> None:
    first, second = Run(), Run()
    for line in [_event("fail", "TestA"), _event("fail", "TestA/x"), _event("pass", "TestB")]:
        first.hear(line)
    second.hear(_event("pass", "TestA"))
    first.take_over(second)
    assert first.results == {"TestA": "pass", "TestB": "pass"}


def test_the_list_survives_writing(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results.save(path, _KNOWN)
    assert results.load(path) == _KNOWN
    assert json.loads(path.read_text())["TestB"] == {"result": "fail", "why": "waits for something"}


def test_every_test_that_does_not_pass_has_a_reason() -> None:
    known = results.load(LIST)
    assert known
    assert compare(known, {}, set()).unexplained == ()


def test_the_documents_table_is_that_of_the_list() -> None:
    assert table.read(PAGE) == table.render(results.load(LIST))


def test_a_share_is_drawn_by_its_seed_and_all_shares_together_are_everything() -> None:
    names = [f"Test{number}" for number in range(1000)]
    drawn = [name for name in names if is_drawn(name, "seed", 20)]
    assert drawn == [name for name in names if is_drawn(name, "seed", 20)]
    assert 150 < len(drawn) < 250
    assert drawn != [name for name in names if is_drawn(name, "other", 20)]
    assert all(is_drawn(name, "seed", 100) for name in names)
    assert not any(is_drawn(name, "seed", 0) for name in names)


def test_the_list_of_synapse_has_a_reason_for_all_that_does_not_pass() -> None:
    known = results.load(SYNAPSE_LIST)
    assert known
    assert compare(known, {}, set()).unexplained == ()
