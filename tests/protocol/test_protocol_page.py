"""docs/protocol.md names functions that are there, and the checks on receipt in their order."""

import importlib
import re
from pathlib import Path

from ranvier.protocol.receipt_checks import RECEIPT_CHECKS, Fate

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text()
FATES = {
    Fate.DROPPED: "dropped",
    Fate.REDACTED: "redacted, then on",
    Fate.REJECTED: "rejected",
    Fate.SOFT_FAILED: "soft-failed",
}


def test_every_function_that_the_page_names_is_there() -> None:
    names = re.findall(r"`([a-z_]+)\.([A-Za-z_]+)`", PAGE)
    rows = [(module, name) for module, name in names if name not in ("py", "md")]
    assert len(rows) > 50
    for module, name in rows:
        assert hasattr(importlib.import_module(f"ranvier.protocol.{module}"), name), f"{module}.{name}"
    for path in re.findall(r"`((?:remote|tests)/[a-z_/.]+)`", PAGE):
        assert (ROOT / path).exists() or (ROOT / "src/ranvier" / path).exists(), path


def test_every_rule_names_the_tests_that_prove_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 4]
    assert len(rows) > 30
    for row in rows:
        proofs = re.findall(r"`(test_[a-z_]+\.py)`", row.rpartition(" | ")[2])
        assert proofs or row.startswith(("| Rule |", "| --- |")), row
        for proof in proofs:
            assert (Path(__file__).parent / proof).exists(), proof


def test_the_checks_on_receipt_stand_on_the_page_in_their_order() -> None:
    rows = re.findall(
        r"^\| ([1-9]) \| [^|]+ \| `receipt_checks\.([a-z_]+)`[^|]* \| ([^|]+) \|$", PAGE, re.MULTILINE
    )
    assert [(int(number), name, fate) for number, name, fate in rows] == [
        (number, check.function.__name__, FATES[check.otherwise])
        for number, check in enumerate(RECEIPT_CHECKS, 1)
    ]
