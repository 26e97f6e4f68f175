"""Versions and ranges as Helm users write them (K1, K9, A2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.semver import BadVersion, is_strict, newest, parse, parse_range

ORDER = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
         "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"]  # fmt: skip


@given(st.permutations(ORDER))
def test_order_is_that_of_semver_org(shuffled: list[str]) -> None:
    assert sorted(shuffled, key=parse) == ORDER


@pytest.mark.parametrize(
    ("wanted", "inside", "outside"),
    [
        ("^1.2", ["1.2.0", "1.9.9"], ["1.1.9", "2.0.0", "1.3.0-rc.1"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]),
        ("^0.0", ["0.0.7"], ["0.1.0"]),
        ("~2.0", ["2.0.5"], ["2.1.0"]),
        ("~1", ["1.9.0"], ["2.0.0"]),
        ("~1.2.3", ["1.2.9"], ["1.3.0", "1.2.2"]),
        ("1.x", ["1.0.0", "1.99.0"], ["2.0.0"]),
        (">=1 <3 || 4.x", ["1.0.0", "2.9.0", "4.1.0"], ["3.0.0", "5.0.0"]),
        (">=1,<2", ["1.5.0"], ["2.0.0"]),
        ("1.2 - 1.4", ["1.2.0", "1.4.9"], ["1.5.0"]),
        ("!=1.2.3", ["1.2.4"], ["1.2.3"]),
        (">1.2", ["1.3.0"], ["1.2.9"]),
        ("<=1.2", ["1.2.9"], ["1.3.0"]),
        ("*", ["0.0.1"], ["1.0.0-rc.1"]),
        ("", ["3.0.0"], ["3.0.0-rc.1"]),
        (">=1.0.0-0", ["1.0.0-rc.1", "2.0.0-rc.1"], ["0.9.0"]),
        ("v1.2.3", ["1.2.3", "1.2.3+build"], ["1.2.4"]),
    ],
)
def test_a_range_takes_in_what_helm_takes_in(wanted: str, inside: list[str], outside: list[str]) -> None:
    matches = parse_range(wanted)
    assert [v for v in inside if not matches(parse(v))] == []
    assert [v for v in outside if matches(parse(v))] == []


@pytest.mark.parametrize("text", ["one", "1.2.3.4", ">=", "1.2 foo", "latest", "^", "1..2"])
def test_a_malformed_range_is_named(text: str) -> None:
    with pytest.raises(BadVersion, match="version"):
        parse_range(text)


def test_the_newest_stable_version_wins_whatever_the_order() -> None:
    assert newest(["1.9.0", "1.10.0", "2.0.0-rc.1", "junk"]) == "1.10.0"
    assert newest(["1.0.0+b", "1.0.0+a"]) == "1.0.0+a"
    assert newest(["2.0.0-rc.1"]) is None


@pytest.mark.parametrize("text", ["1.2", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3 ", ""])
def test_a_chart_version_must_be_complete(text: str) -> None:
    assert not is_strict(text)


@pytest.mark.parametrize("text", ["1.2.3", "0.0.0", "1.2.3-rc.1+build.7", "1.2.3-0"])
def test_a_complete_version_is_accepted(text: str) -> None:
    assert is_strict(text)
