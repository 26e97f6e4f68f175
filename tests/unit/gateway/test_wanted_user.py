"""Whom a request asks to act as (`--as`; S2, R13): one user, by one header, or the request is refused."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from edge.apiserver.callers.acting import require_impersonal, wanted_user
from edge.apiserver.headers import check_framing
from edge.apiserver.paths import Resource
from edge.iam.types import GROUP
from edge_sdk.problem import Forbidden, Problem


def asked(*headers: tuple[str, str]) -> str:
    return wanted_user(CIMultiDictProxy(CIMultiDict(headers)), check_framing(headers))


@pytest.mark.parametrize(
    "name", ["Impersonate-User", "impersonate-user", "IMPERSONATE-USER", "iMPERSONATE-uSER"]
)
def test_any_case_of_the_header_names_the_user(name: str) -> None:
    assert asked(("Accept", "*/*"), (name, " bob ")) == "bob"


@pytest.mark.parametrize(
    "name", ["Impersonate_User", "Impersonate", "X-Impersonate-User", "If-Match", "Accept"]
)
def test_other_headers_ask_for_nobody(name: str) -> None:
    assert asked((name, "bob"), ("Connection", "keep-alive, Impersonate-User")) == ""


@pytest.mark.parametrize(
    "headers",
    [
        [("Impersonate-User", "")], [("Impersonate-User", " ")],
        [("Impersonate-User", "bob"), ("impersonate-user", "bob")],
        [("Impersonate-User", "bob"), ("Connection", "close"), ("Connection", "x, Impersonate-User")],
    ],
)  # fmt: skip
def test_what_has_two_readings_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as refused:
        asked(*headers)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "name", ["Impersonate-Group", "impersonate-uid", "IMPERSONATE-EXTRA-scopes", "Impersonate-New"]
)
@pytest.mark.parametrize("more", [[], [("Impersonate-User", "bob")]])
def test_groups_and_all_else_are_refused_with_and_without_a_user(
    name: str, more: list[tuple[str, str]]
) -> None:
    with pytest.raises(Forbidden, match=name.lower()):
        asked((name, "ops"), *more)


def test_what_signs_in_is_refused_and_the_rest_of_the_platforms_kinds_is_not() -> None:
    for resource in (
        Resource(GROUP, "v1alpha1", "me", name="kubeconfigs"),
        Resource(GROUP, "v1alpha1", "me", name="sessions"),
        Resource(GROUP, "v1alpha1", "users", name="bob", subresource="password"),
        Resource(GROUP, "v1alpha1", "users", name="bob", subresource="sessions", rest=("1",)),
        Resource(GROUP, "v1alpha1", "oauthclients"),
    ):  # fmt: skip
        with pytest.raises(Forbidden, match="--as"):
            require_impersonal(resource)
    for resource in (
        Resource(GROUP, "v1alpha1", "me"), Resource(GROUP, "v1alpha1", "me", name="access"),
        Resource(GROUP, "v1alpha1", "users", name="sessions"), Resource("", "v1", "pods", name="password"),
    ):  # fmt: skip
        require_impersonal(resource)
