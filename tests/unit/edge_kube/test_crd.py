"""Types to schemas, without a server: determinism and refusals."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import UNSET, Meta, UnsetType

from edge_kube.core import Namespace
from edge_kube.crd import PRESERVE, AnyMap, IntOrString, crd_of, resource
from edge_kube.errors import NotFound
from edge_kube.meta import Kind, Manifest, Model, ObjectMeta, Resource, kind_of, to_manifest


class Known(Model):
    name: str = ""


def declare(**fields: Any) -> type[Resource]:
    spec = type("Spec", (Model,), {"__annotations__": fields, "__module__": __name__})
    space = {"__annotations__": {"spec": spec}, "__module__": __name__}
    cls: type[Resource] = type("Thing", (Resource,), space)
    return resource(group="test.edge", version="v1", plural="things", scope="Cluster")(cls)


def spec_of(**fields: Any) -> Manifest:
    version: Manifest = crd_of(declare(**fields))["spec"]["versions"][0]
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        (int | UnsetType, {"type": "integer"}),
        (str | None, {"type": "string", "nullable": True}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (IntOrString, {"x-kubernetes-int-or-string": True}),
        (AnyMap, {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        (Any, {"x-kubernetes-preserve-unknown-fields": True}),
        (frozenset[str], {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (bytes, {"type": "string", "format": "byte"}),
        (Annotated[int, Meta(gt=0)], {"type": "integer", "minimum": 0, "exclusiveMinimum": True}),
        (
            Annotated[Known, PRESERVE],
            {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "x-kubernetes-preserve-unknown-fields": True,
            },
        ),
    ],
)
def test_a_type_becomes_the_schema_that_means_the_same(type_: Any, schema: Manifest) -> None:
    assert spec_of(field=type_) == {
        "type": "object",
        "properties": {"field": schema},
        "required": ["field"],
    }


@pytest.mark.parametrize("type_", [int | str, dict[int, str], Literal["a", 1], complex])
def test_what_a_schema_cannot_say_is_refused_with_the_field(type_: Any) -> None:
    with pytest.raises(TypeError, match=r"Thing\.spec\.field"):
        crd_of(declare(field=type_))


def test_a_field_with_a_default_can_be_required_all_the_same() -> None:
    class Spec(Model):
        enabled: Annotated[bool, Meta(extra={"required": True})] = True
        count: int | UnsetType = UNSET

    @resource(group="test.edge", version="v1", plural="things", scope="Cluster")
    class Thing(Resource):
        spec: Spec = Spec()

    schema = crd_of(Thing)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert schema["required"] == ["enabled"]
    assert schema["properties"] == {
        "enabled": {"type": "boolean", "default": True},
        "count": {"type": "integer"},
    }


def test_an_undeclared_type_is_no_kind() -> None:
    class Loose(Resource):
        pass

    with pytest.raises(TypeError, match="declare it"):
        kind_of(Loose)


def test_paths_name_what_was_asked_for_and_nothing_else() -> None:
    pods = Kind("", "v1", "Pod", "pods", True)
    assert pods.path() == "/api/v1/pods"
    assert pods.path("n", "p", "log") == "/api/v1/namespaces/n/pods/p/log"
    assert kind_of(Namespace).path("", "a/b?c") == "/api/v1/namespaces/a%2Fb%3Fc"
    for namespace, name in (("", "p"), ("n", "..")):
        with pytest.raises(ValueError, match=r"namespace|name"):
            pods.path(namespace, name)
    with pytest.raises(ValueError, match="cluster-scoped"):
        kind_of(Namespace).path("n", "x")


def test_models_are_frozen_and_take_keywords_only() -> None:
    meta = ObjectMeta(name="a")
    with pytest.raises(AttributeError):
        meta.name = "b"  # type: ignore[misc]
    with pytest.raises(TypeError):
        ObjectMeta("a")  # type: ignore[misc]


def test_a_manifest_has_no_field_that_was_not_set() -> None:
    manifest = to_manifest(Namespace(metadata=ObjectMeta(name="a")))
    assert manifest == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    assert msgspec.json.encode(manifest)


def test_an_error_says_its_message_and_its_code() -> None:
    assert str(NotFound(404, "NotFound", "there is no press")) == "there is no press (404 NotFound)"
