"""An idle controller asks the API server for nothing but its Lease and its watches (P3; invariant Q0)."""

import asyncio
import time
from collections import Counter
from pathlib import Path

from aiohttp import web

from edge_kube.client import Client
from edge_kube.core import ConfigMap
from edge_kube.crd import resource
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port
from edge_kube.harness.proxy import FaultProxy
from edge_kube.manager import Manager, Options, WebhookOptions
from edge_kube.meta import Condition, Model, ObjectMeta, Resource
from edge_kube.reconcile import DONE, Reader, Request, Result, Watch, Writer
from edge_kube.runtime import ensure_finalizer
from edge_kube.webhookconfig import Target
from edge_sdk.room import Loop, Room, Webhook

OBJECTS = 200
IDLE_S = 38.0
RESYNC_S = 10.0
RETRY_S = 2.0


class IdlerStatus(Model):
    phase: str = ""
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


@resource(group="probe.theriseunion.io", version="v1alpha1", plural="idlers", scope="Namespaced")
class Idler(Resource):
    status: IdlerStatus = IdlerStatus()


class IdlerReconciler:
    """Does on each run all that a reconciler does: a finalizer, a child, a status."""

    runs = 0

    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        IdlerReconciler.runs += 1
        idler = self._cache.get(Idler, request.name, request.namespace)
        if idler is None:
            return DONE
        await ensure_finalizer(self._client, idler, "theriseunion.io/finalizer")
        meta = ObjectMeta(name=request.name, namespace=request.namespace)
        await self._client.apply(ConfigMap(metadata=meta, data={"of": request.name}), manager="edge-idle")
        ready = Condition(type="Ready", status="True", reason="InPlace", message="nothing to do")
        return Result(status=IdlerStatus(phase="Ready", conditions=(ready,)))


def idler_of(config: ConfigMap) -> list[Request]:
    return [Request(config.metadata.name, config.metadata.namespace)]


def room() -> Room:
    loop = Loop(Idler, IdlerReconciler, watches=(Watch(ConfigMap, idler_of),), resync_s=RESYNC_S, workers=5)
    hook = Webhook(Idler, default=lambda idler: (), validate=lambda idler, old: ())
    return Room(name="idle", kinds=(Idler,), loops=(loop,), webhooks=(hook,))


class CountingProxy(FaultProxy):
    """Counts requests as "METHOD resource", watches apart."""

    seen: Counter[str]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        watch = request.query.get("watch") in {"1", "true"}
        place = request.path.split("/namespaces/")[-1].split("/", 1)[-1].split("/")[0]
        self.seen["WATCH" if watch else f"{request.method} {place}"] += 1
        return await super()._handle(request)


async def test_idling_costs_nothing_but_the_lease_and_the_watches(
    light_cluster: LightCluster, client: Client, tmp_path: Path
) -> None:
    await light_cluster.install(Idler)
    for name in ("idle", "edge-system"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await client.apply(namespace, manager="test")
    for number in range(OBJECTS):
        idler = Idler(metadata=ObjectMeta(name=f"i{number}", namespace="idle"))
        await client.create(idler, manager="test")
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind}
        await client.apply({**head, "metadata": {"name": "edge-idle"}}, manager="helm")
    port = free_port()
    async with CountingProxy(light_cluster.connection) as proxy:
        proxy.seen = Counter()
        async with Client(proxy.connection) as proxied:
            hooks = WebhookOptions(
                target=Target(url=f"https://127.0.0.1:{port}"),
                host="127.0.0.1",
                port=port,
                cert_dir=tmp_path,
                secret="idle-webhook",
                configuration="edge-idle",
            )
            options = Options(
                identity="idle-0",
                lease="idle",
                webhooks=hooks,
                retry_s=RETRY_S,
                lease_s=60.0,  # the lead is not lost here, however long a busy machine gives us no turn
                renew_deadline_s=30.0,
                grace_s=20.0,
            )
            manager = Manager(proxied, [room()], options)
            stop = asyncio.Event()
            running = asyncio.create_task(manager.run(stop))
            try:
                await _settled(manager)
                proxy.seen.clear()
                before, began = IdlerReconciler.runs, time.monotonic()
                await asyncio.sleep(IDLE_S)
                async with asyncio.timeout(120):  # it does look at every object, again and again
                    while IdlerReconciler.runs < before + 2 * OBJECTS:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
                seen, took_s = Counter(proxy.seen), time.monotonic() - began
            finally:
                stop.set()
                await running
                for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
                    path = f"/apis/admissionregistration.k8s.io/v1/{plural}/edge-idle"
                    async with await client.raw("DELETE", path):
                        pass
    renewals = seen.pop("PATCH leases", 0)
    assert 3 <= renewals <= took_s / RETRY_S + 2
    assert seen == Counter()  # no write, no read, and no watch had to be opened anew


async def _settled(manager: Manager) -> None:
    """Until all objects are as wanted and nothing is in hand."""

    def done() -> bool:
        synced = manager.cache.synced and manager.is_leader()
        return synced and all(idler.status.phase == "Ready" for idler in manager.cache.list(Idler))

    async with asyncio.timeout(60):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
