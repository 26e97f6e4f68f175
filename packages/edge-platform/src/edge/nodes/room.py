"""The nodes room: node groups in the host and in member clusters."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from edge.clusters.types import Cluster
from edge.iam.granting import Grants
from edge.iam.reconcilers.scoperoles import ScopeRoles, nobody, scope_named
from edge.iam.types import IAMRole, IAMRoleBinding
from edge.nodes.reconcilers.nodegroup import NodeGroupReconciler
from edge.nodes.reconcilers.nodes import ClusterNodes, HostNode
from edge.nodes.rules import groups_on
from edge.nodes.types import GROUP, NodeGroup
from edge.nodes.webhooks import MOVES_NODE, check_node_group, node_author_lacks, node_group_author_lacks
from edge.tenancy.types import Workspace
from edge_kube.core import Node
from edge_kube.runtime import MemberWatch, Request, Watch
from edge_sdk.cel import changes
from edge_sdk.room import Loop, Rights, Room, Webhook
from edge_sdk.scopes import CLUSTER_LABEL, IAM_GROUP
from edge_sdk.sites import Sites


def _groups(node: Node) -> Iterable[Request]:
    return [Request(name) for name in groups_on(node)]


def _groups_in(node: Node, cluster: str) -> Iterable[Request]:
    del cluster
    return _groups(node)


def _cluster(node: Node, cluster: str) -> Iterable[Request]:
    del node
    return (Request(cluster),)


def _every(_: NodeGroup) -> bool:
    return True


MEMBER_WATCHES: Final = (MemberWatch(Node, _groups_in),)
"""What this room copies from members; its `Sites` reads the same copies."""


def room(sites: Sites, grants: Grants | None = None) -> Room:
    """sites: the member clusters. grants: judges authors; without it everybody may select every node."""
    return Room(
        name="nodes",
        kinds=(NodeGroup,),
        loops=(
            Loop(
                NodeGroup,
                partial(NodeGroupReconciler, sites),
                watches=(Watch(Node, _groups),),
                member_watches=MEMBER_WATCHES,
                reads=(Cluster, Workspace),
            ),
            Loop(
                NodeGroup,
                partial(ScopeRoles, NodeGroup, "nodegroup", _every, nobody),
                name="nodegrouproles",
                watches=(Watch(IAMRole, partial(scope_named, "nodegroup")),),
                reads=(IAMRoleBinding,),
                resync_s=300,
            ),
            Loop(Node, HostNode, name="hostnode", reads=(NodeGroup, Cluster)),
            Loop(
                Cluster,
                partial(ClusterNodes, sites),
                name="clusternodes",
                member_watches=(MemberWatch(Node, _cluster),),
                reads=(NodeGroup,),
            ),
        ),
        webhooks=(
            Webhook(
                NodeGroup,
                validate=check_node_group,
                stamp=grants and grants.creator,
                authorize=grants and grants.guard(node_group_author_lacks),
                warn=grants and grants.warn,
                going=changes("labels", CLUSTER_LABEL),  # what is bound at the group counts where it is
            ),
            *(
                (
                    Webhook(
                        Node,
                        authorize=grants.guard(node_author_lacks),
                        warn=grants.warn,
                        conditions=MOVES_NODE,
                    ),
                )
                if grants is not None
                else ()
            ),
        ),
        rights=(
            Rights(GROUP, "nodegroups", ("get", "list", "watch", "patch")),
            Rights(GROUP, "nodegroups/status", ("get", "patch")),
            Rights(GROUP, "clusters", ("get", "list", "watch")),
            Rights(GROUP, "workspaces", ("get", "list", "watch")),
            Rights("", "nodes", ("get", "list", "watch", "patch")),
            Rights(IAM_GROUP, "iamroles", ("get", "list", "watch", "create", "patch")),
            Rights(IAM_GROUP, "iamrolebindings", ("get", "list", "watch", "create", "patch", "delete")),
        ),
    )
