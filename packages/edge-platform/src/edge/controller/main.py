"""`edge-controller`: settings → clients → adapters → rooms → run until told to stop.

    edge-controller --config=/etc/edge/controller.yaml --log.level=debug

Every key of the file is a flag of the same name; `--help` lists them.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from edge.adapters.etcd_tenants import EtcdTenants
from edge.adapters.helm import Helm
from edge.adapters.member_sites import MemberSites, connect
from edge.adapters.members import MemberProbes
from edge.adapters.native_rights import HostRights
from edge.apps.settings import AppsSettings
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import Cluster
from edge.components.settings import ComponentSettings
from edge.controller.members import MemberFeed
from edge.controller.settings import (
    SECTIONS,
    AdminSettings,
    ChartSettings,
    ConcurrencySettings,
    ControllerSettings,
    LeaderElectionSettings,
    LogSettings,
    WebhookSettings,
)
from edge.iam.beats import beats_of_rights
from edge.iam.freshness import Freshness
from edge.iam.granting import Grants
from edge.iam.projection import Projection
from edge.iam.watching import PLACES, Watching
from edge.rooms import SCOPES, Adapters, RoomSettings, build_rooms
from edge_kube.client import Client
from edge_kube.clusters import ClusterPool, ClusterState
from edge_kube.config import ConfigError, Connection, in_cluster, load_kubeconfig
from edge_kube.manager import Manager, Options, WebhookOptions, stop_on_signals
from edge_kube.metrics import Metrics
from edge_kube.runtime import Reader
from edge_kube.transport import Limits
from edge_kube.webhookconfig import Target
from edge_sdk.flags import FlagError, help_text, read_flags
from edge_sdk.logs import configure_logs
from edge_sdk.settings import Settings, SettingsError, load

SERVICE = "edge-controller"
LEASE = "edge-controller-leader"
HOST_LIMITS = Limits(rate_per_s=400.0, burst=800.0)
"""The platform's own API server: ten thousand bindings are brought into native RBAC within two minutes.

They make some 22,000 native objects, and each has a status of its own.
"""
OWN_ACCOUNTS = (SERVICE, "edge-apiserver")
log = structlog.stdlib.get_logger("edge.controller")


def main(argv: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(help_text(SERVICE, SECTIONS))
        return
    try:
        flags = read_flags(arguments)
        file = flags.pop("config", "")
        settings = load(SECTIONS, file=Path(file) if file else None, environ=os.environ, flags=flags)
        connection = _connection(settings[ControllerSettings])
    except (FlagError, SettingsError, ConfigError) as error:
        sys.exit(f"{SERVICE} was not started: {error}")
    configure_logs(settings[LogSettings].level, settings[LogSettings].format)
    try:
        asyncio.run(run(connection, settings))
    except (OSError, TimeoutError) as error:
        sys.exit(f"{SERVICE} was stopped: {error}")


async def run(connection: Connection, settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises OSError for a taken port, TimeoutError when no first list comes."""
    stop = stop_on_signals()
    metrics = Metrics()
    options = _options(settings)
    async with AsyncExitStack() as stack:
        client = Client(connection, limits=HOST_LIMITS, metrics=metrics)
        stack.push_async_callback(client.close)
        charts = settings[ChartSettings]
        helm = Helm(
            client,
            executable=charts.helm,
            museum_url=charts.museum,
            builtin=charts.builtin,
            scratch=charts.scratch,
            settings=_room_settings(settings).components,
            registry=metrics.registry,
            pod=options.identity,
            namespace=options.namespace,
        )
        stack.push_async_callback(helm.close)
        probes = MemberProbes()
        stack.push_async_callback(probes.close)

        # The manager is made from the rooms, and the pool wakes the manager's loops: names bound late.
        def is_leader() -> bool:
            return manager.is_leader()

        def known() -> Reader | None:
            return manager.cache if manager.cache.synced else None

        def wake(cluster: str) -> None:
            manager.unpark(cluster)

        index = Projection()
        beats = beats_of_rights(client, SERVICE)
        stack.push_async_callback(beats.close)
        freshness = Freshness(lambda: watching.silence_s(), beats.age_s)  # noqa: PLW0108 - it is made below
        namespace = settings[ControllerSettings].namespace
        own = [f"system:serviceaccount:{namespace}:{account}" for account in OWN_ACCOUNTS]

        pool = ClusterPool(metrics=metrics, on_up=wake)
        stack.push_async_callback(pool.close)
        rooms = build_rooms(
            _room_settings(settings),
            Adapters(
                charts=helm.charts,
                releases=helm.releases,
                sources=helm.sources,
                operations=helm.operations,
                members=probes,
                stores=EtcdTenants(),
                sites=lambda watches: MemberSites(pool, watches, gate=is_leader),
                grants=Grants(index, freshness, HostRights(client), own, beats.prove),
                rights=index,
                known=known,
            ),
        )
        manager = Manager(
            client,
            rooms,
            options,
            metrics=metrics,
            member_answers=lambda cluster: pool.state(cluster) is ClusterState.UP,
        )
        watching = Watching(manager.cache, index, {cls: kind for kind, cls in SCOPES.items()})
        watching.hear(beats)
        sweeping = asyncio.create_task(watching.sweep(), name="rights-sweep")
        stack.callback(sweeping.cancel)
        connect(pool, manager.controllers)
        for kind in PLACES:
            pool.watch(kind, watching.in_member)
        manager.cache.informer(Cluster).on(MemberFeed(pool))
        log.info("controller_started", identity=options.identity, rooms=[room.name for room in rooms])
        await manager.run(stop)
        log.info("controller_stopped")


def _room_settings(settings: Settings) -> RoomSettings:
    admin = settings[AdminSettings]
    return RoomSettings(
        admin_username=admin.username,
        admin_password=admin.password if admin.password.reveal() else None,
        components=ComponentSettings(at_once=settings[ConcurrencySettings].component),
        clusters=settings[ClusterSettings],
        apps=settings[AppsSettings],
    )


def _options(settings: Settings) -> Options:
    own = settings[ControllerSettings]
    election, concurrency, webhook = (
        settings[LeaderElectionSettings],
        settings[ConcurrencySettings],
        settings[WebhookSettings],
    )
    target = Target(service=SERVICE, namespace=own.namespace)
    return Options(
        identity=own.pod or socket.gethostname(),
        namespace=election.namespace or own.namespace,
        lease=LEASE,
        elect=election.enabled,
        workers={
            "cluster": concurrency.cluster,
            "applicationdeployment": concurrency.application,
            "component": concurrency.component,
        },
        listen=(_address(own.metrics_bind_address), _address(own.health_probe_bind_address)),
        webhooks=WebhookOptions(target, port=webhook.port, cert_dir=webhook.cert_dir)
        if webhook.enabled
        else None,
        lease_s=election.lease_duration.s,
        renew_deadline_s=election.renew_deadline.s,
        retry_s=election.retry_period.s,
        pause_collector=True,
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host or "0.0.0.0", int(port)  # noqa: S104


def _connection(settings: ControllerSettings) -> Connection:
    """Raises ConfigError."""
    return load_kubeconfig(Path(settings.kubeconfig)) if settings.kubeconfig else in_cluster()


if __name__ == "__main__":
    main()
