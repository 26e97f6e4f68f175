"""Admission of the application store's kinds: what can be judged from the object alone (A1, A3, A5).

What depends on other objects (a version that is absent or withdrawn, an unknown node group, an override of
a workload that the version has not) is told by conditions: files are applied in any order.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec import UNSET

from edge.apps.rules import LATEST, review_phase
from edge.apps.types import (
    Application,
    ApplicationDeployment,
    ApplicationVersion,
    ApplicationVersionSpec,
    Topology,
    WorkloadOverrideItem,
)
from edge_sdk import semver
from edge_sdk.plugins import Registry
from edge_sdk.problem import Violation
from edge_sdk.provisioner import Version
from edge_sdk.scopes import PROVISIONER_LABEL
from edge_sdk.selectors import OPERATORS

NAME_LIMIT: Final = 63
OPEN_PHASES: Final = ("draft", "rejected")
VERSION_EXAMPLES: Final = ("latest", "v1.2.0", "^1.2", "~2.0", "1.x", ">=1 <3")
CONFIGS: Final = ("workloadConfig", "helmConfig", "modelConfig", "config")


def check_application(new: Application, old: Application | None) -> list[Violation]:
    """The provisioner decides what the versions mean, so it cannot change under them."""
    if old is None:
        return []
    was = old.metadata.labels.get(PROVISIONER_LABEL, "")
    now = new.metadata.labels.get(PROVISIONER_LABEL, "")
    if not was or was == now:
        return []
    field = f"metadata.labels[{PROVISIONER_LABEL}]"
    return [Violation(field, now, "an application's provisioner cannot be changed", was)]


def version_check(
    plugins: Registry,
) -> Callable[[ApplicationVersion, ApplicationVersion | None], list[Violation]]:
    """The check of ApplicationVersions; a plugin that is loaded judges the settings it is meant for."""

    def check(new: ApplicationVersion, old: ApplicationVersion | None) -> list[Violation]:
        if old is not None and old.spec == new.spec:
            return []
        return [*_frozen(new, old), *_version_text(new.spec), *_configs(new.spec), *_judged(plugins, new)]

    return check


def check_deployment(new: ApplicationDeployment, old: ApplicationDeployment | None) -> list[Violation]:
    """An unchanged spec is never judged anew: an older object must keep taking labels and finalizers."""
    if old is not None and old.spec == new.spec:
        return []
    found: list[Violation] = []
    if len(new.metadata.name) > NAME_LIMIT:
        rule = f"at most {NAME_LIMIT} characters: it becomes a label"
        found.append(Violation("metadata.name", new.metadata.name, "is too long", rule))
    if not new.spec.application:
        found.append(Violation("spec.application", "", "is required", "the name of an Application"))
    if problem := version_problem(new.spec.version):
        found.append(Violation("spec.version", new.spec.version, problem, VERSION_EXAMPLES))
    seen: dict[bytes, int] = {}
    for index, topology in enumerate(new.spec.topologies):
        path = f"spec.topologies[{index}]"
        text = msgspec.json.encode(msgspec.structs.replace(topology, workload_override=UNSET))
        if text in seen:
            why = f"names the same place as spec.topologies[{seen[text]}]"
            found.append(Violation(path, _place(topology), why, "one topology for a place"))
        seen.setdefault(text, index)
        found += _topology(topology, path)
    return found


def version_problem(text: str) -> str:
    """Why spec.version says nothing; "" when it does."""
    if not text:
        return "is required"
    if text == LATEST:
        return ""
    try:
        semver.parse_range(text)
    except semver.BadVersion as error:
        return str(error)
    return ""


def _topology(topology: Topology, path: str) -> Iterator[Violation]:
    selector = topology.cluster_selector
    if selector is not UNSET:
        if topology.cluster:
            why = "is given beside cluster"
            yield Violation(f"{path}.clusterSelector", topology.cluster, why, "cluster or clusterSelector")
        if topology.node_group:
            why = "a node group belongs to one cluster"
            yield Violation(f"{path}.clusterSelector", topology.node_group, why, "no nodeGroup beside it")
        if not selector.match_labels and not selector.match_expressions:
            yield Violation(f"{path}.clusterSelector", "{}", "selects nothing", "at least one label")
        for index, one in enumerate(selector.match_expressions):
            if one.operator not in OPERATORS:
                where = f"{path}.clusterSelector.matchExpressions[{index}].operator"
                yield Violation(where, one.operator, "no operator", OPERATORS)
    override = topology.workload_override
    if override is not UNSET:
        where = f"{path}.workloadOverride"
        yield from _override(override.deployments, f"{where}.deployments")
        yield from _override(override.stateful_sets, f"{where}.statefulSets")
        yield from _override(override.daemon_sets, f"{where}.daemonSets")


def _override(items: tuple[WorkloadOverrideItem, ...], path: str) -> Iterator[Violation]:
    for name, count in Counter(item.name for item in items).items():
        if count > 1:
            yield Violation(path, name, f"is overridden {count} times", "one entry for a workload")
    for item in items:
        replicas = item.spec.replicas
        if replicas is not UNSET and replicas < 0:
            yield Violation(f"{path}[{item.name}].spec.replicas", replicas, "is negative", "0 or more")


def _frozen(new: ApplicationVersion, old: ApplicationVersion | None) -> Iterator[Violation]:
    """What was reviewed is what is deployed: from submission on the spec stays (A3)."""
    if old is None or old.spec == new.spec or review_phase(old) in OPEN_PHASES:
        return
    why = f"the version is {review_phase(old)}, and what was submitted for review cannot change"
    yield Violation("spec", new.spec.version, why, "a new ApplicationVersion")


def _version_text(spec: ApplicationVersionSpec) -> Iterator[Violation]:
    if not spec.application_ref:
        yield Violation("spec.applicationRef", "", "is required", "the name of an Application")
    try:
        semver.parse(spec.version)
    except semver.BadVersion as error:
        yield Violation("spec.version", spec.version, str(error), ("v1.0.0", "1.2.3-rc.1"))


def _configs(spec: ApplicationVersionSpec) -> Iterator[Violation]:
    given = [spec.workload_config is not UNSET, spec.helm_config is not UNSET, spec.model_config is not UNSET]
    given.append(bool(spec.config))
    if sum(given) > 1:
        names = [name for name, there in zip(CONFIGS, given, strict=True) if there]
        why = "a version is for one provisioner"
        yield Violation("spec", " and ".join(names), why, f"one of {', '.join(CONFIGS)}")


def _judged(plugins: Registry, version: ApplicationVersion) -> Iterator[Violation]:
    """By the plugin that the version's own label or settings name; others judge when it is deployed."""
    name = version.metadata.labels.get(PROVISIONER_LABEL, "")
    if not name and version.spec.workload_config is not UNSET:
        name = "workload"
    plugin = plugins.get(name)
    if plugin is not None:
        yield from plugin.validate(as_plugin_version(version))


def as_plugin_version(version: ApplicationVersion) -> Version:
    return Version(
        application=version.spec.application_ref,
        version=version.spec.version,
        name=version.metadata.name,
        spec=msgspec.to_builtins(version.spec),
    )


def _place(topology: Topology) -> str:
    return " ".join(filter(None, (topology.cluster, topology.node_group, topology.node_name))) or "host"
