"""Status of applications and their versions: what there is, and whether a plugin can run it (A1, A4)."""

from typing import Final

from edge.apps.provisioning import Plugins
from edge.apps.render import Unrenderable
from edge.apps.rules import LATEST, provisioner_of, resolve, versions_of
from edge.apps.settings import AppsSettings
from edge.apps.types import Application, ApplicationStatus, ApplicationVersion
from edge.apps.webhooks import as_plugin_version
from edge_kube.meta import Condition, Model
from edge_kube.runtime import DONE, Reader, Request, Result, Writer

PLUGIN_RETRY_S: Final = 30.0
APPLICATION_LOOK_S: Final = 5.0


class ApplicationReconciler:
    def __init__(self, settings: AppsSettings, cache: Reader, client: Writer) -> None:
        del client  # status is written by the runtime
        self._settings = settings
        self._cache = cache

    async def reconcile(self, request: Request) -> Result:
        application = self._cache.get(Application, request.name)
        if application is None:
            return DONE
        versions = versions_of(request.name, self._cache.list(ApplicationVersion))
        review_required = self._settings.review.required
        choice = resolve(LATEST, request.name, versions, review_required=review_required)
        ready = Condition(
            type="Ready",
            status="True" if choice.version else "False",
            reason="VersionAvailable" if choice.version else choice.reason,
            message="" if choice.version else choice.message,
        )
        return Result(
            status=ApplicationStatus(
                phase="Active" if choice.version else "Empty",
                latest_version=choice.version.spec.version if choice.version else "",
                version_count=len(versions),
                conditions=(ready,),
            )
        )


class VersionStatus(Model):
    """The part of a version's status that this room answers for; the rest is the review's."""

    phase: str
    conditions: tuple[Condition, ...]


class VersionReconciler:
    def __init__(self, plugins: Plugins, cache: Reader, client: Writer) -> None:
        del client  # status is written by the runtime
        self._plugins = plugins
        self._cache = cache

    async def reconcile(self, request: Request) -> Result:
        version = self._cache.get(ApplicationVersion, request.name)
        if version is None:
            return DONE
        application = self._cache.get(Application, version.spec.application_ref)
        if application is None:
            name = version.spec.application_ref
            message = f'application "{name}" does not exist; create it, or correct spec.applicationRef'
            return _judged("ApplicationNotFound", message, again_in_s=APPLICATION_LOOK_S)
        try:
            violations = await self._plugins.validate(
                provisioner_of(application, version), as_plugin_version(version)
            )
        except Unrenderable as problem:
            return _judged(problem.reason, problem.message, again_in_s=PLUGIN_RETRY_S)
        if violations:
            return _judged("Refused", "; ".join(str(one) for one in violations))
        return _judged("Accepted", "")


def _judged(reason: str, message: str, again_in_s: float | None = None) -> Result:
    valid = not message
    condition = Condition(type="Ready", status="True" if valid else "False", reason=reason, message=message)
    return Result(
        status=VersionStatus(phase="Ready" if valid else "Invalid", conditions=(condition,)),
        after_s=again_in_s,
    )
