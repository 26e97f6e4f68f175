"""Keys and variables of the documents and the public installer for parts that this version does not have.

They are accepted, so that the files of today start the gateway, and told once at start (contract 9.1, 9.2).
"""

from typing import Final

_FILE: Final = {
    "metrics": "enabled",
    "metrics.prometheus": "endpoint timeout retryCount retryInterval maxConcurrentQueries"
    " tlsInsecureSkipVerify",
    "metrics.cache": "enabled ttl size",
    "terminal": "uploadFileLimit",
    "terminal.kubectl": "image",
    "terminal.node": "image timeout memoryRequest memoryLimit cpuRequest cpuLimit",
}
_ENVIRONMENT: Final = (
    "MONITORING_SERVICE_ENDPOINT",
    "PROMETHEUS_ENDPOINT",
    "ETCD_ENDPOINTS",
    "ETCD_CERT_FILE",
    "ETCD_KEY_FILE",
    "ETCD_CA_FILE",
)
NOT_USED: Final = (
    *(f"{section}.{key}" for section, keys in _FILE.items() for key in keys.split()),
    *_ENVIRONMENT,
)
