"""Which version a deployment gets: exact, range, latest; withdrawn and absent ones (A2, A3, A10, X67)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.apps.objects import application, deployment, version

from edge.apps.resolution import settle
from edge.apps.rules import Choice, provisioner_of, resolve
from edge.apps.status import deployment_status
from edge.apps.types import ApplicationVersion
from edge_sdk import semver

NOW = "2026-01-01T00:00:00Z"


def choose(requested: str, *versions: ApplicationVersion, review: bool = False) -> Choice:
    return resolve(requested, "qc", versions, review_required=review)


def chosen(requested: str, *versions: ApplicationVersion, review: bool = False) -> str:
    found = choose(requested, *versions, review=review).version
    return found.spec.version if found else ""


ALL = (
    version("v1.0.0", "published"),
    version("v1.1.0", "approved"),
    version("v1.2.0"),
    version("v1.3.0-rc.1", "approved"),
    version("v2.0.0", "withdrawn"),
)


@pytest.mark.parametrize(
    ("requested", "review", "found"),
    [
        ("latest", True, "v1.1.0"),
        ("latest", False, "v1.2.0"),
        ("v1.0.0", True, "v1.0.0"),
        ("1.0.0", True, "v1.0.0"),
        ("v1.3.0-rc.1", True, "v1.3.0-rc.1"),
        ("^1", True, "v1.1.0"),
        (">=1.3.0-rc.0", True, "v1.3.0-rc.1"),
        ("~1.0", False, "v1.0.0"),
    ],
)
def test_a_request_finds_the_highest_version_that_may_be_deployed(
    requested: str, review: bool, found: str
) -> None:
    assert chosen(requested, *ALL, review=review) == found


@pytest.mark.parametrize(
    ("requested", "review", "reason", "told"),
    [
        ("v9.0.0", False, "VersionNotFound", "it has v1.0.0 (published), v1.1.0 (approved), v1.2.0 (draft)"),
        ("v2.0.0", False, "VersionWithdrawn", "version v2.0.0 is withdrawn; set spec.version to latest"),
        ("v1.2.0", True, "VersionNotApproved", "have it approved"),
        ("^3", False, "NoApprovedVersion", "v2.0.0 (withdrawn)"),
        ("newest please", False, "MalformedVersion", "newest please"),
    ],
)
def test_a_request_that_finds_none_says_why_and_what_there_is(
    requested: str, review: bool, reason: str, told: str
) -> None:
    choice = choose(requested, *ALL, review=review)
    assert choice.version is None
    assert choice.reason == reason
    assert told in choice.message


def test_only_drafts_means_no_latest_where_reviews_are_required() -> None:
    choice = choose("latest", version("v1.0.0"), review=True)
    assert choice.reason == "NoApprovedVersion"
    assert "v1.0.0 (draft)" in choice.message


def test_build_metadata_does_not_decide() -> None:
    assert chosen("latest", version("1.0.0+b"), version("1.0.0+a")) == "1.0.0+a"


def test_the_plugin_is_named_by_the_application_else_by_the_settings() -> None:
    plain = version("1.0.0")
    assert provisioner_of(application(**{"app.theriseunion.io/provisioner": "function"}), plain) == "function"
    assert provisioner_of(application(), plain) == "workload"
    helm = {"chartName": "a", "chartVersion": "1", "repository": "http://x"}
    assert provisioner_of(application(), version("1.0.0", helmConfig=helm)) == "helm"


def test_latest_is_resolved_when_the_spec_changes_and_not_when_a_version_is_approved() -> None:
    first = version("v1.0.0", "approved")
    wanted = deployment("latest")
    settled = settle(wanted, application(), [first], review_required=True)
    status = deployment_status(wanted, settled, (), NOW)
    assert (status.application_version, status.application_version_name) == ("v1.0.0", "qc-v1.0.0")
    second = version("v1.1.0", "approved")
    running = msgspec.structs.replace(wanted, status=status)
    later = settle(running, application(), [first, second], review_required=True)
    assert later.version == first
    assert later.newer == "v1.1.0"
    conditions = {one.type: one for one in deployment_status(running, later, (), NOW).conditions}
    assert conditions["UpdateAvailable"].status == "True"
    assert "v1.1.0" in conditions["UpdateAvailable"].message
    asked = deployment("latest", generation=2, status=msgspec.to_builtins(status))
    assert settle(asked, application(), [first, second], review_required=True).version == second


def test_a_version_withdrawn_later_goes_on_running() -> None:
    status = {
        "applicationVersion": "v1.0.0",
        "resolution": {
            "requested": "v1.0.0",
            "resolved": "v1.0.0",
            "versionName": "qc-v1.0.0",
            "generation": 1,
        },
    }
    withdrawn = version("v1.0.0", "withdrawn")
    settled = settle(deployment("v1.0.0", status=status), application(), [withdrawn], review_required=True)
    assert settled.version == withdrawn
    changed = deployment("v1.0.0", generation=2, status=status)
    settled = settle(changed, application(), [withdrawn], review_required=True)
    assert settled.choice.reason == "VersionWithdrawn"
    assert settled.version == withdrawn
    told = deployment_status(changed, settled, (), NOW).conditions[1]
    assert (told.type, told.status) == ("Resolved", "False")
    assert "goes on running" in told.message


def test_an_application_that_does_not_exist_is_named() -> None:
    settled = settle(deployment("latest"), None, [], review_required=False)
    assert settled.choice.reason == "ApplicationNotFound"
    assert '"qc"' in settled.choice.message


def test_history_keeps_the_newest_ten_changes_of_version() -> None:
    wanted = deployment("latest")
    for number in range(12):
        versions = [version(f"v1.{number}.0")]
        settled = settle(wanted, application(), versions, review_required=False)
        status = deployment_status(wanted, settled, (), NOW)
        wanted = deployment("latest", generation=number + 2, status=msgspec.to_builtins(status))
    entries = wanted.status.history
    assert [entry.to_version for entry in entries] == [f"v1.{number}.0" for number in range(11, 1, -1)]
    assert entries[0].from_version == "v1.10.0"


texts = st.from_regex(r"v[0-3]\.[0-3]\.0(-rc\.1)?", fullmatch=True)
phases = st.sampled_from(["", "draft", "submitted", "approved", "rejected", "published", "withdrawn"])


@given(entries=st.dictionaries(texts, phases, max_size=8), review=st.booleans())
def test_latest_is_never_withdrawn_never_a_pre_release_and_never_lower_than_another(
    entries: dict[str, str], review: bool
) -> None:
    versions = [version(text, phase) for text, phase in entries.items()]
    found = choose("latest", *versions, review=review).version
    allowed = {"approved", "published"} if review else {"", "draft", "submitted", "approved", "published"}
    candidates = [
        semver.parse(text) for text, phase in entries.items() if phase in allowed and "-" not in text
    ]
    assert (found is None) == (not candidates)
    if found is not None:
        assert semver.parse(found.spec.version) == max(candidates)
