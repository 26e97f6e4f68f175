"""Entries as Kubernetes audit events (audit.k8s.io/v1), for tools that read those. Pure (O14).

One event an entry, at level Metadata: stage ResponseComplete, or RequestReceived while it has no outcome.
"""

from datetime import UTC, datetime
from typing import Any, Final

from edge.audit.query import Entry
from edge.audit.record import Asked

PREFIX: Final = "audit.theriseunion.io/"


def kubernetes_event(entry: Entry) -> dict[str, Any]:
    ended = entry.ended or entry.time
    event: dict[str, Any] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": entry.id,
        "stage": "ResponseComplete" if entry.ended else "RequestReceived",
        "requestURI": _uri(entry.req),
        "verb": entry.req.verb,
        "user": _user(entry),
        "sourceIPs": [entry.origin.ip] if entry.origin.ip else [],
        "userAgent": entry.origin.agent,
        "requestReceivedTimestamp": kubernetes_time(entry.time),
        "stageTimestamp": kubernetes_time(ended),
        "annotations": _annotations(entry),
    }
    if entry.actor.impersonated:
        event["impersonatedUser"] = {"username": entry.actor.impersonated}
    if entry.req.resource:
        event["objectRef"] = _object(entry)
    if entry.code:
        status = "Success" if entry.code < 400 else "Failure"
        event["responseStatus"] = {"metadata": {}, "status": status, "code": entry.code}
        if entry.reason:
            event["responseStatus"]["message"] = entry.reason
    return event


def _user(entry: Entry) -> dict[str, Any]:
    actor = entry.actor
    return {"username": actor.user, "uid": actor.uid, "groups": list(actor.groups)}


def _object(entry: Entry) -> dict[str, str]:
    req = entry.req
    found = {
        "resource": req.resource,
        "namespace": req.namespace,
        "name": req.name,
        "apiGroup": req.group,
        "apiVersion": req.version,
        "resourceVersion": entry.rv,
        "subresource": req.sub,
    }
    return {key: value for key, value in found.items() if value}


def _uri(req: Asked) -> str:
    above = f"/clusters/{req.cluster}" if req.cluster else ""
    asked = "?dryRun=All" if req.dry_run else ""
    if req.path or not req.resource:
        return f"{above}{req.path}{asked}"
    root = f"/apis/{req.group}/{req.version}" if req.group else f"/api/{req.version}"
    namespace = f"/namespaces/{req.namespace}" if req.namespace else ""
    name = "" if req.verb == "create" and not req.sub else req.name  # of what is created, the body says it
    tail = "".join(f"/{part}" for part in (name, req.sub) if part)
    return f"{above}{root}{namespace}/{req.resource}{tail}{asked}"


def _annotations(entry: Entry) -> dict[str, str]:
    found = {
        "authorization.k8s.io/decision": "forbid" if entry.phase == "refused" else "allow",
        "authorization.k8s.io/reason": _granted(entry),
        f"{PREFIX}chain": entry.chain,
        f"{PREFIX}seq": str(entry.seq),
        f"{PREFIX}result": entry.result,
        f"{PREFIX}scope": entry.scope,
        f"{PREFIX}cluster": entry.req.cluster,
        f"{PREFIX}body-sha256": entry.body_sha256,
    }
    return {key: value for key, value in found.items() if value}


def _granted(entry: Entry) -> str:
    grant = entry.grant
    if not grant.role:
        return ""
    binding = f" by binding {grant.binding}" if grant.binding else ""
    return f"role {grant.role} at {grant.scope}{binding}"


def kubernetes_time(ms: int) -> str:
    """metav1.MicroTime."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
