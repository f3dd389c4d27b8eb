"""Every parser of strangers' bytes keeps its invariant, on what fuzzing has found and on chance."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.catalogue import TARGETS
from tests.fuzz.target import CORPUS, Target
from tests.protocol.json_values import WILD_OBJECTS

every_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@every_target
def test_the_kept_corpus_holds(target: Target) -> None:
    inputs = sorted(target.corpus.iterdir())
    assert inputs, f"{target.name} has no corpus"
    for path in inputs:
        try:
            target.run(path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path.name}: not true that {target.holds}") from error


@every_target
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_made_of_the_corpus_by_chance_holds(target: Target, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(sorted(target.corpus.iterdir()))).read_bytes()
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(seed)), st.integers(0, len(seed)))))
    target.run(seed[:start] + data.draw(st.binary(max_size=8)) + seed[end:])


@given(version=st.integers(0, 11), changes=WILD_OBJECTS)
def test_wild_events_hold(version: int, changes: dict[str, object]) -> None:
    import json

    pdu = next(target for target in TARGETS if target.name == "pdu")
    pdu.run(bytes([version]) + json.dumps(changes).encode())


def test_no_corpus_is_without_its_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {target.name for target in TARGETS}
