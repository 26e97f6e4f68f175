"""The gateway as one process: connect, mirror, listen, and stop without losing a request."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any, Final

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from edge.apiserver.access_routes import AccessRoutes
from edge.apiserver.account import Account
from edge.apiserver.audit_key import find_audit_key
from edge.apiserver.audit_request import Describer
from edge.apiserver.audit_routes import AuditRoutes
from edge.apiserver.audit_setup import Kept, keep_trail
from edge.apiserver.auditing import Auditor
from edge.apiserver.authzmeasures import AuthzCollector
from edge.apiserver.entrances import Entrances
from edge.apiserver.federation.accounts import ServiceAccounts
from edge.apiserver.federation.linking import Linking, Prefixes
from edge.apiserver.federation.oidc_routes import OidcSignIn, Routes
from edge.apiserver.federation.outside import outside_users
from edge.apiserver.federation.provider import Provider
from edge.apiserver.gateway import Gateway
from edge.apiserver.identity import Authenticator, People
from edge.apiserver.keys import SigningKeys
from edge.apiserver.kinds import SERVED, collection_of
from edge.apiserver.kubeconfig_routes import KubeconfigRoutes
from edge.apiserver.kubeconfigs import Kubeconfigs
from edge.apiserver.limits import Gate, Limiter
from edge.apiserver.listening.clientcerts import ClientCertificates
from edge.apiserver.listening.connection import HttpServer
from edge.apiserver.listening.doors import Doors
from edge.apiserver.listening.fairness import FairQueue
from edge.apiserver.listening.replicas import Replicas
from edge.apiserver.lockouts import Lockouts
from edge.apiserver.loginrecords import LoginRecords
from edge.apiserver.measures import Measures
from edge.apiserver.members import Members
from edge.apiserver.memberscopes import MemberScopes
from edge.apiserver.mirror import Mirror
from edge.apiserver.oauth.setup import OAuth
from edge.apiserver.openapi.operation import Described
from edge.apiserver.openapi.operations import own_operations
from edge.apiserver.openapi.routes import DocumentRoutes
from edge.apiserver.reverse.routes import ReverseRoutes
from edge.apiserver.reviewlistener import ReviewListener
from edge.apiserver.reviews import Reviewer, own_name
from edge.apiserver.rights import Rights
from edge.apiserver.routes import OwnRoute, Router
from edge.apiserver.rows.cursors import Cursors
from edge.apiserver.rows.live import LiveRows
from edge.apiserver.rows.routes import RowRoutes
from edge.apiserver.rows.spread import Spread
from edge.apiserver.rows.upstream import Lists
from edge.apiserver.sessions.oauth_routes import OAuthRoutes
from edge.apiserver.sessions.routes import SessionRoutes
from edge.apiserver.sessions.store import Lives, Sessions
from edge.apiserver.settings import ALWAYS_ALLOW, GatewaySettings, WebhookSettings
from edge.apiserver.settling import Settler
from edge.apiserver.signin import SignIn
from edge.apiserver.store import Collection, Listener
from edge.apiserver.streams import Streams
from edge.apiserver.system import System
from edge.apiserver.tls import ClientCa, ServerTls
from edge.apiserver.upstream import Upstream
from edge.apiserver.watching.desk import World
from edge.apiserver.watching.routes import WatchRoutes
from edge.apiserver.watching.sight import Eyes
from edge.apiserver.watching.upstreams import Upstreams
from edge.apiserver.watching.views import Views
from edge.audit.trail import Trail
from edge.clusters.types import Cluster
from edge.iam.tokens import Tokens
from edge.iam.types import LoginRecord, User
from edge.operate.types import ReverseProxy
from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.errors import KubeError
from edge_kube.meta import Key, Resource, kind_of
from edge_sdk.clock import Clock, SystemClock

SERVICE: Final = "edge-apiserver"
SHORT_ENDS_WITHIN_S: Final = 30.0
TLS_CLOSES_WITHIN_S: Final = 0.2  # connections cut in mid-stream say goodbye on the wire first

log = structlog.stdlib.get_logger("edge.apiserver")


class ApiServer:
    """Build, `start`, `stop`. Ports of 0 are chosen by the system; `addresses` tells which, https last."""

    def __init__(self, connection: Connection, settings: GatewaySettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._client = Client(connection)
        self._host = Upstream(connection)
        self._people = People()
        self._members = Members(
            loopback_allowed=settings.server.loopback_members,
            seats=settings.server.max_per_member,
            slow_s=settings.request_timeout_s * 0.8,
        )
        self._mirrors: list[Mirror] = []
        self._registry = CollectorRegistry()
        self._short = Gate(settings.server.max_concurrent_requests, "requests")
        self._streams = Gate(settings.server.max_streams, "streams")
        self._measures = Measures(
            self._registry, lambda: self._short.inflight, lambda: self._streams.inflight
        )
        self.tls = ServerTls(
            self._client,
            settings.server.namespace,
            given=settings.server.tls.secret_name,
            names=settings.server.tls.names,
            client_ca=ClientCa(settings.server.tls.client_ca_file, settings.server.tls.client_ca_secret),
        )
        self._doors = Doors(settings.server.cors.allowed_origins, settings.trusted_networks)
        self._limiter = self._make_limiter()
        self.replicas = Replicas(
            self._client, settings.server.namespace, SERVICE, changed=self._replicas_changed
        )
        self._open_streams = Streams()
        self._rights = Rights(
            self._client,
            cache_size=settings.authorization.cache_size,
            streams=self._open_streams,
            silence_s=self._silence_s,
            allow_all=settings.authorization.mode == ALWAYS_ALLOW,
        )
        AuthzCollector(
            self._registry,
            self._rights.checks,
            state=self._rights.freshness.state,
            identities=lambda: self._rights.index.remembered,
            ages_s=lambda: {one.collection.served.resource: one.silence_s() for one in self._mirrors},
            drops=self._rights.drops,
            drift=lambda: sum(mirror.drift for mirror in self._mirrors),
            mode=settings.authorization.mode,
        )
        self._member_scopes = MemberScopes(self._members, self._rights)
        self.kubeconfigs = Kubeconfigs(
            self._client,
            settings.server.namespace,
            self._open_streams.look,
            clock=self._clock,
            relist_s=settings.authorization.cache_ttl.s,
        )
        jwt = settings.authentication.jwt
        self.keys = SigningKeys(
            self._client,
            settings.server.namespace,
            jwt.secret,
            clock=self._clock,
            keep_s=max(jwt.expire.s, settings.kubeconfig.max_ttl.s),
            relist_s=settings.authorization.cache_ttl.s,
        )
        of = settings.authentication.session
        self._tokens = Tokens(self.keys.ring, issuer=jwt.issuer, lifetime_s=jwt.expire.s)
        self.sessions = Sessions(
            self._client,
            settings.server.namespace,
            tokens=self._tokens,
            people=self._people,
            look=self._open_streams.look,
            clock=self._clock,
            lives=Lives(idle_s=of.idle.s, longest_s=of.longest.s, per_user=of.per_user),
            relist_s=settings.authorization.cache_ttl.s,
        )
        self.lockouts = Lockouts(
            settings.authentication.lockout.rules,
            lambda: self._tokens.ring.mark_key,
            self._clock,
            lambda: filter(self._rights.is_admin, tuple(self._rights.index.users)),
        )
        accounts = settings.authentication.service_accounts
        self.accounts = ServiceAccounts(
            self._client,
            audience=accounts.audience,
            is_admin=self._rights.is_admin,
            streams=self._open_streams,
            clock=self._clock,
        )
        self._authenticator = Authenticator(
            self._tokens,
            self._people,
            self._rights.is_admin,
            self.kubeconfigs.check,
            self.sessions,
            self.accounts if accounts.enabled else None,
        )
        self.oauth = OAuth(self._client, settings, self._people, self.sessions, self._clock)
        self.reverse = ReverseRoutes(settings, self._rights, self._clock, self._open_streams.look_at_all)
        self._collections: dict[tuple[str, str], Collection] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._kubernetes_version = ""
        self._runner: web.ServerRunner | None = None
        self.reviews: ReviewListener | None = None
        """The authorization webhook, where it is switched on."""
        self._system: System | None = None
        self._sign_in: SignIn | None = None
        self._auditor: Auditor | None = None
        self._kept: Kept | None = None
        self._upstreams = Upstreams(self._client, self._members, self._clock)
        self._watching: WatchRoutes | None = None
        self._provider: Provider | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [(host, port) for host, port, *_ in (self._runner.addresses if self._runner else ())]

    @property
    def streams_open(self) -> int:
        """Watches, logs and shells in hand."""
        return self._streams.inflight

    async def start(self) -> None:
        """Raises KubeError when the API server does not answer, OSError when a port is taken."""
        self.keys.changed = self._keys_changed
        self._tokens.ring = await self.keys.load()
        if self.keys.problem:
            self._measures.jwt_secret_weak.labels(self.keys.problem).set(1)
        if self._settings.server.tls.enabled:
            await self.tls.load()
        await self._begin_audit()
        self._mirror_everything()
        self._spawn(self._rights.sweep())
        self._spawn(self._learn_version())
        self._spawn(self.keys.run())
        self._spawn(self.sessions.keeper.run())
        self._spawn(self.accounts.run())
        if self._limiter is not None and self._settings.rate_limit.shared:
            self._spawn(self.replicas.mirror.run())
        server = HttpServer(self._gateway().handle, self._doors)
        self._runner = web.ServerRunner(server, shutdown_timeout=SHORT_ENDS_WITHIN_S)
        await self._runner.setup()
        for host, port in self._settings.binds:
            await web.TCPSite(self._runner, host, port, backlog=1024).start()
        if self._settings.server.tls.enabled:
            await self._listen_tls(self._runner, self._settings.server.tls.port)
        if self._settings.authorization.webhook.enabled:
            await self._listen_for_reviews(self._settings.authorization.webhook)
        log.info("gateway_listening", addresses=[f"{host}:{port}" for host, port in self.addresses])

    async def _listen_tls(self, runner: web.ServerRunner, port: int) -> None:
        self._spawn(self.tls.run())
        host = self._settings.binds[0][0]
        await web.TCPSite(runner, host, port, backlog=1024, ssl_context=self.tls.context).start()

    async def _listen_for_reviews(self, settings: WebhookSettings) -> None:
        waiting = Gate(settings.max_concurrent, "reviews")
        reviewer = Reviewer(self._rights, lambda name: self._people.user(name) is not None, waiting)
        self.reviews = ReviewListener(settings, reviewer)
        await self.reviews.start()
        self._spawn(self.reviews.run())
        self._spawn(self._learn_own_name(reviewer))

    async def _learn_own_name(self, reviewer: Reviewer) -> None:
        """Again and again until the API server says as whom it sees us."""
        while not reviewer.own_name:
            try:
                reviewer.own_name = await own_name(self._client)
            except (KubeError, OSError) as error:
                log.info("own_name_not_learned", error=str(error))
                await asyncio.sleep(1)

    async def wait_synced(self, within_s: float = 30.0) -> None:
        """Until every kind has been listed once. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            for mirror in (self.kubeconfigs.mirror, self.sessions.live.mirror):
                await mirror.collection.listed.wait()
            for collection in self._collections.values():
                await collection.listed.wait()
            await self.oauth.clients.mirror.collection.listed.wait()

    async def stop(self) -> None:
        """Say so on /readyz first, so that no new request is sent here, then end what is in hand."""
        if self._system is not None:
            self._system.draining = True
        self._doors.draining = True
        await asyncio.sleep(self._settings.server.drain.s)
        if self._watching is not None:
            await self._watching.leave()
        self._open_streams.end_all()
        if self.reviews is not None:
            await self.reviews.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sign_in is not None:
            self._sign_in.close()
        if self._kept is not None:
            await self._kept.close()
        if self._provider is not None:
            await self._provider.close()
        await self._rights.beats.close()
        await self._upstreams.close()
        await self._member_scopes.close()
        await self._members.close()
        await self.reverse.close()
        await self._host.close()
        await self._client.close()
        await asyncio.sleep(TLS_CLOSES_WITHIN_S)

    def _keys_changed(self) -> None:
        self._tokens.ring = self.keys.ring
        self._authenticator.forget()

    def _gateway(self) -> Gateway:
        settings = self._settings
        records = LoginRecords(self._client, self._clock, self._measures.throttled)
        self._spawn(records.run())
        self._sign_in = sign_in = SignIn(
            sessions=self.sessions,
            people=self._people,
            clients=self.oauth.clients,
            records=records,
            lockouts=self.lockouts,
            measures=self._measures,
            trusted=settings.trusted_networks,
            auditor=self._auditor,
            outside=outside_users(settings.authentication.ldap, self._linking()),
        )
        self._system = system = System(
            host=self._host,
            needed=tuple(
                mirror.collection
                for mirror in (
                    *self._mirrors,
                    self.kubeconfigs.mirror,
                    self.sessions.live.mirror,
                    self.oauth.clients.mirror,
                )
            ),
            measures=self._measures,
            kubernetes_version=lambda: self._kubernetes_version,
        )
        self._watching = WatchRoutes(
            World(Eyes(self._rights), self._collections, Views(), self._upstreams),
            self._registry,
            self._clock,
            limiter=self._limiter,
            origins=settings.authentication.session.origins,
        )
        self._spawn(self._upstreams.run())
        oauth = OAuthRoutes(
            sessions=self.sessions,
            tokens=self._tokens,
            authenticator=self._authenticator,
            check_client=sign_in.check_client,
            clock=self._clock,
            origins=settings.authentication.session.origins,
            auditor=self._auditor,
        )
        account = Account(
            client=self._client,
            people=self._people,
            access=self._rights.access,
            clock=self._clock,
            sessions=self.sessions,
        )
        self.reverse.begin(self._tokens.ring.mark_key, self._tokens.issuer)
        lists, cursors = Lists(self._host, self._members), Cursors(self._tokens.ring.mark_key)
        router = Router(
            rights=self._rights,
            host=self._host,
            members=self._members,
            collections=self._collections,
            publics={
                **system.routes(),
                **self.reverse.publics(),
                **oauth.routes(),
                **DocumentRoutes().routes(),
                ("POST", ("oauth", "token")): lambda exchange: sign_in.token(exchange.request),
                **self._browser_routes(sign_in),
            },
            own=(
                account.handler,
                AccessRoutes(self._rights).handler,
                self._kubeconfig_routes(self._tokens).handler,
                SessionRoutes(self.sessions, self._rights).handler,
                self.oauth.client_routes(self._rights).handler,
                self._row_routes(lists, cursors).handler,
                self._watching.handler,
                *self._audit_routes(),
            ),
            cursors=cursors,
            spread=Spread(self._rights, lists, cursors),
            described=Described(own_operations()),
            request_timeout_s=settings.request_timeout_s,
            reverse=self.reverse.find,
        )
        return Gateway(
            router=router,
            authenticator=self._authenticator,
            certificates=ClientCertificates(self._people, self._rights.is_admin, self.tls.trusts),
            doors=self._doors,
            limiter=self._limiter,
            queue=self._queue(),
            short=self._short,
            streams=self._streams,
            measures=self._measures,
            rights=self._rights,
            clock=self._clock,
            open_streams=self._open_streams,
            request_timeout_s=settings.request_timeout_s,
            auditor=self._auditor,
            origins=settings.authentication.session.origins,
        )

    def _browser_routes(self, sign_in: SignIn) -> Routes:
        """Pages that people sign in on, here or at an OpenID provider."""
        settings, connect = self._settings, self.oauth.connect
        oidc = settings.authentication.oidc
        if not oidc.enabled:
            return connect(sign_in, self._tokens, self._authenticator)
        self._provider = provider = Provider(oidc)
        outside = OidcSignIn(
            provider,
            self._linking(),
            Prefixes(oidc.username_prefix, oidc.groups_prefix),
            logins=self.oauth.logins,
            sign_in=sign_in,
            trusted=settings.trusted_networks,
            clock=self._clock,
        )
        pages = connect(sign_in, self._tokens, self._authenticator, outside.links)
        return {**pages, **outside.routes()}

    def _linking(self) -> Linking:
        return Linking(self._client, self._people, self._rights.index.is_bound)

    def _kubeconfig_routes(self, tokens: Tokens) -> KubeconfigRoutes:
        entrances = Entrances(
            self._settings.kubeconfig,
            trusted=self._settings.trusted_networks,
            tls=self.tls if self._settings.server.tls.enabled else None,
            tls_port=lambda: self.addresses[-1][1],
        )
        return KubeconfigRoutes(
            tokens=tokens,
            people=self._people,
            members=self._members,
            rights=self._rights,
            kubeconfigs=self.kubeconfigs,
            entrances=entrances,
            settings=self._settings.kubeconfig,
            clock=self._clock,
        )

    def _row_routes(self, lists: Lists, cursors: Cursors) -> RowRoutes:
        live = LiveRows(self._rights, lists, cursors, self._clock)
        return RowRoutes(self._rights, self._collections, live, cursors)

    async def _begin_audit(self) -> None:
        settings = self._settings
        if not (settings.audit.folder or settings.audit.sinks) or self._auditor is not None:
            if self._auditor is None:
                log.warning("audit_off", why="audit.folder is not set", then="changes leave no record here")
            return
        key = await find_audit_key(self._client, settings.server.namespace)
        settler = Settler(self._host, self._members, self._rights.is_admin)
        self._kept = kept = await keep_trail(
            settings.audit, key, self._clock, settler.settle, self._client, settings.server.namespace
        )
        trail = kept.trail
        self._auditor = Auditor(
            trail,
            Describer(self._rights.index, settings.trusted_networks),
            self._rights.access,
            self._clock,
            self._registry,
            all_reads=settings.audit.reads == "all",
        )
        trail.start()
        self._spawn(self._look_after_orphans(trail))

    async def _look_after_orphans(self, trail: Trail) -> None:
        """Once it is known who is who: what is settled is read back in its author's name."""
        for collection in tuple(self._collections.values()):
            await collection.listed.wait()
        await trail.look_after_orphans(lambda: int(self._clock.now_s() * 1000))

    def _audit_routes(self) -> tuple[OwnRoute, ...]:
        if self._kept is None:
            return ()
        return (AuditRoutes(self._kept.reading, self._rights).handler,)

    def _queue(self) -> FairQueue:
        if self._limiter is None:
            return FairQueue()
        return FairQueue(self._limiter.all, max_delay_s=self._limiter.max_delay_s)

    def _replicas_changed(self, count: int) -> None:
        if self._limiter is not None:
            self._limiter.share(count, time.monotonic())

    def _make_limiter(self) -> Limiter | None:
        limits = self._settings.rate_limit
        if not limits.enabled:
            return None
        return Limiter(
            qps=limits.qps,
            burst=limits.burst,
            user_qps=limits.user_qps or limits.qps,
            user_burst=limits.user_burst or limits.burst,
            max_delay_s=limits.max_delay.s,
        )

    def _mirror_everything(self) -> None:
        for cls in SERVED:
            kind = kind_of(cls)
            feed = self._rights.listener(cls)
            collection = collection_of(kind, self._listener(cls, feed))
            relist_s = self._settings.authorization.cache_ttl.s
            mirror = Mirror(self._client, kind, collection, relist_s=relist_s)
            self._collections[kind.group, kind.plural] = collection
            if feed is not None:
                self._mirrors.append(mirror)
            self._spawn(mirror.run())
        self._spawn(self.kubeconfigs.mirror.run())
        self._spawn(self.kubeconfigs.run())
        for work in self.oauth.work():
            self._spawn(work)
        self._spawn(self.sessions.live.mirror.run())

    def _listener(self, cls: type[Resource], feed: Listener | None) -> Listener | None:
        """Who they are is told before what they may: a stream that is looked at again asks for both."""
        if cls is User and feed is not None:
            return lambda key, old, new: self._user_changed(feed, key, old, new)
        if cls is LoginRecord:
            return self.lockouts.recorded
        if cls is Cluster and feed is not None:
            return lambda key, old, new: self._cluster_changed(feed, key, old, new)
        if cls is ReverseProxy:
            return self.reverse.changed
        return feed

    def _user_changed(self, feed: Listener, key: Key, old: bytes | None, new: bytes | None) -> None:
        self._people.user_changed(key, new)
        self.lockouts.user_changed(self._people.user(key.name))
        feed(key, old, new)
        self._open_streams.look(key.name)

    def _cluster_changed(self, feed: Listener, key: Key, old: bytes | None, new: bytes | None) -> None:
        feed(key, old, new)
        if self._members.cluster_changed(key, new):
            self._member_scopes.follow(key.name)

    def _silence_s(self) -> float | None:
        """Longest time that the server was not heard of about a kind that gives rights; None: unsynced."""
        if not self._mirrors or not all(mirror.collection.synced for mirror in self._mirrors):
            return None
        return max(mirror.silence_s() for mirror in self._mirrors)

    async def _learn_version(self) -> None:
        with contextlib.suppress(KubeError, OSError):
            response = await self._client.raw("GET", "/version")
            async with response:
                found: dict[str, str] = await response.json()
                self._kubernetes_version = found.get("gitVersion", "")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background_task_died", error=repr(task.exception()))
