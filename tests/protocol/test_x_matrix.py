"""The X-Matrix header: what is made can be read, all forms that the specification allows can, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.protocol import x_matrix
from ranvier.protocol.signing import SigningKey, signed_bytes, verify
from ranvier.protocol.x_matrix import BadXMatrix, XMatrix

SIGNER = SigningKey("origin.example:8448", "ed25519:a_1", bytes(range(32)))
SIG = SIGNER.sign(b"")
FOUND = XMatrix("a.example", "b.example", "ed25519:k1", SIG)


def test_what_is_made_is_read_and_its_signature_holds_for_that_request_only() -> None:
    uri = "/_matrix/federation/v1/send/1%2F2?x=%20"
    made = x_matrix.make(SIGNER, "b.example", "PUT", uri, {"pdus": []})
    read = x_matrix.parse(made)
    assert (read.origin, read.destination, read.key_id) == ("origin.example:8448", "b.example", "ed25519:a_1")
    assert made.startswith('X-Matrix origin="origin.example:8448",destination=')
    right = ("PUT", uri, SIGNER.server_name, "b.example", {"pdus": []})
    assert verify(SIGNER.public, signed_bytes(x_matrix.signed_request(*right)), read.signature)
    for wrong in (
        ("POST", *right[1:]),
        ("PUT", uri.replace("%2F", "/"), *right[2:]),
        (*right[:3], "c.example", right[4]),
        (*right[:4], {"pdus": [1]}),
        (*right[:4], None),
    ):
        assert not verify(SIGNER.public, signed_bytes(x_matrix.signed_request(*wrong)), read.signature)


@pytest.mark.parametrize(
    "header",
    [
        f'X-Matrix origin="a.example",destination="b.example",key="ed25519:k1",sig="{SIG}"',
        f'x-matrix   sig="{SIG}" , key="ed25519:k1",\tORIGIN="a.example", Destination="b.example"',
        f"X-Matrix origin=a.example,destination=b.example,key=ed25519:k1,sig={SIG}",
        f'X-Matrix origin="a\\.example",destination="b.example",key="ed25519:k\\1",sig="{SIG}"',
        f'X-Matrix ,, origin = "a.example",destination="b.example",more="x, y=\\"z\\"",key="ed25519:k1",sig="{SIG}",',
        f'X-Matrix origin="a.example",destination="b.example",key="ed25519:k1",signature="{SIG}"',
    ],
)
def test_every_form_that_the_specification_allows_is_read(header: str) -> None:
    assert x_matrix.is_x_matrix(header)
    assert x_matrix.parse(header) == FOUND


def test_older_servers_name_no_destination() -> None:
    header = f'X-Matrix origin="a.example",key="ed25519:k1",sig="{SIG}"'
    assert x_matrix.parse(header) == FOUND._replace(destination=None)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Bearer abc", "must begin with X-Matrix"),
        ("X-Matrix", "lacks `origin`"),
        ('X-Matrix origin="a.example"', "lacks `key`"),
        (f'X-Matrix origin="a b",key="ed25519:k1",sig="{SIG}"', "`origin`"),
        (f'X-Matrix origin="a.example",destination="/",key="ed25519:k1",sig="{SIG}"', "`destination`"),
        (f'X-Matrix origin="a.example",key="rsa:k1",sig="{SIG}"', "ed25519:version"),
        ('X-Matrix origin="a.example",key="ed25519:k1",sig="abc"', "`sig`"),
        (f'X-Matrix origin="a.example",origin="b.example",key="ed25519:k1",sig="{SIG}"', "twice"),
        (f'X-Matrix origin="a.example,key="ed25519:k1",sig="{SIG}"', "name=value"),
        ('X-Matrix origin="' + "a" * 5000 + '"', "longer than"),
    ],
)
def test_what_can_not_be_read_is_refused_with_the_reason(header: str, words: str) -> None:
    with pytest.raises(BadXMatrix, match=words):
        x_matrix.parse(header)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=200))
def test_no_header_ends_in_anything_but_its_own_error(text: str) -> None:
    try:
        x_matrix.parse("X-Matrix " + text)
    except BadXMatrix as error:
        assert str(error)
