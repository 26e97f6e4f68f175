"""Which version a deployment gets, and which plugin carries it out (A2, A3, A10). Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import UNSET

from edge.apps.types import Application, ApplicationVersion, Resolution
from edge_kube.meta import Model
from edge_sdk import semver
from edge_sdk.scopes import PROVISIONER_LABEL

LATEST: Final = "latest"
APPROVED: Final = ("approved", "published")
NEVER: Final = ("withdrawn", "rejected")
PHASES: Final = ("draft", "submitted", "approved", "rejected", "published", "withdrawn")


class Choice(Model):
    """The version that was chosen, or why none was: one CamelCase reason and a message with the way out."""

    version: ApplicationVersion | None = None
    reason: str = "Resolved"
    message: str = ""


def review_phase(version: ApplicationVersion) -> str:
    """An object of the contract that was never reviewed is a draft."""
    return version.status.review_phase or "draft"


def may_deploy(version: ApplicationVersion, *, review_required: bool) -> bool:
    phase = review_phase(version)
    return phase in APPROVED if review_required else phase not in NEVER


def versions_of(application: str, versions: Iterable[ApplicationVersion]) -> list[ApplicationVersion]:
    """Versions of one application, by name; those being deleted are not there any more."""
    found = [
        version
        for version in versions
        if version.spec.application_ref == application and not version.metadata.deletion_timestamp
    ]
    return sorted(found, key=lambda version: version.metadata.name)


def resolve(
    requested: str, application: str, versions: Sequence[ApplicationVersion], *, review_required: bool
) -> Choice:
    """Choose the version that `requested` means: a version, a range, or latest.

    versions: all of the application. A version named exactly may be a pre-release; `latest` and ranges take
    the highest stable one that may be deployed (R34). Of equal precedence the lowest name wins.
    """
    if named := _named(requested, versions):
        return _judged(named, review_required=review_required)
    if semver.is_strict(requested.removeprefix("v")):
        return Choice(reason="VersionNotFound", message=_not_found(requested, application, versions))
    allowed = [one for one in versions if may_deploy(one, review_required=review_required)]
    try:
        text = semver.newest((one.spec.version for one in allowed), "" if requested == LATEST else requested)
    except semver.BadVersion as error:
        return Choice(reason="MalformedVersion", message=f"spec.version: {error}, latest, or a version")
    if text is None:
        return Choice(
            reason="NoApprovedVersion",
            message=_none_allowed(requested, application, versions, review_required),
        )
    return Choice(version=next(one for one in allowed if one.spec.version == text))


def resolved_before(
    resolution: Resolution, versions: Sequence[ApplicationVersion]
) -> ApplicationVersion | None:
    """The version that a deployment was resolved to earlier, while its object still exists.

    A version withdrawn since stays where it runs; only new deployments and `latest` leave it out (A3).
    """
    return next((one for one in versions if one.metadata.name == resolution.version_name), None)


def provisioner_of(application: Application, version: ApplicationVersion) -> str:
    """Name of the plugin: the application's label, else what kind of settings the version has."""
    if label := application.metadata.labels.get(PROVISIONER_LABEL):
        return label
    if version.spec.helm_config is not UNSET:
        return "helm"
    if version.spec.model_config is not UNSET:
        return "model"
    return "workload"


def _named(requested: str, versions: Sequence[ApplicationVersion]) -> ApplicationVersion | None:
    for version in versions:
        if version.spec.version == requested:
            return version
    if not semver.is_strict(requested.removeprefix("v")):
        return None
    wanted = requested.removeprefix("v")
    return next((one for one in versions if one.spec.version.removeprefix("v") == wanted), None)


def _judged(version: ApplicationVersion, *, review_required: bool) -> Choice:
    if may_deploy(version, review_required=review_required):
        return Choice(version=version)
    text, phase = version.spec.version, review_phase(version)
    if phase in NEVER:
        why = f": {version.status.review_message}" if version.status.review_message else ""
        return Choice(
            reason=f"Version{phase.capitalize()}",
            message=f"version {text} is {phase}{why}; set spec.version to latest or to another version",
        )
    return Choice(
        reason="VersionNotApproved",
        message=f"version {text} is {phase}, and only approved versions are deployed; have it approved",
    )


def _not_found(requested: str, application: str, versions: Sequence[ApplicationVersion]) -> str:
    return (
        f'application {application} has no version "{requested}"; it has {_listed(versions)}. '
        "Set spec.version to one of them, or create the ApplicationVersion."
    )


def _none_allowed(
    requested: str, application: str, versions: Sequence[ApplicationVersion], review_required: bool
) -> str:
    rule = "only approved versions are deployed" if review_required else "withdrawn ones are not deployed"
    return (
        f'no version of application {application} matches "{requested}" ({rule}); it has '
        f"{_listed(versions)}. Approve one, or set spec.version to one that may be deployed."
    )


def _listed(versions: Sequence[ApplicationVersion]) -> str:
    shown = [f"{one.spec.version} ({review_phase(one)})" for one in versions[:10]]
    more = [f"{len(versions) - 10} more"] if len(versions) > 10 else []
    return ", ".join([*shown, *more]) or "none"
