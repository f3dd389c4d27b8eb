"""Backups of room keys."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from ranvier.encryption.key_backups import KeyBackups, KeyData
from ranvier.protocol.refusal import Refusal
from ranvier.store import key_backup as store
from ranvier.store.database import Database
from ranvier.store.writer import Writer

ALICE, BOB = "@alice:example.org", "@bob:example.org"
ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"


def data(index: int = 0, count: int = 0, verified: bool = False, text: str = "x") -> KeyData:
    return KeyData(index, count, verified, {"ciphertext": text})


async def create(backups: KeyBackups, user_id: str = ALICE) -> str:
    return await backups.create(user_id, ALGORITHM, {"public_key": "abc"})


async def put(
    backups: KeyBackups, version: str, rooms: Mapping[str, Mapping[str, KeyData]]
) -> tuple[str, int]:
    row = await backups.put(ALICE, version, rooms)
    return str(row.etag), row.key_count


async def all_keys(
    backups: KeyBackups, version: str, room_id: str | None = None
) -> dict[tuple[str, str], Any]:
    pages = await backups.keys(ALICE, version, room_id)
    return {(key.room_id, key.session_id): key async for page in pages for key in page}


async def refusal_of(awaitable: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await awaitable
    return refused.value


async def test_versions_count_up_and_the_newest_is_current(backups: KeyBackups):
    assert (await refusal_of(backups.get(ALICE, None))).errcode == "M_NOT_FOUND"
    assert [await create(backups) for _ in range(3)] == ["1", "2", "3"]
    assert await create(backups, BOB) == "1"
    assert (await backups.get(ALICE, None)).version == 3
    assert (await backups.get(ALICE, "1")).auth_data == '{"public_key":"abc"}'


async def test_backups_created_at_once_have_versions_of_their_own(backups: KeyBackups):
    versions = await asyncio.gather(*(create(backups) for _ in range(20)))
    assert sorted(versions, key=int) == [str(i) for i in range(1, 21)]


async def test_a_deleted_version_is_gone_and_its_number_is_not_given_again(backups: KeyBackups):
    await create(backups)
    version = await create(backups)
    await put(backups, version, {"!r:x": {"s": data()}})
    await backups.delete(ALICE, version)
    assert (await backups.get(ALICE, None)).version == 1
    assert (await refusal_of(backups.get(ALICE, version))).errcode == "M_NOT_FOUND"
    assert (await refusal_of(backups.keys(ALICE, version))).errcode == "M_NOT_FOUND"
    assert await create(backups) == "3"


async def test_deleting_what_was_deleted_succeeds_and_what_never_was_does_not(backups: KeyBackups):
    for _ in range(3):
        await create(backups)
    for version in ("2", "2", "3", "3"):
        await backups.delete(ALICE, version)
    assert (await refusal_of(backups.delete(ALICE, "4"))).errcode == "M_NOT_FOUND"
    assert await create(backups) == "4"
    await backups.delete(ALICE, "3")


@pytest.mark.parametrize("version", ["0", "-1", "x", "", "01", "9" * 30])
async def test_what_is_no_version_is_not_found(backups: KeyBackups, version: str):
    await create(backups)
    assert (await refusal_of(backups.put(ALICE, version, {}))).errcode == "M_NOT_FOUND"
    if version:
        assert (await refusal_of(backups.get(ALICE, version))).errcode == "M_NOT_FOUND"


async def test_only_auth_data_of_a_version_can_be_changed(backups: KeyBackups):
    version = await create(backups)
    await backups.update(ALICE, version, ALGORITHM, {"public_key": "new"})
    assert (await backups.get(ALICE, version)).auth_data == '{"public_key":"new"}'
    refused = await refusal_of(backups.update(ALICE, version, "other", {}))
    assert refused.errcode == "M_INVALID_PARAM"
    assert (await refusal_of(backups.update(ALICE, "2", ALGORITHM, {}))).errcode == "M_NOT_FOUND"


async def test_keys_are_counted_and_every_change_gives_another_etag(backups: KeyBackups):
    version = await create(backups)
    first = await put(backups, version, {"!a:x": {"s1": data(), "s2": data()}, "!b:x": {"s1": data()}})
    assert first[1] == 3
    same = await put(backups, version, {"!a:x": {"s1": data()}})
    assert same == first
    better = await put(backups, version, {"!a:x": {"s1": data(verified=True)}})
    assert better[1] == 3
    assert better[0] != first[0]
    row = await backups.remove(ALICE, version, "!a:x", "s1")
    assert row.key_count == 2
    assert str(row.etag) not in (first[0], better[0])
    assert (await backups.get(ALICE, version)).key_count == 2


@pytest.mark.parametrize(
    ("old", "new", "replaced"),
    [
        (data(verified=False), data(verified=True, index=9, count=9), True),
        (data(verified=True, index=9, count=9), data(verified=False), False),
        (data(index=5), data(index=4, count=9), True),
        (data(index=4, count=9), data(index=5), False),
        (data(index=4, count=3), data(index=4, count=2), True),
        (data(index=4, count=2), data(index=4, count=3), False),
        (data(), data(), False),
    ],
)
async def test_the_better_key_of_a_session_is_kept(
    backups: KeyBackups, old: KeyData, new: KeyData, replaced: bool
):
    version = await create(backups)
    await put(backups, version, {"!a:x": {"s": old}})
    new.session_data["ciphertext"] = "new"
    await put(backups, version, {"!a:x": {"s": new}})
    key = await backups.key(ALICE, version, "!a:x", "s")
    assert ("new" in key.session_data) is replaced
    kept = new if replaced else old
    assert key[2:5] == (kept.first_message_index, kept.forwarded_count, kept.is_verified)


async def test_keys_go_into_the_current_version_only(backups: KeyBackups):
    old = await create(backups)
    new = await create(backups)
    refused = await refusal_of(backups.put(ALICE, old, {"!a:x": {"s": data()}}))
    assert refused.errcode == "M_WRONG_ROOM_KEYS_VERSION"
    assert refused.extra == {"current_version": new}
    assert (await refusal_of(backups.put(ALICE, "9", {}))).errcode == "M_NOT_FOUND"
    await backups.delete(ALICE, new)
    await put(backups, old, {"!a:x": {"s": data()}})


async def test_keys_are_found_all_by_room_and_one_by_one(backups: KeyBackups):
    version = await create(backups)
    rooms = {f"!{i}:x": {f"s{j}": data(text=f"{i} {j}") for j in range(600)} for i in range(3)}
    await put(backups, version, rooms)
    found = await all_keys(backups, version)
    assert list(found) == sorted(found)
    assert set(found) == {(room, session) for room in rooms for session in rooms[room]}
    assert all(found[room, s].session_data == f'{{"ciphertext":"{room[1]} {s[1:]}"}}' for room, s in found)
    assert set(await all_keys(backups, version, "!1:x")) == {("!1:x", session) for session in rooms["!1:x"]}
    assert await all_keys(backups, version, "!9:x") == {}
    assert (await refusal_of(backups.key(ALICE, version, "!1:x", "none"))).errcode == "M_NOT_FOUND"
    assert (await refusal_of(backups.key(BOB, version, "!1:x", "s1"))).errcode == "M_NOT_FOUND"


async def test_keys_are_deleted_by_session_by_room_and_all(backups: KeyBackups):
    version = await create(backups)
    await put(backups, version, {room: {s: data() for s in "123"} for room in ("!a:x", "!b:x", "!c:x")})
    assert (await backups.remove(ALICE, version, "!a:x", "1")).key_count == 8
    assert (await backups.remove(ALICE, version, "!b:x")).key_count == 5
    before = await backups.get(ALICE, version)
    assert await backups.remove(ALICE, version, "!b:x") == before
    assert (await backups.remove(ALICE, version)).key_count == 0
    assert await all_keys(backups, version) == {}
    assert (await refusal_of(backups.remove(ALICE, "7"))).errcode == "M_NOT_FOUND"


async def test_writers_at_once_lose_no_key_and_miscount_none(backups: KeyBackups):
    version = await create(backups)
    await asyncio.gather(
        *(put(backups, version, {"!a:x": {f"s{i % 30}": data(index=100 - i)}}) for i in range(60))
    )
    found = await all_keys(backups, version)
    assert len(found) == 30 == (await backups.get(ALICE, version)).key_count
    assert all(key.first_message_index == 100 - 30 - int(key.session_id[1:]) for key in found.values())


@pytest.mark.parametrize(
    ("rooms", "errcode"),
    [
        ({"!a:x": {"s": data(index=-1)}}, "M_INVALID_PARAM"),
        ({"!a:x": {"s": data(count=2**53)}}, "M_INVALID_PARAM"),
        ({"!a:x": {"s" * 256: data()}}, "M_INVALID_PARAM"),
        ({"": {"s": data()}}, "M_INVALID_PARAM"),
        ({"!a:x": {"s": data(text="x" * 70_000)}}, "M_TOO_LARGE"),
        ({"!a:x": {"s": data(text="\0")}}, "M_BAD_JSON"),
    ],
)
async def test_keys_out_of_bounds_are_refused(
    backups: KeyBackups, rooms: Mapping[str, Mapping[str, KeyData]], errcode: str
):
    version = await create(backups)
    assert (await refusal_of(backups.put(ALICE, version, rooms))).errcode == errcode
    assert (await backups.get(ALICE, version)).key_count == 0


async def test_the_number_of_backups_is_bounded(backups: KeyBackups):
    for _ in range(100):
        await create(backups)
    assert (await refusal_of(create(backups))).errcode == "M_FORBIDDEN"
    await backups.delete(ALICE, "1")
    assert await create(backups) == "101"


async def test_closing_an_account_takes_its_backups(backups: KeyBackups, database: Database, writer: Writer):
    version = await create(backups)
    await create(backups, BOB)
    await put(backups, version, {"!a:x": {"s": data()}})
    await writer.run(lambda t: store.delete_backups(t, ALICE))
    assert await database.fetch_value("SELECT COUNT(*) FROM backed_up_keys") == 0
    assert (await refusal_of(backups.get(ALICE, None))).errcode == "M_NOT_FOUND"
    assert (await backups.get(BOB, None)).version == 1
