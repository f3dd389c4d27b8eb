"""A persistent tree in the database: a trie over the key's hash, whose path is copied at each change."""

import hashlib
from collections.abc import Sequence

import msgspec

from bench.state_storage.histories import Key, Step
from bench.state_storage.structures import State
from ranvier.store.database import Reader, Transaction

Leaf = list[tuple[str, str, int]]
_ID_BYTES = 5
_FULL = 8


def _digest(key: Key) -> int:
    return int.from_bytes(hashlib.blake2b("\0".join(key).encode(), digest_size=8).digest(), "little")


class Tree:
    """Nodes are rows with a number and a blob: an inner node holds its children's numbers, a leaf up to 8 entries.

    Numbers instead of hashes of the content keep the nodes a third of the size. What an append reads are the nodes
    of a room's newest states, which stay in memory.
    """

    tables = ("tree_nodes",)
    schema = ("CREATE TABLE tree_nodes (node BIGINT PRIMARY KEY, content BYTEA NOT NULL)",)

    def __init__(self, fan_out: int) -> None:
        self.name = f"tree, fan-out {fan_out}"
        self._bits = fan_out.bit_length() - 1
        self._fan_out = fan_out
        self._nodes: dict[int, Leaf | list[int]] = {0: []}
        self._next = 1
        self._roots: list[int] = []

    async def append(self, transaction: Transaction, first: int, steps: Sequence[Step]) -> None:
        start = self._next
        for step in steps:
            root = self._roots[step.parent] if step.parent >= 0 else 0
            self._roots.append(self._put(root, step.key, step.event, 0))
        rows = [(node, self._encode(self._nodes[node])) for node in range(start, self._next)]
        await transaction.insert("tree_nodes", "node, content", rows)

    def _add(self, node: Leaf | list[int]) -> int:
        self._nodes[self._next] = node
        self._next += 1
        return self._next - 1

    def _slot(self, key: Key, level: int) -> int:
        return (_digest(key) >> (level * self._bits)) % self._fan_out

    def _put(self, node: int, key: Key, event: int, level: int) -> int:
        content = self._nodes[node]
        if content and isinstance(content[0], int):
            children: list[int] = list(content)  # type: ignore[arg-type]
            slot = self._slot(key, level)
            children[slot] = self._put(children[slot], key, event, level + 1)
            return self._add(children)
        leaf: Leaf = [entry for entry in content if entry[:2] != key]  # type: ignore[index,misc]
        leaf.append((*key, event))
        if len(leaf) <= _FULL:
            return self._add(leaf)
        parts: list[Leaf] = [[] for _ in range(self._fan_out)]
        for entry in leaf:
            parts[self._slot((entry[0], entry[1]), level)].append(entry)
        return self._add([self._add(part) if part else 0 for part in parts])

    def _encode(self, node: Leaf | list[int]) -> bytes:
        if isinstance(node[0], int):
            return b"i" + b"".join(child.to_bytes(_ID_BYTES, "little") for child in node)  # type: ignore[union-attr]
        return b"l" + msgspec.msgpack.encode(node)

    def _decode(self, content: bytes) -> Leaf | list[int]:
        if content[:1] == b"i":
            return [
                int.from_bytes(content[place : place + _ID_BYTES], "little")
                for place in range(1, len(content), _ID_BYTES)
            ]
        return msgspec.msgpack.decode(content[1:], type=Leaf)

    async def look_up(self, reader: Reader, step: int, keys: Sequence[Key]) -> State:
        found: State = {}
        for key in keys:
            node, level = self._roots[step], 0
            while node:
                content = await reader.fetch_value("SELECT content FROM tree_nodes WHERE node = $1", node)
                decoded = self._decode(content)
                node = 0
                if isinstance(decoded[0], int):
                    node = decoded[self._slot(key, level)]  # type: ignore[assignment]
                    level += 1
                    continue
                for kind, state_key, event in decoded:  # type: ignore[misc]
                    if (kind, state_key) == key:
                        found[key] = event
        return found

    async def whole(self, reader: Reader, step: int) -> State:
        found: State = {}
        wanted = [self._roots[step]]
        while wanted:
            rows = await reader.fetch("SELECT content FROM tree_nodes WHERE node = ANY($1)", wanted)
            wanted = []
            for row in rows:
                decoded = self._decode(row[0])
                if isinstance(decoded[0], int):
                    wanted += [child for child in decoded if child]  # type: ignore[misc]
                else:
                    found.update({(entry[0], entry[1]): entry[2] for entry in decoded})  # type: ignore[index]
        return found
