"""People from outside directories: names, groups and links (I13, S13)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from edge.iam.federated import (
    Identity,
    link_of,
    mapped_groups,
    merged_groups,
    names_for,
    new_user,
    path_back,
    provider_of,
)
from edge.iam.types import User
from edge.iam.webhooks import check_user
from edge_kube.meta import ObjectMeta

OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def somebody(name: str = "ada", subject: str = "1", email: str = "") -> Identity:
    return Identity("oidc", "https://idp.example.com", subject, name, email=email)


@given(st.text(max_size=300), st.sampled_from(["", "oidc-", "ldap-", "-", "a." * 150]))
def test_whatever_a_directory_calls_somebody_the_user_has_a_name_that_an_object_can_have(
    name: str, prefix: str
) -> None:
    for found in names_for(somebody(name), prefix):
        assert OBJECT_NAME.fullmatch(found)
        assert len(found) <= 253


def test_two_people_of_one_name_get_two_names_the_second_always_the_same() -> None:
    first, second = list(names_for(somebody(), "oidc-"))
    assert first == "oidc-ada"
    assert second == list(names_for(somebody(), "oidc-"))[1]
    assert second != list(names_for(somebody(subject="2"), "oidc-"))[1]


def test_a_link_is_of_provider_issuer_and_subject_and_of_nothing_else() -> None:
    link = somebody().link
    assert somebody(name="other", email="other@example.org").link == link
    assert somebody(subject="2").link != link
    user = new_user(somebody(), "oidc-ada", ())
    assert (link_of(user), provider_of(user), provider_of(User(metadata=ObjectMeta(name="x")))) == (
        link,
        "oidc",
        "local",
    )


def test_groups_of_the_platform_and_of_the_cluster_are_never_given_from_outside() -> None:
    given_ = [
        "ops",
        "system:masters",
        "edge:platform-admins",
        "System:Masters",
        "",
        " x",
        "a\nb",
        "x" * 300,
        "ops",
    ]
    assert mapped_groups(given_, "ldap:") == ("ldap:ops",)


def test_groups_with_the_prefix_are_replaced_and_all_others_stay() -> None:
    now = merged_groups(("local", "ldap:old", "oidc:theirs"), ("ldap:new",), "ldap:")
    assert now == ("local", "oidc:theirs", "ldap:new")


@pytest.mark.parametrize(
    "path", ["/", "/x", "/oauth/authorize?client_id=a&redirect_uri=https%3A%2F%2Fe%2F&scope=a+b", "/a/b?c=/d"]
)
def test_a_path_of_this_address_is_gone_back_to(path: str) -> None:
    assert path_back(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "x", "//e.com", "/\\e.com", "https://e.com", "/\t/e.com", "/x#y", "/x\r\ny", "/" + "x" * 4000],
)
def test_another_address_is_not(path: str) -> None:
    assert path_back(path) == "/"


def test_a_user_of_a_directory_has_no_password_here() -> None:
    """I13: it would outlive the account there."""
    user = new_user(somebody(), "oidc-ada", ())
    assert check_user(user, None) == ()
    with_password = structs.replace(user, spec=structs.replace(user.spec, encrypted_password="a password"))
    assert [one.field for one in check_user(with_password, user)] == ["spec.encryptedPassword"]
