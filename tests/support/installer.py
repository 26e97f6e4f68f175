"""What the public installer's chart gives its gateway: whole file, environment, values (contract 9.1)."""

from typing import Any, Final

PUBLISHED_KEY: Final = "c069c36be9c64acd4d3993d7e9ea44c3c65802e06a5909cee933af6768e2004e"
CLIENTS: Final = [
    {"id": "edge-console", "secret": "edge-secret"},
    {"id": "test-client", "secret": "test-secret"},
    {"id": "kubectl", "secret": "kubectl-secret"},
    {"id": "default-client", "secret": "default-secret"},
]
ENVIRONMENT: Final = {
    "LOG_LEVEL": "info",
    "PORT": "8080",
    "OAUTH_ISSUER_URL": "http://192.0.2.7:30080",
    "JWT_SECRET": PUBLISHED_KEY,
    "MONITORING_SERVICE_ENDPOINT": "http://monitoring-service.observability-system.svc.cluster.local:80",
}


def installers_file() -> dict[str, Any]:
    """As it comes with the defaults."""
    return {
        "server": {
            "port": 8080,
            "host": "0.0.0.0",  # noqa: S104
            "timeout": {"read": "30s", "write": "30s", "idle": "120s"},
            "tls": {"enabled": False, "certFile": "", "keyFile": ""},
        },
        "auth": {
            "mode": "RBAC",
            "jwt": {"secret": PUBLISHED_KEY, "expiry": "24h", "refreshTTL": "168h", "issuerUrl": ""},
            "oauth": {"enabled": True, "issuer": "localhost:30080", "clients": CLIENTS},
        },
        "metrics": {
            "enabled": True,
            "prometheus": {
                "endpoint": "http://prometheus.observability-system.svc.cluster.local:9090",
                "timeout": "30s",
                "maxConcurrentQueries": 10,
                "retryCount": 3,
                "retryInterval": "1s",
                "tlsInsecureSkipVerify": True,
            },
            "cache": {"enabled": True, "ttl": "30s", "size": 1000},
        },
        "terminal": {
            "kubectl": {"image": {"repository": "bitnami/kubectl:latest"}},
            "node": {
                "image": {"repository": "alpine:3.15"},
                "timeout": 600,
                "memoryRequest": "64Mi",
                "memoryLimit": "128Mi",
                "cpuRequest": "100m",
                "cpuLimit": "200m",
            },
            "uploadFileLimit": "100Mi",
        },
    }


def installers_values() -> dict[str, Any]:
    """Values of its chart, as far as they are about the gateway's settings."""
    file = installers_file()
    return {
        "fullnameOverride": "apiserver",
        "edge": {
            "apiserver": {"logLevel": "debug", **file["server"]},
            "rbac": {"installPlatformRoles": True, "clusterAdmin": True},
            "defaultAdmin": {"enabled": True, "username": "admin"},
            "monitoring": {
                "enabled": True,
                "serviceEndpoint": ENVIRONMENT["MONITORING_SERVICE_ENDPOINT"],
                "metrics": file["metrics"],
            },
            "auth": {
                "mode": "RBAC",
                "jwt": {"secret": PUBLISHED_KEY, "expiry": "12h", "refreshTTL": "168h"},
                "oauth": {"enabled": True, "issuerUrl": "localhost:30080", "clients": CLIENTS},
            },
            "terminal": file["terminal"],
        },
    }
