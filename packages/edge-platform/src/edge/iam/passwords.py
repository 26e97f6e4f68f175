"""Passwords: which are accepted, how they are hashed and compared (I14).

bcrypt reads 72 bytes and no more. A longer password is refused when it is set, with its length, and is a
plain mismatch at sign-in: cutting it would let two passwords open one account.
"""

import re

import bcrypt

from edge_sdk.problem import Violation

MAX_BYTES = 72
COST = 10  # 63 ms of one core; two hashing threads then serve about 30 sign-ins a second
MAX_COST = 14  # a stored hash of cost 20 would hold a thread for a minute: that is an attack, not care

_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")

DUMMY_HASH = bcrypt.hashpw(b"nobody's password", bcrypt.gensalt(COST)).decode()
"""Compared with when there is no such user, so that both answers take equally long."""


def is_hash(value: str) -> bool:
    """Whether the text is a bcrypt hash of a cost that we are ready to check."""
    match = _HASH.fullmatch(value)
    return match is not None and 4 <= int(match[1]) <= MAX_COST


def password_violation(plain: str, field: str) -> Violation | None:
    """What is wrong with a password that somebody sets; the value itself is never repeated."""
    size = len(plain.encode())
    accepted = f"1 to {MAX_BYTES} bytes of text, or a bcrypt hash of cost 4 to {MAX_COST}"
    if not plain:
        return Violation(field, "***", "the password is empty", accepted)
    if size > MAX_BYTES:
        why = f"a password holds at most {MAX_BYTES} bytes (yours: {size}), bcrypt ignores the rest"
        return Violation(field, "***", why, accepted)
    if "\0" in plain:
        return Violation(field, "***", "the password holds a NUL character", accepted)
    if plain.startswith("$2") and not is_hash(plain):
        why = "it begins like a bcrypt hash but is none, or its cost is too high"
        return Violation(field, "***", why, accepted)
    return None


def hash_password(plain: str, cost: int = COST) -> str:
    """bcrypt hash. Holds a core for about 63 ms at cost 10: not on the event loop of a busy process."""
    return bcrypt.hashpw(plain.encode(), bcrypt.gensalt(cost)).decode()


def cost_of(hashed: str) -> int:
    """Two to the power of it is the work of comparing; 0 for what is no hash of ours."""
    return int(hashed[4:6]) if is_hash(hashed) else 0


def password_matches(plain: str, hashed: str, cost: int = COST) -> bool:
    """Compare in constant time. A mismatch takes as long as with a hash of `cost`, whatever was stored.

    cost: the highest of all users, so that time does not tell whether a name has a hash, and which.
    """
    secret = plain.encode()
    usable = len(secret) <= MAX_BYTES and b"\0" not in secret and is_hash(hashed)
    if usable and bcrypt.checkpw(secret, hashed.encode()):
        return True
    done = cost_of(hashed) if usable else 0
    # 2^done + (2^done + … + 2^(cost - 1)) = 2^cost
    for more in range(done, cost) if done else (cost,):
        bcrypt.checkpw(b"-", _dummy(more))
    return False


def _dummy(cost: int) -> bytes:
    return f"{DUMMY_HASH[:4]}{cost:02}{DUMMY_HASH[6:]}".encode()
