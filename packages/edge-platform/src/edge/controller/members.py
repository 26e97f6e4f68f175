"""Keeps the pool of member clusters equal to the Cluster objects: joined, changed, gone."""

import base64
import binascii
from typing import Any

import structlog

from edge.clusters.types import Cluster
from edge_kube.cache import Delta
from edge_kube.clusters import ClusterPool
from edge_kube.config import ConfigError

log = structlog.stdlib.get_logger("edge.controller")


class MemberFeed:
    """A handler for the informer of Clusters. A kubeconfig that cannot be used is the Cluster's own trouble:
    its reconciler says so in a condition, and here the member is simply not joined."""

    def __init__(self, pool: ClusterPool) -> None:
        self._pool = pool

    def __call__(self, delta: Delta[Any]) -> None:
        cluster: Cluster | None = delta.new
        if cluster is None:
            if delta.old is not None:
                self._pool.remove(delta.old.metadata.name)
            return
        name, encoded = cluster.metadata.name, cluster.spec.connection.kubeconfig
        if not encoded:
            self._pool.remove(name)
            return
        try:
            self._pool.update(name, cluster.metadata.uid, base64.b64decode(encoded, validate=True))
        except (binascii.Error, ConfigError) as error:
            self._pool.remove(name)
            log.warning("member_not_joined", cluster=name, why=str(error))
