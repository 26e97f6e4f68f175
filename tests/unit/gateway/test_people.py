"""Users as the watch brings them, and what comparing with their passwords costs (I14)."""

import re

import msgspec
import pytest

from edge.apiserver.callers.identity import People
from edge.apiserver.signin.loginrecords import Attempt
from edge.iam.passwords import COST
from edge.iam.types import User, UserSpec
from edge_kube.meta import Key, ObjectMeta, to_manifest

SALT_AND_DIGEST = "a" * 53


def brought(people: People, name: str, hashed: str | None) -> None:
    """hashed: None when the user is gone."""
    user = User(metadata=ObjectMeta(name=name), spec=UserSpec(encrypted_password=hashed or ""))
    people.user_changed(Key("", name), None if hashed is None else msgspec.json.encode(to_manifest(user)))


def test_the_cost_is_the_highest_of_those_who_are_there_and_never_below_that_of_new_passwords() -> None:
    people = People()
    assert people.hashing_cost == COST
    brought(people, "quick", f"$2b$04${SALT_AND_DIGEST}")
    brought(people, "of-a-directory", "")
    assert people.hashing_cost == COST
    brought(people, "careful", f"$2b$12${SALT_AND_DIGEST}")
    brought(people, "also", f"$2b$12${SALT_AND_DIGEST}")
    assert people.hashing_cost == 12
    brought(people, "careful", f"$2b$10${SALT_AND_DIGEST}")
    assert people.hashing_cost == 12
    brought(people, "also", None)
    brought(people, "also", None)
    assert people.hashing_cost == COST


def test_a_cost_that_is_never_compared_with_counts_for_nothing() -> None:
    people = People()
    brought(people, "attack", f"$2b$31${SALT_AND_DIGEST}")
    assert people.hashing_cost == COST


@pytest.mark.parametrize("name", ["ada", "", "a" * 199 + ".b", "a" * 198 + "-.b", "a" * 253])
def test_the_record_of_an_attempt_has_a_name_that_the_api_server_takes(name: str) -> None:
    attempt = Attempt(user=name, uid="u", reason="WrongPassword", success=False, address="", agent="")
    part = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    assert re.fullmatch(rf"{part}(\.{part})*", attempt.record)
    assert len(attempt.record) <= 253
