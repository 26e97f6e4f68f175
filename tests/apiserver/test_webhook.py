"""Admission end to end: a real API server calls us over TLS and shows what was refused (S3, P4, R10)."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from edge_kube.certs import ServingCertificates, renewed
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.crd import resource
from edge_kube.errors import ApiError, Invalid
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port
from edge_kube.manager import Manager, Options, WebhookOptions
from edge_kube.meta import Key, Model, ObjectMeta, Resource
from edge_kube.webhookconfig import CertificateSecret, Target, validating
from edge_sdk.room import PatchOp, Room, Violation, Webhook

NAME = "edge-controller"


class GateSpec(Model):
    mode: str = ""
    width: int = 0


@resource(group="probe.theriseunion.io", version="v1alpha1", plural="gates", scope="Cluster", status=False)
class Gate(Resource):
    spec: GateSpec = GateSpec()


def default_gate(gate: Gate) -> Sequence[PatchOp]:
    if gate.metadata.name == "crash":
        raise RuntimeError("a bug")
    if gate.spec.mode:
        return ()
    if gate.spec == GateSpec():
        return ({"op": "add", "path": "/spec", "value": {"mode": "auto"}},)
    return ({"op": "add", "path": "/spec/mode", "value": "auto"},)


def check_gate(gate: Gate, old: Gate | None) -> Sequence[Violation]:
    found: list[Violation] = []
    if gate.spec.mode not in {"auto", "manual"}:
        found.append(Violation("spec.mode", gate.spec.mode, "there is no such mode", ("auto", "manual")))
    if gate.spec.width < 0:
        found.append(Violation("spec.width", gate.spec.width, "a width is not negative", "0 or more"))
    if old is not None and old.spec.width > gate.spec.width:
        found.append(
            Violation("spec.width", gate.spec.width, "it may only grow", f"{old.spec.width} or more")
        )
    return found


ROOM = Room(name="gates", kinds=(Gate,), webhooks=(Webhook(Gate, default=default_gate, validate=check_gate),))


@pytest.fixture(scope="module", autouse=True)
def _installed(light_cluster: LightCluster) -> None:
    asyncio.run(light_cluster.install(Gate))


async def configure(client: Client) -> None:
    """What the chart ships: both configurations, without webhooks."""
    await client.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge-system"}}, manager="helm"
    )
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        manifest = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": NAME},
        }
        await client.apply(manifest, manager="helm")


@asynccontextmanager
async def serving(client: Client, cert_dir: Path) -> AsyncGenerator[Manager]:
    await configure(client)
    port = free_port()
    options = WebhookOptions(
        target=Target(url=f"https://localhost:{port}"), host="127.0.0.1", port=port, cert_dir=cert_dir
    )
    manager = Manager(client, [ROOM], Options(identity="test", elect=False, webhooks=options))
    stop = asyncio.Event()
    task = asyncio.create_task(manager.run(stop))
    try:
        await until_called(client)
        yield manager
    finally:
        stop.set()
        await task
        await unconfigure(client)


async def unconfigure(client: Client) -> None:
    """Until a dry run of what would be refused passes: the API server goes on asking for a moment."""
    for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        path = f"/apis/admissionregistration.k8s.io/v1/{plural}/{NAME}"
        async with await client.raw("DELETE", path):
            pass
    async with asyncio.timeout(60):
        while True:
            with suppress(ApiError):
                tried = await client.create(gate("trial", mode="x"), manager="test", dry_run=True)
                if tried.spec.mode == "x":
                    return
            await asyncio.sleep(0.05)


async def until_called(client: Client) -> None:
    """Until a dry run comes back defaulted: the API server takes a moment to see the configurations."""
    async with asyncio.timeout(60):
        while True:
            try:
                tried = await client.create(gate("trial"), manager="test", dry_run=True)
            except ApiError:
                tried = None
            if tried is not None and tried.spec.mode == "auto":
                try:
                    await client.create(gate("trial", mode="x"), manager="test", dry_run=True)
                except Invalid:
                    return
            await asyncio.sleep(0.1)


def gate(name: str, mode: str = "", width: int = 0) -> Gate:
    return Gate(metadata=ObjectMeta(name=name), spec=GateSpec(mode=mode, width=width))


async def test_defaults_fill_what_is_left_out_and_touch_nothing_else(client: Client, tmp_path: Path) -> None:
    async with serving(client, tmp_path):
        made = await client.create(gate("a", width=3), manager="test")
        assert (made.spec.mode, made.spec.width) == ("auto", 3)
        chosen = await client.create(gate("b", mode="manual"), manager="test")
        assert chosen.spec.mode == "manual"
        manifest = {
            "apiVersion": "probe.theriseunion.io/v1alpha1",
            "kind": "Gate",
            "metadata": {"name": "c"},
            "spec": {"width": 1},
        }
        results = [(await client.apply(manifest, manager="user")).result for _ in range(2)]
        assert results == ["created", "unchanged"]


async def test_a_refusal_names_every_field_with_value_reason_and_what_is_accepted(
    client: Client, tmp_path: Path, light_cluster: LightCluster
) -> None:
    async with serving(client, tmp_path):
        with pytest.raises(Invalid) as caught:
            await client.create(gate("bad", mode="sideways", width=-1), manager="test")
        for part in ("spec.mode", '"sideways"', "there is no such mode", "auto, manual", "spec.width", "-1"):
            assert part in caught.value.message
        assert {cause["field"] for cause in caught.value.details["causes"]} == {"spec.mode", "spec.width"}
        head = "apiVersion: probe.theriseunion.io/v1alpha1, kind: Gate"
        manifest = f"{{{head}, metadata: {{name: bad}}, spec: {{mode: up}}}}"
        # In a thread: the webhook answers on this loop.
        shown = await asyncio.to_thread(
            light_cluster.kubectl, "apply", "-f", "-", stdin=manifest, check=False
        )
        assert 'spec.mode: "up" is refused: there is no such mode; accepted: auto, manual' in shown


async def test_an_update_is_judged_with_the_old_object_at_hand(client: Client, tmp_path: Path) -> None:
    async with serving(client, tmp_path):
        await client.create(gate("shrink", width=5), manager="test")
        with pytest.raises(Invalid, match="it may only grow; accepted: 5 or more"):
            await client.merge(Gate, Key("", "shrink"), {"spec": {"width": 4}})


async def test_an_object_that_is_being_deleted_is_let_go_whatever_it_holds(
    client: Client, tmp_path: Path
) -> None:
    manifest = {
        "apiVersion": "probe.theriseunion.io/v1alpha1",
        "kind": "Gate",
        "metadata": {"name": "old", "finalizers": ["theriseunion.io/finalizer"]},
        "spec": {"mode": "of-former-times"},
    }
    await client.apply(manifest, manager="test")
    async with serving(client, tmp_path):
        await client.delete(Gate, "old")
        await client.merge(Gate, Key("", "old"), {"metadata": {"finalizers": None}})
        assert await client.find(Gate, "old") is None


async def test_a_dead_server_refuses_new_objects_but_holds_nobody_s_finalizers(client: Client) -> None:
    manifest = {
        "apiVersion": "probe.theriseunion.io/v1alpha1",
        "kind": "Gate",
        "metadata": {"name": "leaving", "finalizers": ["theriseunion.io/finalizer"]},
    }
    await client.apply(manifest, manager="test")
    await configure(client)
    secret = CertificateSecret(client, name="dead", namespace="edge-system", dns_names=["127.0.0.1"])
    ca = (await secret.ensure()).ca
    nowhere = Target(url=f"https://127.0.0.1:{free_port()}")
    kind, entries = "ValidatingWebhookConfiguration", validating(ROOM.webhooks, nowhere, ca)
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": NAME}}
    await client.apply({**head, "webhooks": entries}, manager="test")
    try:
        async with asyncio.timeout(60):
            while await admitted(client):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await client.delete(Gate, "leaving")
        await client.merge(Gate, Key("", "leaving"), {"metadata": {"finalizers": None}})
        assert await client.find(Gate, "leaving") is None
    finally:
        await unconfigure(client)


async def admitted(client: Client) -> bool:
    try:
        await client.create(gate("trial"), manager="test", dry_run=True)
    except ApiError as error:
        return "failed calling webhook" not in str(error)
    return True


async def test_an_error_of_ours_refuses_and_does_not_show_its_inside(client: Client, tmp_path: Path) -> None:
    async with serving(client, tmp_path) as manager:
        with pytest.raises(ApiError) as caught:
            await client.create(gate("crash"), manager="test")
        assert caught.value.status == 500
        assert "a bug" not in str(caught.value)
        counted = manager.metrics.webhook_requests.labels("/mutate/gates.probe.theriseunion.io", "500")
        assert counted._value.get() >= 1  # type: ignore[attr-defined]


async def test_configurations_cleared_by_hand_are_filled_again(client: Client, tmp_path: Path) -> None:
    async with serving(client, tmp_path):
        path = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{NAME}"
        async with await client.raw(
            "PATCH", path, data=b'{"webhooks": null}', content_type="application/merge-patch+json"
        ) as answer:
            assert answer.status == 200
        await until_called(client)


async def test_a_renewed_certificate_is_served_without_a_restart(client: Client, tmp_path: Path) -> None:
    async with serving(client, tmp_path) as manager:
        service = manager._webhooks  # pyright: ignore[reportPrivateUsage]
        assert service is not None
        before = await served_serial(service.port)
        secret = await client.get(Secret, "edge-controller-webhook", "edge-system")
        # An empty certificate in the Secret is what a damaged one amounts to: it is made anew.
        await client.merge(
            Secret, Key("edge-system", secret.metadata.name), {"data": {"tls.crt": "", "ca.crt": ""}}
        )
        await service._renew()  # pyright: ignore[reportPrivateUsage]
        assert await served_serial(service.port) != before
        await until_called(client)  # the new authority has reached the API server


async def served_serial(port: int) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    assert tls.version() == "TLSv1.3"
    serial = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"").serial_number
    writer.close()
    await writer.wait_closed()
    return serial


def test_certificates_are_kept_until_two_thirds_of_their_life_and_authorities_overlap() -> None:
    now = datetime.now(UTC)
    first = renewed(None, ["localhost"], now)
    assert first is not None
    assert renewed(first, ["localhost"], now + timedelta(days=200)) is None
    second = renewed(first, ["localhost"], now + timedelta(days=260))
    assert second is not None
    assert (second.ca, second.ca_key) == (first.ca, first.ca_key)
    assert second.cert != first.cert
    late = renewed(second, ["localhost"], now + timedelta(days=3400))
    assert late is not None
    assert len(x509.load_pem_x509_certificates(late.ca)) == 2
    assert late.ca.endswith(first.ca)
    assert renewed(first, ["localhost", "other"], now) is not None
    broken = ServingCertificates(b"x", b"y", b"z", b"")
    assert renewed(broken, ["localhost"], now) is not None
