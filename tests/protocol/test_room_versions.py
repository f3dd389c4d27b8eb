"""Room versions as data, compared with the specification's feature descriptions."""

import dataclasses

import pytest
from tests.protocol.room_script import versions_with

from ranvier.protocol.room_versions import (
    DEFAULT_ROOM_VERSION,
    ROOM_VERSIONS,
    EventIdFormat,
    StateResolution,
)

TWELVE = [str(number) for number in range(1, 13)]


def since(first: int) -> list[str]:
    return [version for version in TWELVE if int(version) >= first]


def before(first: int) -> list[str]:
    return [version for version in TWELVE if int(version) < first]


def test_all_twelve_versions_are_there_and_12_is_the_default() -> None:
    assert [key for key, version in ROOM_VERSIONS.items() if version.is_stable] == TWELVE
    assert all(version.identifier == key for key, version in ROOM_VERSIONS.items())
    assert DEFAULT_ROOM_VERSION == "12"


@pytest.mark.parametrize(
    ("property_name", "value", "versions"),
    [
        ("references_with_hashes", True, before(3)),
        ("event_id_is_hash", True, since(3)),
        ("event_id_format", EventIdFormat.HASH, ["3"]),
        ("event_id_format", EventIdFormat.URL_SAFE_HASH, since(4)),
        ("state_resolution", StateResolution.V1, ["1"]),
        ("state_resolution", StateResolution.V2, ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]),
        ("state_resolution", StateResolution.V2_1, ["12"]),
        ("redaction_rule", True, before(3)),
        ("enforces_key_validity", True, since(5)),
        ("strict_json", True, since(6)),
        ("max_depth", 2**53 - 1, since(6)),
        ("aliases_rule", True, before(6)),
        ("limits_notification_levels", True, since(6)),
        ("float_power_levels", True, before(6)),
        ("knocking", True, since(7)),
        ("restricted_joins", True, since(8)),
        ("knock_restricted_joins", True, since(10)),
        ("integer_power_levels", True, since(10)),
        ("create_names_creator", True, before(11)),
        ("redacts_in_content", True, since(11)),
        ("strict_byte_limits", True, since(11)),
        ("room_id_is_create_event_id", True, ["12"]),
        ("create_is_auth_event", True, before(12)),
        ("creators_have_infinite_power", True, ["12"]),
    ],
)
def test_a_property_holds_from_the_version_that_brought_it(
    property_name: str, value: object, versions: list[str]
) -> None:
    assert versions_with(**{property_name: value}) == versions


@pytest.mark.parametrize("number", ["10", "11"])
def test_a_version_with_owned_state_is_otherwise_the_one_that_it_is_named_after(number: str) -> None:
    """MSC3757."""
    identifier = f"org.matrix.msc3757.{number}"
    expected = dataclasses.replace(
        ROOM_VERSIONS[number], identifier=identifier, owned_state=True, is_stable=False
    )
    assert ROOM_VERSIONS[identifier] == expected


def test_a_room_version_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROOM_VERSIONS["1"].strict_json = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        ROOM_VERSIONS["13"] = ROOM_VERSIONS["12"]  # type: ignore[index]
