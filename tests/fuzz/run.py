"""Fuzz one target with atheris (libFuzzer): python -m tests.fuzz.run TARGET SECONDS FOLDER.

FOLDER takes the inputs that reach new code. A find stops the run and is written into the kept corpus.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ranvier"]):
    from tests.fuzz.catalogue import BY_NAME

LONGEST = 8192
SLOWEST_S = 5
MEMORY_MB = 2048


def main() -> None:
    name, seconds, folder = sys.argv[1:]
    target = BY_NAME[name]
    found = Path(folder)
    found.mkdir(parents=True, exist_ok=True)
    target.corpus.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        str(found),
        str(target.corpus),
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={SLOWEST_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-dict={Path(__file__).parent / 'words.dict'}",
        f"-artifact_prefix={target.corpus}/found-",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup(arguments, target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
