"""Files that are copied into a container before it starts."""

import io
import tarfile
from pathlib import Path, PurePosixPath

MOST_BYTES = 16 * 1024 * 1024
"""Largest archive that is taken: the suite copies certificates and registration files of some kilobytes."""


class BadArchive(ValueError):
    """An archive that can't be unpacked here, or that wants to write outside the container's folder."""


def unpack(content: bytes, folder: Path, into: str) -> list[Path]:
    """Write the regular files of a tar archive below `folder`, as if that were the root; answers what was written."""
    written = []
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                if member.isdir():
                    continue
                source = archive.extractfile(member) if member.isreg() else None
                if source is None:
                    raise BadArchive(f"{member.name} is not a regular file.")
                target = folder.joinpath(*_inside(PurePosixPath("/") / into / member.name.lstrip("/")))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read())
                written.append(target)
    except tarfile.TarError as error:
        raise BadArchive(f"Not a tar archive: {error}") from error
    return written


def _inside(path: PurePosixPath) -> tuple[str, ...]:
    if ".." in path.parts:
        raise BadArchive(f"{path} leaves the container's folder.")
    return path.parts[1:]
