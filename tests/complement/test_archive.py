"""Files copied into a container."""

import io
import tarfile
from pathlib import Path

import pytest
from complement.engine.archive import BadArchive, unpack


def _tar(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_an_absolute_path_lands_below_the_containers_folder(tmp_path: Path) -> None:
    unpack(_tar("/complement/ca/ca.crt", b"cert"), tmp_path, "")
    assert (tmp_path / "complement/ca/ca.crt").read_bytes() == b"cert"


def test_the_requests_path_comes_in_front(tmp_path: Path) -> None:
    unpack(_tar("as.yaml"), tmp_path, "complement/appservice")
    assert (tmp_path / "complement/appservice/as.yaml").exists()


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    with pytest.raises(BadArchive):
        unpack(_tar("../../outside"), tmp_path / "container", "")
    assert list(tmp_path.iterdir()) == []


def test_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArchive):
        unpack(_tar("link", b"", tarfile.SYMTYPE), tmp_path, "")


def test_bytes_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArchive):
        unpack(b"no archive", tmp_path, "")
