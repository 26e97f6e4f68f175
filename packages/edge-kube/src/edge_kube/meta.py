"""The shape every Kubernetes object shares, and the registry from a type to its resource. No I/O.

Promises: types are frozen and may be shared between readers; decoding ignores fields a type does not name;
encoding leaves out fields that equal their default. Not promised: depth. A `Mapping` of a frozen object is
still a dict underneath; the type checker, and the mutation detector of the harness, keep it unchanged.
A decoded object must therefore never be written back whole: it lacks what its type does not name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeVar, dataclass_transform
from urllib.parse import quote

import msgspec
from msgspec import Meta

Manifest = dict[str, Any]
"""A JSON-able object with apiVersion and kind."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class ModelMeta(msgspec.StructMeta):
    """Makes every subclass of Model frozen and keyword-only, for msgspec and for the type checker alike."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        config.setdefault("kw_only", True)  # the one setting that msgspec does not inherit
        return super().__new__(mcls, name, bases, namespace, **config)


class Model(msgspec.Struct, metaclass=ModelMeta, frozen=True, omit_defaults=True, rename="camel"):
    """Base of all API types. Containers are `Mapping` and `tuple[…, ...]`.

    Names with capitals inside need `msgspec.field(name="storageURI")`; a value whose zero must be sent has
    no default or is `T | UnsetType = UNSET`.
    """


class OwnerReference(Model, gc=False):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(Model):
    """Times are RFC 3339 strings as the server sent them; "" is absent. managedFields are not read."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    deletion_grace_period_seconds: int = 0
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()


_REQUIRED: dict[str, Any] = {"required": True}


class Condition(Model, gc=False, omit_defaults=False):
    """metav1.Condition. Limits are part of the schema only: decoding accepts what older writers left.

    Every field is sent, since the API requires all but one; the runtime fills last_transition_time.
    """

    type: Annotated[
        str,
        Meta(
            description="Type of condition in CamelCase, such as Ready.",
            extra_json_schema={
                "maxLength": 316,
                "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
            },
        ),
    ]
    status: Annotated[
        str,
        Meta(description="True, False or Unknown.", extra_json_schema={"enum": ["True", "False", "Unknown"]}),
    ]
    reason: Annotated[
        str,
        Meta(
            description="Why the condition has this status, as one CamelCase word.",
            extra=_REQUIRED,
            extra_json_schema={
                "minLength": 1,
                "maxLength": 1024,
                "pattern": r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            },
        ),
    ] = ""
    message: Annotated[
        str,
        Meta(
            description="What happened, why, and what to do, for a person.",
            extra=_REQUIRED,
            extra_json_schema={"maxLength": 32768},
        ),
    ] = ""
    observed_generation: Annotated[
        int,
        Meta(
            description="metadata.generation that the condition was set for.",
            extra_json_schema={"format": "int64", "minimum": 0},
        ),
    ] = 0
    last_transition_time: Annotated[
        str,
        Meta(
            description="When the status last changed.",
            extra=_REQUIRED,
            extra_json_schema={"format": "date-time"},
        ),
    ] = ""


class LabelSelectorRequirement(Model):
    key: Annotated[str, Meta(description="Label key that the requirement is about.")]
    operator: Annotated[str, Meta(description="In, NotIn, Exists or DoesNotExist.")]
    values: Annotated[
        tuple[str, ...], Meta(description="Values for In and NotIn; empty for Exists and DoesNotExist.")
    ] = ()


class LabelSelector(Model):
    """Selects objects by their labels; all requirements must hold, an empty selector selects everything."""

    match_expressions: Annotated[
        tuple[LabelSelectorRequirement, ...], Meta(description="Requirements that must all hold.")
    ] = ()
    match_labels: Annotated[
        Mapping[str, str], Meta(description="Labels that must all be there with these values.")
    ] = {}


class Resource(Model, weakref=True):
    """An object of the API. Subclasses add spec and status and are declared with `edge_kube.crd.resource`."""

    metadata: ObjectMeta


T = TypeVar("T", bound=Resource)


class Key(NamedTuple):
    """Name of an object within its kind; namespace "" is cluster scope."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Kind:
    """Where objects of one kind live in the API."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_path(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """URL path of one object, of its subresource, or (name "") of the collection.

        A namespaced kind with namespace "" gives the collection of all namespaces. Raises ValueError where
        the path would name something else than was asked for.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self.kind} is cluster-scoped, but namespace {namespace!r} was given")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self.kind} {name!r} is namespaced, but no namespace was given")
        parts = [self.group_path]
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            if name in {".", ".."}:
                raise ValueError(f"{name!r} is no object name")
            parts.append(quote(name, safe=""))
        if sub:
            parts.append(sub)
        return "/".join(parts)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


_kinds: dict[type[Resource], Kind] = {}
_by_name: dict[tuple[str, str], Kind] = {}


def register(cls: type[Resource], kind: Kind) -> None:
    """Tie a type to its kind; done by the decorator `edge_kube.crd.resource`."""
    _kinds[cls] = kind
    _by_name[kind.api_version, kind.kind] = kind


def kind_of(cls: type[Resource]) -> Kind:
    """The kind of a type. Raises TypeError for a type that was never declared with @resource."""
    kind = _kinds.get(cls)
    if kind is None:
        raise TypeError(f"{cls.__module__}.{cls.__qualname__} is no API kind; declare it with @resource(…)")
    return kind


def known_kind(api_version: str, kind: str) -> Kind | None:
    """The kind of a declared type, by the names a manifest uses."""
    return _by_name.get((api_version, kind))


def key_of(obj: Resource) -> Key:
    return Key(obj.metadata.namespace, obj.metadata.name)


def to_manifest(obj: Resource) -> Manifest:
    """A JSON-able dict with apiVersion and kind, without fields that are at their default.

    Equal objects may give manifests that differ in a default: a string that was decoded is written although
    it equals its default. Compare and hash objects, or what the API server made of the manifest.
    """
    kind = kind_of(type(obj))
    return {"apiVersion": kind.api_version, "kind": kind.kind, **msgspec.to_builtins(obj)}


def owner_reference(owner: Resource, *, controller: bool = True) -> OwnerReference:
    """A reference to a live owner (its uid must be known), for children in its scope only."""
    kind = kind_of(type(owner))
    return OwnerReference(
        api_version=kind.api_version,
        kind=kind.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=controller,
        block_owner_deletion=True,
    )
