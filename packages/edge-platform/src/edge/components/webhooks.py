"""Admission of Components: what can be said of one object alone. Longer cycles are told in conditions."""

import re
from collections.abc import Iterator

from edge.components.durations import is_duration
from edge.components.effective import RELEASE_NAME_MAX, canonical_json, chart_name, release_of
from edge.components.types import BUILTIN_REPOSITORY, Component
from edge.iam.escalation import Lack, installation_lacks
from edge.iam.index import Index, Who
from edge.iam.scope import HOST
from edge_kube.meta import Key
from edge_sdk.problem import Violation
from edge_sdk.semver import BadVersion, parse_range

_DNS_LABELS = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_NAMESPACE = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_CHART = re.compile(r"^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$")
VALUES_MAX_BYTES = 512 * 1024
_RANGES = "a version such as 1.2.3, or a range such as ^1.2, ~2.0, 1.x or >=1 <3"


def validate(new: Component, old: Component | None) -> list[Violation]:
    """An object that is being deleted is let through: its finalizer must come off whatever its spec says."""
    return [] if new.metadata.deletion_timestamp else [*_release(new, old), *_chart(new), *_dependencies(new)]


def component_author_lacks(index: Index, who: Who, new: Component, old: Component | None) -> Iterator[Lack]:
    """What a right to everything in one namespace must not give: the whole cluster, by a chart."""
    if old is not None and old.spec == new.spec:
        return
    verb = "create" if old is None else "update"
    for cluster in sorted({one.spec.target_cluster or HOST for one in (new, old) if one is not None}):
        yield from installation_lacks(index, who, verb, cluster)


def _release(new: Component, old: Component | None) -> Iterator[Violation]:
    release = release_of(new)
    field = "spec.chart.releaseName" if new.spec.chart.release_name else "metadata.name"
    if len(release.name) > RELEASE_NAME_MAX or not _DNS_LABELS.match(release.name):
        yield Violation(
            field,
            release.name,
            f"it names the Helm release, which has {len(release.name)} characters here",
            f"at most {RELEASE_NAME_MAX} lower-case letters, digits, - and .; set spec.chart.releaseName",
        )
    if not _NAMESPACE.match(release.namespace):
        yield Violation("spec.chart.namespace", release.namespace, "it is no namespace", "a DNS label")
    if new.spec.target_cluster and not _DNS_LABELS.match(new.spec.target_cluster):
        yield Violation(
            "spec.targetCluster", new.spec.target_cluster, "it names no Cluster", "the name of a Cluster"
        )
    if not is_duration(new.spec.timeout):
        yield Violation("spec.timeout", new.spec.timeout, "it is no duration", "for example 300s or 5m")
    installed = old is not None and bool(old.status.observed_hash)
    if old is not None and installed and new.spec.enabled and release_of(old) != release:
        yield Violation(
            "spec.chart",
            str(release),
            f"release {release_of(old)} is installed and would be left behind",
            "the same releaseName, namespace and targetCluster; disable the Component first to move it",
        )


def _chart(new: Component) -> Iterator[Violation]:
    spec = new.spec
    if not _CHART.match(chart_name(new)):
        yield Violation(
            "spec.chart.name", chart_name(new), "it is no chart's name", "letters, digits, - . and _"
        )
    repository = spec.chart.repository
    if repository and repository != BUILTIN_REPOSITORY and not repository.startswith(("http://", "https://")):
        yield Violation(
            "spec.chart.repository",
            repository,
            "charts are fetched by HTTP",
            f"http://… or https://…, {BUILTIN_REPOSITORY}, or nothing for the cluster's museum",
        )
    if (why := _bad_range(spec.version)) is not None:
        yield Violation("spec.version", spec.version, why, _RANGES)
    size = len(canonical_json(spec.values))
    if size > VALUES_MAX_BYTES:
        yield Violation(
            "spec.values",
            f"{size} bytes",
            "values this large do not fit into a release's Secret",
            f"at most {VALUES_MAX_BYTES} bytes",
        )


def _dependencies(new: Component) -> Iterator[Violation]:
    own, seen = Key(new.metadata.namespace, new.metadata.name), set[Key]()
    for index, need in enumerate(new.spec.dependencies):
        field = f"spec.dependencies[{index}]"
        key = Key(need.namespace or own.namespace, need.name)
        if key == own:
            yield Violation(
                f"{field}.name",
                need.name,
                f"{own.name} → {own.name}: it would need itself",
                "another Component",
            )
        if key in seen:
            yield Violation(f"{field}.name", need.name, "it is named twice", "each Component once")
        seen.add(key)
        if (why := _bad_range(need.version)) is not None:
            yield Violation(f"{field}.version", need.version, why, _RANGES)


def _bad_range(text: str) -> str | None:
    try:
        parse_range(text)
    except BadVersion:
        return "it is neither a version nor a range"
    return None
