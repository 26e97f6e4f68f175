"""What `ensureVCluster` puts inside a virtual cluster: rights, the bootstrap token, DNS (R28). Pure."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from edge.clusters.keys import BOOTSTRAP_GROUP, CONNECTION_GROUP, KUBELET_API_GROUP
from edge_kube.meta import Manifest
from edge_sdk.scopes import ADMINS_GROUP

_RBAC = "rbac.authorization.k8s.io/v1"
_LABELS = {"app.kubernetes.io/managed-by": "edge-platform"}


def furniture(
    *, token: str, connection_role: str, dns_ip: str, dns_domain: str, dns_image: str, pull_policy: str
) -> Sequence[Manifest]:
    """In the order of applying: rights come before the token that uses them.

    token: of nested workers, as id.secret; it does not expire, since a worker pod may be made anew any time.
    """
    return (
        _cluster_binding("edge:kubelet-api", "system:kubelet-api-admin", KUBELET_API_GROUP),
        _cluster_binding("edge:kube-proxy", "system:node-proxier", "system:node-proxier"),
        _cluster_binding("edge:node-bootstrap", "system:node-bootstrapper", BOOTSTRAP_GROUP),
        _cluster_binding("edge:node-approve", _CSR_PREFIX + "nodeclient", BOOTSTRAP_GROUP),
        _cluster_binding("edge:node-renew", _CSR_PREFIX + "selfnodeclient", "system:nodes"),
        _cluster_binding("edge:connection", connection_role, CONNECTION_GROUP),
        # Administrators who come through the gateway hold the same rights as in the host (R13).
        _cluster_binding("edge:platform-admins", "cluster-admin", ADMINS_GROUP),
        _token(token),
        *_dns(dns_ip, dns_domain, dns_image, pull_policy),
    )


_CSR_PREFIX = "system:certificates.k8s.io:certificatesigningrequests:"


def _meta(name: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> Manifest:
    meta: Manifest = {"name": name, "labels": {**_LABELS, **(labels or {})}}
    return {**meta, "namespace": namespace} if namespace else meta


def _cluster_binding(name: str, role: str, group: str) -> Manifest:
    return {
        "apiVersion": _RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": _meta(name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    }


def _token(token: str) -> Manifest:
    ident, secret = token.split(".", 1)
    content = {
        "description": "Nested workers of this cluster join with it.",
        "token-id": ident,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": BOOTSTRAP_GROUP,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": _meta(f"bootstrap-token-{ident}", "kube-system"),
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in content.items()},
    }


def _dns(ip: str, domain: str, image: str, pull_policy: str) -> Sequence[Manifest]:
    corefile = (
        ".:53 {\n    errors\n    health\n    ready\n"
        f"    kubernetes {domain} in-addr.arpa ip6.arpa\n"
        "    forward . /etc/resolv.conf\n    cache 30\n    loadbalance\n    reload\n}\n"
    )
    watched = ["services", "pods", "namespaces"]
    rules = [
        {"apiGroups": [""], "resources": watched, "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    account = {"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}
    binding = _cluster_binding("edge:coredns", "edge:coredns", "")
    selector = {"k8s-app": "kube-dns"}
    ports = [
        {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "targetPort": 53, "protocol": "TCP"},
    ]
    return (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta("coredns", "kube-system")},
        {"apiVersion": _RBAC, "kind": "ClusterRole", "metadata": _meta("edge:coredns"), "rules": rules},
        {**binding, "subjects": [account]},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _meta("coredns", "kube-system"),
            "data": {"Corefile": corefile},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta("kube-dns", "kube-system", selector),
            "spec": {"clusterIP": ip, "selector": selector, "ports": ports},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _meta("coredns", "kube-system", selector),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": selector}, "spec": _dns_pod(image, pull_policy)},
            },
        },
    )


def _dns_pod(image: str, pull_policy: str) -> dict[str, Any]:
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "coredns",
                "image": image,
                "imagePullPolicy": pull_policy,
                "args": ["-conf", "/etc/coredns/Corefile"],
                "env": [{"name": "GOGC", "value": "50"}],
                "ports": [
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                ],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 2},
                "livenessProbe": {
                    "httpGet": {"path": "/health", "port": 8080},
                    "periodSeconds": 10,
                    "failureThreshold": 5,
                },
                "resources": {"requests": {"cpu": "20m", "memory": "40Mi"}},
                "securityContext": {
                    "readOnlyRootFilesystem": True,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                },
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
