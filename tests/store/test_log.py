"""What readers of the log's tail can rely on."""

from ranvier.store.database import Entry
from ranvier.store.log import Kind, Tail

MEBIBYTE = 1024 * 1024


def test_heavy_entries_leave_the_tail_before_it_is_full() -> None:
    tail = Tail(0)
    tail.extend(Entry(Kind.EVENT, "r1", "1", None, position, MEBIBYTE) for position in range(1, 101))
    assert tail.tip == 100
    assert 30 <= len(tail.between(tail.floor, tail.tip)) < 70
    assert not tail.reaches(0)
    tail.extend(Entry(Kind.EVENT, "r1", "1", None, position) for position in range(101, 1001))
    assert tail.reaches(100)
    assert [entry.position for entry in tail.between(998, 1000)] == [999, 1000]
