"""Passwords (I14): what may be set, how it is compared, and what is never repeated."""

import bcrypt
import pytest

from edge.iam.passwords import hash_password, is_hash, password_matches, password_violation
from edge.iam.types import User, UserSpec
from edge.iam.webhooks import check_user, hash_plain_password
from edge_kube.meta import ObjectMeta

SEED_HASH = "$2a$10$"  # the form the public installer's template has


def user(password: str, **annotations: str) -> User:
    return User(
        metadata=ObjectMeta(name="ada", annotations=annotations), spec=UserSpec(encrypted_password=password)
    )


def test_a_password_matches_its_hash_and_nothing_else() -> None:
    hashed = hash_password("P@88w0rd", cost=4)
    assert is_hash(hashed)
    assert password_matches("P@88w0rd", hashed)
    assert not password_matches("P@88w0rD", hashed)
    assert not password_matches("", hashed)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_hashes_of_other_bcrypt_libraries_are_accepted(prefix: str) -> None:
    hashed = prefix + hash_password("secret", cost=4)[4:]
    assert password_matches("secret", hashed)


@pytest.mark.parametrize("stored", ["", "plain", "$2b$31$" + "a" * 53, "$1$abc", "\0"])
def test_what_is_no_hash_matches_no_password(stored: str) -> None:
    assert not password_matches("plain", stored)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("x" * 73, "at most 72 bytes (yours: 73)"),
        ("é" * 37, "at most 72 bytes (yours: 74)"),
        ("", "empty"),
        ("a\0b", "NUL"),
        ("$2b$31$" + "a" * 53, "cost"),
    ],
)
def test_a_bad_password_is_refused_with_the_reason_and_without_itself(password: str, why: str) -> None:
    violation = password_violation(password, "spec.encryptedPassword")
    assert violation is not None
    assert why in str(violation)
    assert not password or password not in str(violation)


@pytest.mark.parametrize("stored_cost", [0, 4, 9, 10, 12])
@pytest.mark.parametrize("plain", ["wrong", "x" * 73, "nul\0"])
def test_a_mismatch_is_as_much_work_whatever_cost_was_stored(
    monkeypatch: pytest.MonkeyPatch, stored_cost: int, plain: str
) -> None:
    """I14: a hash of another cost, or none, must not tell by time that somebody has the name."""
    work: list[int] = []

    def counted(_: bytes, hashed: bytes) -> bool:
        work.append(2 ** int(hashed[4:6]))
        return False

    stored = f"$2b${stored_cost:02}$" + "a" * 53 if stored_cost else ""
    monkeypatch.setattr(bcrypt, "checkpw", counted)
    assert not password_matches(plain, stored, 12)
    assert sum(work) == 2**12


def test_the_dummies_that_fill_up_the_time_are_real_hashes() -> None:
    assert not password_matches("wrong", hash_password("right", cost=4), 6)
    assert not password_matches("wrong", "", 5)


def test_72_bytes_are_a_password_and_73_never_match() -> None:
    assert password_violation("x" * 72, "f") is None
    assert not password_matches("x" * 73, hash_password("x" * 72, cost=4))


def test_admission_stores_the_hash_and_drops_kubectls_copy_of_the_password() -> None:
    patch = hash_plain_password(user("secret", colour="blue"))
    assert patch[0]["path"] == "/spec/encryptedPassword"
    assert password_matches("secret", patch[0]["value"])
    assert patch[1] == {"op": "add", "path": "/metadata/annotations", "value": {"colour": "blue"}}
    assert hash_plain_password(user(patch[0]["value"])) == ()


def test_admission_refuses_a_long_password_and_lets_a_user_without_one_pass() -> None:
    assert hash_plain_password(user("x" * 73)) == ()
    assert [item.field for item in check_user(user("x" * 73), None)] == ["spec.encryptedPassword"]
    assert check_user(user(""), None) == ()
