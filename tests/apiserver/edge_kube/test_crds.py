"""Generated CRDs at a real API server: accepted, enforced, explained (section 4 of the main job, P4)."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.apiserver.edge_kube.kinds import Press, press

from edge_kube.client import Client
from edge_kube.core import CustomResourceDefinition
from edge_kube.crd import crd_of
from edge_kube.errors import Invalid
from edge_kube.harness import LightCluster
from edge_kube.meta import Key, Manifest


@pytest_asyncio.fixture
async def presses(light_cluster: LightCluster, client: Client) -> AsyncIterator[Client]:
    await light_cluster.install(Press)
    yield client
    for found in await client.list(Press):
        await client.delete(Press, found.metadata.name, found.metadata.namespace)


def manifest(name: str, **spec: object) -> Manifest:
    return {
        "apiVersion": "test.edge/v1",
        "kind": "Press",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


async def test_a_generated_crd_has_no_schema_trouble(presses: Client) -> None:
    installed = await presses.get(CustomResourceDefinition, "presses.test.edge")
    states = {condition.type: condition.status for condition in installed.status.conditions}
    assert states["Established"] == "True"
    assert states["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in states


async def test_the_server_fills_the_defaults_of_the_type(presses: Client) -> None:
    await presses.create(manifest("plain"), manager="test")
    stored = await presses.read(await presses.kind_for("test.edge/v1", "Press"), "plain", "default")
    assert stored["spec"] == {"copies": 3, "paper": "matt"}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"ink": [{"litres": 2}]}, "spec.ink[0].colour"),
        ({"ink": [{"colour": "a colour with a very long name"}]}, "spec.ink[0].colour"),
        ({"ink": [{"colour": "red", "litres": 101}]}, "spec.ink[0].litres"),
        ({"copies": "three"}, "spec.copies"),
        ({"copies": 2**40}, "spec.copies"),
        ({"notBefore": "tomorrow"}, "spec.notBefore"),
        ({"seal": "not base64!"}, "spec.seal"),
        ({"paper": "wall"}, "spec.paper"),
        ({"copies": 1000}, "spec.copies must be below 1000"),
    ],
)
async def test_what_breaks_the_type_is_refused_with_its_field(
    presses: Client, spec: dict[str, object], path: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await presses.create(manifest("wrong", **spec), manager="test")
    assert path in refused.value.message


async def test_free_form_fields_keep_everything_and_others_nothing_unknown(presses: Client) -> None:
    extra = {"a": None, "b": [{"c": 1.5}]}
    made = await presses.create(manifest("free", extra=extra, unknown="x"), manager="test")
    assert made["spec"]["extra"] == extra
    assert "unknown" not in made["spec"]
    assert (await presses.get(Press, "free", "default")).spec.extra == extra


async def test_status_is_a_door_of_its_own_and_conditions_merge_by_type(presses: Client) -> None:
    await presses.create(press("daily"), manager="test")

    def condition(type_: str) -> dict[str, str]:
        time = "2026-01-01T00:00:00Z"
        return {"type": type_, "status": "True", "reason": "Done", "message": "", "lastTransitionTime": time}

    for manager, type_ in (("one", "Ready"), ("two", "Printed")):
        body = manifest("daily") | {"status": {"conditions": [condition(type_)]}}
        del body["spec"]
        await presses.apply(body, manager=manager, sub="status")
    await presses.merge(Press, Key("default", "daily"), {"status": {"printed": 7}})  # not through that door
    found = await presses.get(Press, "daily", "default")
    assert {each.type for each in found.status.conditions} == {"Ready", "Printed"}
    assert found.status.printed == 0


async def test_kubectl_knows_columns_short_names_and_categories(
    presses: Client, light_cluster: LightCluster
) -> None:
    await presses.create(press("daily", title="News"), manager="test")
    table = await asyncio.to_thread(light_cluster.kubectl, "get", "prs")
    assert table.split() == ["NAME", "COPIES", "TITLE", "daily", "3", "News"]
    assert "daily" in await asyncio.to_thread(light_cluster.kubectl, "get", "edge-test")


async def test_kubectl_explains_fields_in_words(presses: Client, light_cluster: LightCluster) -> None:
    ends_at = time.monotonic() + 60
    while True:  # the server publishes the description of new kinds some seconds later
        try:
            said = await asyncio.to_thread(light_cluster.kubectl, "explain", "press.spec.ink", "--recursive")
            break
        except subprocess.CalledProcessError:
            assert time.monotonic() < ends_at, "kubectl explain does not know the kind"
            await asyncio.sleep(0.5)
    assert "What the press prints with." in said
    assert "colour\t<string> -required-" in said
    title = await asyncio.to_thread(light_cluster.kubectl, "explain", "press.spec.title")
    assert "What is printed on the first page." in title


async def test_applying_the_same_crd_again_changes_nothing(presses: Client) -> None:
    assert (await presses.apply(crd_of(Press), manager="edge-harness")).result == "unchanged"


async def test_what_was_decoded_is_what_was_written(presses: Client) -> None:
    wanted = press("round", title="News", ink=(), labels={"a": "b"}, not_before="2026-01-01T00:00:00Z")
    made = await presses.create(wanted, manager="test")
    assert made.spec == wanted.spec
