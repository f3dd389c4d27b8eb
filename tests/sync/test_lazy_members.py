"""What a server remembers of the members that it sent."""

from ranvier.sync.lazy_members import LazyMembers


def test_devices_that_came_last_are_remembered_within_the_capacity():
    members = LazyMembers(capacity=100)
    for number in range(20):
        sent = members.of(f"@u{number}:a", "D")
        sent.expect("s1")
        sent.pending["s1"].update(range(10))
    members.trim()
    remembered = [number for number in range(20) if members.of(f"@u{number}:a", "D").size()]
    assert remembered == list(range(10, 20))
