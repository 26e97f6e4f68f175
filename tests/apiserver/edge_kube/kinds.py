"""A kind and a room of the tests' own, so that they depend on no room of the platform."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, field

from edge_kube.core import ConfigMap
from edge_kube.crd import AnyMap, Byte, Column, DateTime, Int32, Int64, Rule, resource
from edge_kube.meta import Condition, Model, ObjectMeta, Resource, owner_reference
from edge_kube.runtime import DONE, Reader, Request, Result, Watch, Writer
from edge_sdk.room import Loop, Room


class Ink(Model):
    """What the press prints with."""

    colour: Annotated[str, Meta(description="Name of the colour.", max_length=16)]
    litres: Annotated[int, Meta(ge=0, le=100)] = 1


class PressSpec(Model):
    title: Annotated[str, Meta(description="What is printed on the first page.")] = ""
    copies: Int32 = 3
    ink: tuple[Ink, ...] = ()
    labels: Mapping[str, str] = {}
    extra: Annotated[AnyMap, Meta(description="Kept as it is.")] = field(default_factory=dict[str, Any])
    seal: Byte = ""
    not_before: DateTime = ""
    paper: Annotated[str, Meta(extra_json_schema={"enum": ["matt", "glossy"]})] = "matt"


class PressStatus(Model):
    printed: Int64 = 0
    conditions: tuple[Condition, ...] = ()


@resource(
    group="test.edge",
    version="v1",
    plural="presses",
    scope="Namespaced",
    short_names=("prs",),
    categories=("edge-test",),
    columns=(Column("Copies", ".spec.copies", type="integer"), Column("Title", ".spec.title")),
    rules=(Rule("!has(self.spec) || self.spec.copies < 1000", "spec.copies must be below 1000"),),
)
class Press(Resource):
    """A machine that prints."""

    spec: PressSpec = PressSpec()
    status: PressStatus = PressStatus()


def press(name: str, namespace: str = "default", **spec: object) -> Press:
    return Press(metadata=ObjectMeta(name=name, namespace=namespace), spec=PressSpec(**spec))  # type: ignore[arg-type]


class PressReconciler:
    """Keeps a ConfigMap with the title beside each press."""

    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        found = self._cache.get(Press, request.name, request.namespace)
        if found is None:
            return DONE
        page = ConfigMap(
            metadata=ObjectMeta(
                name=f"{request.name}-page",
                namespace=request.namespace,
                owner_references=(owner_reference(found),),
            ),
            data={"title": found.spec.title},
        )
        await self._client.apply(page, manager="edge-press")
        printed = Condition(type="Printed", status="True", reason="Done")
        return Result(status=PressStatus(printed=found.spec.copies, conditions=(printed,)))


def presses_of(page: ConfigMap) -> Sequence[Request]:
    return [
        Request(owner.name, page.metadata.namespace)
        for owner in page.metadata.owner_references
        if owner.kind == "Press"
    ]


def press_room() -> Room:
    return Room(
        name="press",
        kinds=(Press,),
        loops=(Loop(Press, PressReconciler, watches=(Watch(ConfigMap, presses_of),)),),
    )
