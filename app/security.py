"""Keys: how they are made and how they are kept.

A token is 32 random bytes, so guessing is hopeless and a plain SHA-256 keeps it: a slow hash protects
secrets that people think of, and would cost every request for nothing here.
"""

import hashlib
import hmac
import secrets

TOKEN_PREFIX = "fn_"  # noqa: S105  the prefix lets secret scanners find a leaked key
TOKEN_BYTES = 32


def make_token() -> str:
    """A new key, in URL-safe characters."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """SHA-256 of a token, hex: what is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def same_hash(found: str, expected: str) -> bool:
    """Compare two hashes in a time that does not tell where they differ."""
    return hmac.compare_digest(found, expected)
