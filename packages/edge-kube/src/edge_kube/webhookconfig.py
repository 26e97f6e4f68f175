"""Makes the API server call our webhooks: certificates in a Secret, and the two webhook configurations.

The chart ships the configurations without webhooks, so that an installation never waits for a server that is
not there yet; this fills them once the server listens, with the authority that signed its certificate (R10).
Where the chart ships none (webhooks turned off), nothing is made.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from edge_kube.certs import ServingCertificates, renewed, utc_now
from edge_kube.core import Secret
from edge_kube.crd import resource
from edge_kube.errors import AlreadyExists, Conflict
from edge_kube.meta import Key, Manifest, ObjectMeta, Resource, kind_of
from edge_kube.reconcile import DONE, Reader, Request, Result, Writer
from edge_kube.webhook import (
    Webhook,
    delete_path,
    mutate_path,
    mutates,
    releases,
    validate_path,
    validates,
)

log = structlog.stdlib.get_logger("edge_kube.webhook")

FIELD_MANAGER = "edge-webhooks"
TIMEOUT_S = 10
_TRIES = 4
_DRY_RUN = "has(request.dryRun) && request.dryRun"


@resource(
    group="admissionregistration.k8s.io",
    version="v1",
    plural="mutatingwebhookconfigurations",
    scope="Cluster",
    status=False,
)
class MutatingWebhookConfiguration(Resource):
    pass


@resource(
    group="admissionregistration.k8s.io",
    version="v1",
    plural="validatingwebhookconfigurations",
    scope="Cluster",
    status=False,
)
class ValidatingWebhookConfiguration(Resource):
    pass


@dataclass(frozen=True, slots=True)
class Target:
    """Where API servers reach the webhook server: a Service, or (outside of a cluster) a base URL."""

    service: str = ""
    namespace: str = ""
    port: int = 8443
    url: str = ""

    def client_config(self, path: str, ca: bytes) -> Manifest:
        bundle = base64.b64encode(ca).decode()
        if self.url:
            return {"url": self.url + path, "caBundle": bundle}
        service = {"name": self.service, "namespace": self.namespace, "path": path, "port": self.port}
        return {"service": service, "caBundle": bundle}

    def dns_names(self) -> tuple[str, ...]:
        if self.url:
            return (self.url.removeprefix("https://").split(":")[0],)
        base = f"{self.service}.{self.namespace}"
        return (f"{base}.svc", base, f"{base}.svc.cluster.local", self.service)


class CertificateSecret:
    """The Secret of the certificates. All replicas read it; whoever comes first makes or renews it."""

    def __init__(
        self,
        client: Writer,
        *,
        name: str,
        namespace: str,
        dns_names: Sequence[str],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._key = Key(namespace, name)
        self._dns_names = tuple(dns_names)
        self._now = now

    async def ensure(self) -> ServingCertificates:
        """Certificates that are valid now, from the Secret; made or renewed if need be. Raises KubeError."""
        for _ in range(_TRIES):
            secret = await self._client.find(Secret, self._key.name, self._key.namespace)
            have = _certificates(secret)
            fresh = renewed(have, self._dns_names, self._now())
            if fresh is None and have is not None:
                return have
            if fresh is None:
                continue
            try:
                await self._store(secret, fresh)
            except (AlreadyExists, Conflict):
                continue  # another replica was faster: take what it wrote
            log.info("webhook_certificate_renewed", secret=str(self._key))
            return fresh
        raise Conflict(
            409, "Conflict", f"Secret {self._key} is being rewritten by somebody else all the time"
        )

    async def _store(self, secret: Secret | None, fresh: ServingCertificates) -> None:
        data = {
            name: base64.b64encode(value).decode()
            for name, value in (
                ("ca.crt", fresh.ca),
                ("ca.key", fresh.ca_key),
                ("tls.crt", fresh.cert),
                ("tls.key", fresh.key),
            )
        }
        if secret is None:
            meta = ObjectMeta(name=self._key.name, namespace=self._key.namespace)
            await self._client.create(
                Secret(metadata=meta, type="kubernetes.io/tls", data=data), manager=FIELD_MANAGER
            )
            return
        await self._client.merge(
            Secret, self._key, {"data": data}, rv=secret.metadata.resource_version, manager=FIELD_MANAGER
        )


class ConfigurationReconciler:
    """Keeps `webhooks` of one configuration as it must be; heals it when somebody clears it."""

    def __init__(
        self,
        kind: type[Resource],
        name: str,
        entries: Callable[[], Sequence[Manifest] | None],
        cache: Reader,
        client: Writer,
    ) -> None:
        """entries: the webhooks of this moment, None while the server does not listen."""
        self._kind = kind
        self._name = name
        self._entries = entries
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        """Raises KubeError."""
        entries = self._entries()
        if request.name != self._name or self._cache.get(self._kind, self._name) is None or entries is None:
            return DONE
        kind = kind_of(self._kind)
        await self._client.apply(
            {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "metadata": {"name": self._name},
                "webhooks": list(entries),
            },
            manager=FIELD_MANAGER,
        )
        return DONE


def mutating(webhooks: Sequence[Webhook], target: Target, ca: bytes) -> list[Manifest]:
    return [
        {
            **_entry(webhook, "default", mutate_path(webhook.kind), target, ca, _changes(webhook)),
            "reinvocationPolicy": "IfNeeded",
        }
        for webhook in webhooks
        if mutates(webhook)
    ]


def validating(webhooks: Sequence[Webhook], target: Target, ca: bytes) -> list[Manifest]:
    changes = [
        _entry(webhook, "validate", validate_path(webhook.kind), target, ca, _changes(webhook, webhook.going))
        for webhook in webhooks
        if validates(webhook)
    ]
    deletions = [
        _entry(webhook, "delete", delete_path(webhook.kind), target, ca, _deletions(webhook))
        | {"failurePolicy": webhook.failure_policy if webhook.retain else "Ignore"}
        for webhook in webhooks
        if releases(webhook)
    ]
    return [*changes, *deletions]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which requests are sent to us."""

    operations: tuple[str, ...]
    conditions: Sequence[tuple[str, str]]


