"""When a version is resolved again, and what stays while nothing new can be had (A10, X67). Pure."""

from collections.abc import Sequence

from msgspec import UNSET

from edge.apps.rules import Choice, resolve, resolved_before
from edge.apps.status import Settled
from edge.apps.types import Application, ApplicationDeployment, ApplicationVersion, Resolution


def settle(
    deployment: ApplicationDeployment,
    application: Application | None,
    versions: Sequence[ApplicationVersion],
    *,
    review_required: bool,
) -> Settled:
    """Resolve spec.version once per generation of the spec; keep what runs while nothing better is there.

    versions: all of the application. A version approved or withdrawn later changes nothing by itself: it
    shows as UpdateAvailable, and is taken when the spec changes (spec.upgradeRequest is there for that).
    """
    before = deployment.status.resolution
    running = None if before is UNSET else resolved_before(before, versions)
    if before is not UNSET and running is not None and before.generation == deployment.metadata.generation:
        return Settled(
            choice=Choice(version=running),
            version=running,
            resolution=before,
            newer=_newer(deployment, running, versions, review_required=review_required),
        )
    choice = _choose(deployment, application, versions, review_required=review_required)
    if choice.version is None:
        return Settled(choice=choice, version=running)
    resolution = Resolution(
        requested=deployment.spec.version,
        resolved=choice.version.spec.version,
        version_name=choice.version.metadata.name,
        generation=deployment.metadata.generation,
    )
    return Settled(choice=choice, version=choice.version, resolution=resolution)


def _choose(
    deployment: ApplicationDeployment,
    application: Application | None,
    versions: Sequence[ApplicationVersion],
    *,
    review_required: bool,
) -> Choice:
    name = deployment.spec.application
    if application is None:
        message = f'application "{name}" does not exist; create it, or correct spec.application'
        return Choice(reason="ApplicationNotFound", message=message)
    return resolve(deployment.spec.version, name, versions, review_required=review_required)


def _newer(
    deployment: ApplicationDeployment,
    running: ApplicationVersion,
    versions: Sequence[ApplicationVersion],
    *,
    review_required: bool,
) -> str:
    name = deployment.spec.application
    choice = resolve(deployment.spec.version, name, versions, review_required=review_required)
    if choice.version is None or choice.version.spec.version == running.spec.version:
        return ""
    return choice.version.spec.version
