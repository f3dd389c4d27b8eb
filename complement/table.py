"""The table of what does not pass, in `docs/complement.md`."""

from collections.abc import Mapping
from pathlib import Path

from complement.results import Result

_BEGIN = "<!-- table: written by scripts/complement --write -->"
_END = "<!-- end of table -->"


def render(results: Mapping[str, Result]) -> str:
    """Counts, and a row for each reason with the top-level tests that it touches."""
    counts = {
        outcome: sum(row.result == outcome for row in results.values())
        for outcome in ("pass", "fail", "skip")
    }
    top = [row for name, row in results.items() if "/" not in name]
    passed = sum(row.result == "pass" for row in top)
    lines = [
        f"{len(top)} top-level tests, of which {passed} pass; with sub-tests {len(results)}: "
        f"{counts['pass']} pass, {counts['fail']} fail, {counts['skip']} are skipped.",
        "",
        "| why | fail | skip | tests |",
        "|-|-|-|-|",
    ]
    reasons: dict[str, list[str]] = {}
    for name, row in results.items():
        if row.result != "pass":
            reasons.setdefault(row.why, []).append(name)
    for why, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        failed = sum(results[name].result == "fail" for name in names)
        tests = ", ".join(f"`{test}`" for test in sorted({name.split("/")[0] for name in names}))
        lines.append(f"| {why} | {failed} | {len(names) - failed} | {tests} |")
    return "\n".join(lines)


def write(page: Path, results: Mapping[str, Result]) -> None:
    """Put the table in its place on the page."""
    before, _, rest = page.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n{render(results)}\n{_END}{after}")


def read(page: Path) -> str:
    """The table as it stands on the page."""
    return page.read_text().partition(_BEGIN)[2].partition(_END)[0].strip("\n")
