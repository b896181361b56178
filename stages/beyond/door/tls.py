"""How connections are encrypted: from files of certificates to what asyncio wants.

Source: the documentation of Python's `ssl`.
"""

import ssl


def context(certificate: str, key: str, client_ca: str) -> ssl.SSLContext | None:
    """How connections are encrypted, if they are. Raises ValueError, in one line, if a file cannot
    be used."""
    if not certificate:
        if key or client_ca:
            raise ValueError("`key` and `client_ca` need a `certificate`: expected one")
        return None
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        found.load_cert_chain(certificate, key or None, password=no_password)
        if client_ca:
            found.load_verify_locations(client_ca)
            found.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as problem:
        files = ", ".join(filter(None, (certificate, key, client_ca)))
        wanted = "a certificate and its private key, in PEM (the key in a file of its own: --key)"
        raise ValueError(f"cannot use {files} for TLS: {problem}: expected {wanted}") from None
    return found


def no_password() -> str:
    raise ValueError("the key has a password: expected one without")
