"""Keys, links and cookies: how they are made and how they are kept; and what only this machine reaches.

A token is 32 random bytes, so guessing is hopeless and a plain SHA-256 keeps it: a slow hash protects
secrets that people think of, and would cost every request for nothing here.
"""

import hashlib
import hmac
import secrets
from ipaddress import ip_address

# Prefixes let secret scanners find what leaked, and tell the three kinds apart.
TOKEN_PREFIX = "fn_"  # noqa: S105
LINK_PREFIX = "fnlink_"
SESSION_PREFIX = "fnpage_"
TOKEN_BYTES = 32


def make_token(prefix: str = TOKEN_PREFIX) -> str:
    """A new secret, in URL-safe characters."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """SHA-256 of a token, hex: what is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def same_hash(found: str, expected: str) -> bool:
    """Compare two hashes in a time that does not tell where they differ."""
    return hmac.compare_digest(found, expected)


def is_loopback(host: str) -> bool:
    """True for a name or address that only this machine can reach: localhost, 127.0.0.0/8, ::1."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
