"""A server's TLS certificate, signed by the suite's authority."""

import subprocess
from pathlib import Path

_DAYS = "30"


def make_certificate(server_name: str, authority: Path, folder: Path) -> tuple[Path, Path]:
    """Certificate and private key for a server's name, as PEM files in `folder`; made by the openssl command."""
    key, request, certificate = folder / "tls.key", folder / "tls.csr", folder / "tls.crt"
    extensions = folder / "tls.ext"
    extensions.write_text(f"subjectAltName=DNS:{server_name}\nextendedKeyUsage=serverAuth\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key))
    _openssl("req", "-new", *new_key, "-subj", f"/CN={server_name}", "-out", str(request))
    signer = ("-CA", str(authority / "ca.crt"), "-CAkey", str(authority / "ca.key"), "-set_serial", "1")
    _openssl(
        *("x509", "-req", "-in", str(request), *signer, "-days", _DAYS),
        *("-extfile", str(extensions), "-out", str(certificate)),
    )
    return certificate, key


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)  # noqa: S603, S607 - see above
