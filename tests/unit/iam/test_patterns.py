"""What a ScopePattern may say, which paths it stands for, and which of two is in force (I9; design §8.6)."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.iam.patternbook import Entry, PatternBook
from edge.iam.patterns import Pattern, PatternError, ambiguous, is_within, overlap, parse_pattern
from edge.iam.registration import plan_status
from edge.iam.types import ScopePattern, ScopePatternSpec, ScopePatternStatus
from edge.iam.webhooks import check_pattern
from edge_kube.meta import Condition, ObjectMeta

FIELDS = "/apis/farm.example.io/v1/fields/{field}/*"
NORTH = ("host", "apis", "farm.example.io", "v1", "fields", "north")


@pytest.mark.parametrize(
    ("text", "path", "scope"),
    [
        (FIELDS, NORTH, "x/field/host/north"),
        (FIELDS, (*NORTH, "status"), "x/field/host/north"),
        ("/oapis/farm.example.io/{_}/fields/{field}", NORTH, "x/field/host/north"),
        ("/kapis/farm.example.io/v1/fields/{field}", NORTH, "x/field/host/north"),
        (FIELDS, ("far", *NORTH[1:]), "x/field/far/north"),
        ("/clusters/{cluster}/apis/farm.example.io/v1/fields/{field}", NORTH, "x/field/host/north"),
        ("/clusters/far/apis/farm.example.io/v1/fields/{field}", ("far", *NORTH[1:]), "x/field/far/north"),
        (
            "/apis/farm.example.io/v1/fields/{_}/rows/{field}",
            (*NORTH, "rows", "7"),
            "x/field/host/7",
        ),
        (
            "/api/v1/namespaces/{_}/services/{field}/*",
            ("host", "api", "v1", "namespaces", "press", "services", "web", "proxy"),
            "x/field/host/web",
        ),
        (
            "/oapis/app/v1alpha1/appcategories/{field}",
            ("host", "apis", "app.theriseunion.io", "v1alpha1", "appcategories", "tools"),
            "x/field/host/tools",
        ),
    ],
)
def test_a_pattern_names_the_scope_of_a_path_whichever_way_it_is_written(
    text: str, path: tuple[str, ...], scope: str
) -> None:
    pattern = parse_pattern(text, "field")
    assert pattern.matches(path)
    assert pattern.scope(path) == scope


@pytest.mark.parametrize(
    "path",
    [
        NORTH[:-1],
        (*NORTH[:4], "crops", "north"),
        ("host", "apis", "other.example.io", *NORTH[3:]),
        ("host", "apis", "farm.example.io", "v2", *NORTH[4:]),
        ("host", "apis", "farm.example.io", "v1", "namespaces", "press", "fields", "north"),
    ],
)
def test_other_paths_are_not_taken_in(path: tuple[str, ...]) -> None:
    assert not parse_pattern(FIELDS, "field").matches(path)


@pytest.mark.parametrize(
    ("text", "scope_type", "field", "why"),
    [
        ("fields/{field}", "field", "pattern", "begin with a slash"),
        ("/", "field", "pattern", "begin with a slash"),
        ("/apis//v1/fields/{field}", "field", "pattern", "empty segment"),
        (FIELDS.replace("*", ""), "field", "pattern", "empty segment"),
        ("/apis/farm/v1/fields/*/{field}", "field", "pattern", "nothing can come after"),
        ("/apis/farm/v1/fields/{field}/{field}", "field", "pattern", "{field} is there twice"),
        ("/apis/farm/v1/fields/{field:(a+)+$}", "field", "pattern", "regular expressions are not"),
        ("/apis/farm/v1/fields/(a|aa)+$/{field}", "field", "pattern", "regular expressions are not"),
        ("/apis/farm/v1/fields/a*b/{field}", "field", "pattern", "regular expressions are not"),
        ("/apis/farm/v1/fields/**/{field}", "field", "pattern", "regular expressions are not"),
        ("/apis/farm/v1/fields/x{field}", "field", "pattern", "neither literal nor one parameter"),
        ("/apis/farm/v1/fields/../{field}", "field", "pattern", "neither literal nor one parameter"),
        ("/apis/farm/v1/fields/%2e/{field}", "field", "pattern", "neither literal nor one parameter"),
        ("/apis/farm/v1/fields/{}/{field}", "field", "pattern", "neither literal nor one parameter"),
        (f"/apis/farm/v1/fields/{{field}}/{'a' * 512}", "field", "pattern", "characters"),
        (FIELDS, "farm", "scopeType", "taken from the parameter"),
        (FIELDS.replace("{field}", "{_}"), "field", "scopeType", "taken from the parameter"),
        (FIELDS, "_", "scopeType", "value of a label"),
        (FIELDS.replace("field}", "f" * 64 + "}"), "f" * 64, "scopeType", "value of a label"),
        ("/apis/farm/v1/fields/{workspace}", "workspace", "scopeType", "built-in scope type"),
        ("/apis/farm/v1/fields/{Platform}", "Platform", "scopeType", "built-in scope type"),
        ("/apis/farm/v1/fields/{anonymous}", "anonymous", "scopeType", "built-in scope type"),
        ("/oauth/{field}", "field", "pattern", "shadow built-in routes"),
        ("/healthz/{field}", "field", "pattern", "shadow built-in routes"),
        ("/{field}/*", "field", "pattern", "shadow built-in routes"),
        ("/oapis/iam.theriseunion.io/v1alpha1/users/{field}/*", "field", "pattern", "built-in routes"),
        ("/kapis/iam/v1alpha1/access/{field}", "field", "pattern", "built-in routes"),
        ("/oapis/scope/v1alpha1/workspaces/{field}/*", "field", "pattern", "built-in scope type"),
        ("/oapis/tenant/v1alpha1/workspaces/{field}", "field", "pattern", "built-in scope type"),
        ("/api/v1/namespaces/{field}/*", "field", "pattern", "built-in scope type"),
        ("/apis/apps/v1/namespaces/{field}/*", "field", "pattern", "built-in scope type"),
        ("/api/v1/nodes/{field}/proxy", "field", "pattern", "built-in scope type"),
        ("/apis/{_}/{_}/fields/{field}", "field", "pattern", "which resource it is about"),
        ("/apis/apps/v1/{_}/{field}", "field", "pattern", "which resource it is about"),
        ("/api/v1/namespaces/{_}/{_}/{field}", "field", "pattern", "which resource it is about"),
        ("/api/v1/watch/fields/{field}", "field", "pattern", "which resource it is about"),
        ("/clusters/{field}/apis/farm/v1/fields/{_}", "field", "scopeType", "stands where the cluster"),
        ("/apis/farm/{field}/fields/{_}", "field", "scopeType", "stands where the cluster"),
        ("/api/v1/namespaces/{field}/pods", "field", "scopeType", "stands where the cluster"),
        ("/farms/{field}", "field", "pattern", "nothing at /farms is decided by a scope"),
    ],
)
def test_a_bad_or_shadowing_pattern_is_refused_with_the_reason(
    text: str, scope_type: str, field: str, why: str
) -> None:
    with pytest.raises(PatternError, match=why.replace("{", r"\{")) as caught:
        parse_pattern(text, scope_type)
    assert caught.value.field == f"spec.{field}"
    spec = ScopePatternSpec(pattern=text, scope_type=scope_type)
    made = ScopePattern(metadata=ObjectMeta(name="p"), spec=spec)
    (violation,) = check_pattern(made, None)
    assert violation.field == f"spec.{field}"
    assert violation.accepted
    assert not check_pattern(made, made), "what is stored must keep taking labels and finalizers"


def test_no_pattern_and_no_path_takes_long() -> None:
    """Time grows with the length, not with the number of ways to read it; it is our own that is counted."""
    patterns = [parse_pattern(f"/apis/f/v1/a/{{t}}{'/{_}' * n}/z", "t") for n in (60, 120)]
    paths = [("host", "apis", "f", "v1", "a", *"a" * n) for n in (62, 121, 100_000)]
    begun = time.process_time()
    for pattern, path in itertools.product(patterns * 100, paths):
        assert not pattern.matches(path)
    assert time.process_time() - begun < 3
    begun = time.process_time()
    with pytest.raises(PatternError):
        parse_pattern(f"/apis/f/v1/a/{{t:{'(a+)+' * 50}$}}", "t")
    with pytest.raises(PatternError):
        parse_pattern("/{" * 100_000, "t")
    assert time.process_time() - begun < 1


WORDS = ("a", "b")


def made_of(parts: list[str | None], rest: bool) -> Pattern:
    return Pattern("t", "g", "r", (None, *parts), rest, 0)


patterns = st.builds(made_of, st.lists(st.sampled_from((*WORDS, None)), max_size=4), st.booleans())
paths = st.lists(st.sampled_from((*WORDS, "c")), max_size=5).map(lambda parts: ("host", *parts))
ALL_PATHS = [("host", *parts) for n in range(6) for parts in itertools.product((*WORDS, "c"), repeat=n)]


def naive(pattern: Pattern, path: tuple[str, ...]) -> bool:
    """Segment by segment, as a person would read it."""
    asked, left = list(pattern.segments), list(path)
    while asked:
        if not left:
            return False
        one, part = asked.pop(0), left.pop(0)
        if one is not None and one != part:
            return False
    return not left or pattern.rest


@given(patterns, paths)
def test_matching_equals_a_naive_matcher(pattern: Pattern, path: tuple[str, ...]) -> None:
    assert pattern.matches(path) == naive(pattern, path)


@given(patterns, patterns)
def test_overlap_and_narrowness_are_what_the_paths_say_and_ambiguity_is_mutual(
    one: Pattern, other: Pattern
) -> None:
    mine = {path for path in ALL_PATHS if naive(one, path)}
    theirs = {path for path in ALL_PATHS if naive(other, path)}
    assert overlap(one, other) == overlap(other, one) == bool(mine & theirs)
    assert is_within(one, other) == (mine <= theirs)
    assert ambiguous(one, other) == ambiguous(other, one)
    assert ambiguous(one, other) == (bool(mine & theirs) and (mine <= theirs) == (theirs <= mine))


@given(st.lists(patterns, max_size=6), paths)
def test_the_narrowest_pattern_decides_whatever_the_order_of_events(
    found: list[Pattern], path: tuple[str, ...]
) -> None:
    kept: list[Pattern] = []
    for pattern in found:
        if not any(ambiguous(pattern, one) for one in kept):
            kept.append(pattern)
    there, back = PatternBook(), PatternBook()
    for number, pattern in enumerate(kept):
        there.put(str(number), Entry(pattern._replace(scope_type=f"t{number}")))
    for number, pattern in reversed(list(enumerate(kept))):
        back.put(str(number), Entry(pattern._replace(scope_type=f"t{number}")))
    fits = [n for n, pattern in enumerate(kept) if naive(pattern, path)]
    narrowest = [n for n in fits if all(is_within(kept[n], kept[other]) for other in fits)]
    wanted = f"x/t{narrowest[0]}/host/host" if fits else None
    assert there.scope("g", "r", path) == back.scope("g", "r", path) == wanted


def pattern(
    name: str, text: str, born: str, registered: bool = False, scope_type: str = "field"
) -> ScopePattern:
    ready = Condition(type="Ready", status="True", reason="Registered", observed_generation=1)
    return ScopePattern(
        metadata=ObjectMeta(name=name, namespace="farm", creation_timestamp=born, generation=1),
        spec=ScopePatternSpec(pattern=text, scope_type=scope_type),
        status=ScopePatternStatus(registered=True, conditions=(ready,))
        if registered
        else ScopePatternStatus(),
    )


EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
ROWS, CROPS = "/apis/farm/v1/fields/{field}/rows", "/apis/farm/v1/fields/north/{field}"


def test_of_two_patterns_in_each_others_way_the_younger_waits_and_is_told_why() -> None:
    old, young = pattern("old", ROWS, EARLY), pattern("young", CROPS, LATE)
    for others in ([old, young], [young, old]):
        assert plan_status(old, others).registered is True
        refused = plan_status(young, others)
        assert refused.registered is False
        assert "the older pattern farm/old (/apis/farm/v1/fields/{field}/rows)" in refused.message
        assert refused.conditions[0].reason == "Ambiguous"
    assert plan_status(young, [young]).registered is True, "once the older is gone"


def test_of_two_made_in_the_same_second_the_one_in_force_stays() -> None:
    first, second = pattern("z", ROWS, EARLY, registered=True), pattern("a", CROPS, EARLY)
    assert plan_status(first, [first, second]).registered is True
    assert plan_status(second, [first, second]).registered is False


def test_who_waits_is_in_nobodys_way() -> None:
    one, two = pattern("one", ROWS, EARLY), pattern("two", CROPS, LATE)
    three = pattern("three", "/apis/farm/v1/fields/north/{field}", "2026-01-03T00:00:00Z")
    gone = [two, three]
    assert plan_status(two, [one, two, three]).registered is False
    assert plan_status(two, gone).registered is True
    assert plan_status(three, gone).registered is False


def test_a_narrower_pattern_and_one_more_of_the_same_type_are_welcome() -> None:
    wide, narrow = pattern("wide", FIELDS, EARLY), pattern("narrow", FIELDS.replace("/*", "/rows"), LATE)
    other = pattern("other", "/apis/farm.example.io/v1/crops/{field}", LATE)
    for one in (wide, narrow, other):
        assert plan_status(one, [wide, narrow, other]).registered is True


def test_what_got_past_admission_is_refused_in_the_status() -> None:
    status = plan_status(pattern("bad", "/oauth/{field}", EARLY), [])
    assert status.registered is False
    assert status.conditions[0].reason == "BadPattern"
    assert "shadow built-in routes" in status.message