def _changes(webhook: Webhook, going: str = "") -> _Asked:
    """going: of what is being deleted, the changes that are sent all the same."""
    # What is being deleted is let go without asking: a dead server must not hold its finalizers (D14).
    alive = "!has(object.metadata.deletionTimestamp)"
    asked = ("not-being-deleted", f"{alive} || ({going})" if going else alive)
    return _Asked(("CREATE", "UPDATE"), (asked, *webhook.conditions.items()))


def _deletions(webhook: Webhook) -> _Asked:
    """Only deletions that something hangs on wait for us: dry runs, and those that may be refused."""
    wanted = [text for text in (_DRY_RUN if webhook.warn else "", _retains(webhook)) if text]
    return _Asked(("DELETE",), (("asked-about", " || ".join(f"({text})" for text in wanted)),))


def _retains(webhook: Webhook) -> str:
    return (webhook.retain_if or "true") if webhook.retain else ""


def _entry(
    webhook: Webhook, verb: str, path: str, target: Target, ca: bytes, asked: _Asked
) -> dict[str, Any]:
    kind = kind_of(webhook.kind)
    return {
        "name": f"{verb}.{kind if kind.group else f'{kind}.core'}",  # three parts at least, says the API
        "clientConfig": target.client_config(path, ca),
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": webhook.failure_policy,
        "matchPolicy": "Equivalent",
        "timeoutSeconds": TIMEOUT_S,
        "matchConditions": [{"name": name, "expression": text} for name, text in asked.conditions],
        "rules": [
            {
                "apiGroups": [kind.group],
                "apiVersions": [kind.version],
                "resources": [kind.plural],
                "operations": list(asked.operations),
                "scope": "Namespaced" if kind.namespaced else "Cluster",
            }
        ],
    }


def _certificates(secret: Secret | None) -> ServingCertificates | None:
    if secret is None:
        return None
    try:
        parts = [base64.b64decode(secret.data[name]) for name in ("ca.crt", "ca.key", "tls.crt", "tls.key")]
    except (KeyError, ValueError):
        return None
    return ServingCertificates(*parts)
