"""Unpadded Base64, the form in which Matrix writes binary values (appendices, "Unpadded Base64")."""

from binascii import Error, a2b_base64, b2a_base64

_STANDARD = bytes.maketrans(b"-_", b"+/")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def encode(data: bytes) -> str:
    """Standard alphabet, no `=`."""
    return b2a_base64(data, newline=False).rstrip(b"=").decode("ascii")


def encode_url_safe(data: bytes) -> str:
    """`-` and `_` in place of `+` and `/`, no `=`."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Bytes of Base64 in the standard or the URL-safe alphabet, with or without padding.

    Raises ValueError for anything else. The text allows both alphabets for some keys, and other servers read
    both everywhere, so who refused one of them would see other rooms.
    """
    try:
        bare = text.rstrip("=").encode("ascii").translate(_STANDARD)
        return a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except (Error, UnicodeEncodeError) as error:
        raise ValueError("not unpadded Base64") from error


def decode_leniently(text: str) -> bytes:
    """`decode`, but what is no Base64 in the text is passed over. Raises ValueError if nothing can be made of it.

    COMPAT(synapse, all): it reads the signatures and hashes of events so, and who refused what it takes would
    see another room.
    """
    try:
        raw = text.encode("ascii").translate(_STANDARD)
        return a2b_base64(raw + b"=" * (-len(raw) % 4))
    except (Error, UnicodeEncodeError) as error:
        raise ValueError("not Base64") from error
