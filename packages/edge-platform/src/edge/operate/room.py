"""The operate room: how the platform itself is run; here, what the gateway serves beside its own."""

from functools import partial

from edge.iam.granting import Grants
from edge.operate.reconcilers.reverseproxy import BY_PATH, ReverseProxyReconciler, Rivals, path_of
from edge.operate.types import GROUP, ReverseProxy
from edge.operate.webhooks import check_reverse_proxy, reverse_proxy_author_lacks
from edge_kube.runtime import Index, Watch
from edge_sdk.room import Loop, Rights, Room, Webhook


def room(grants: Grants | None = None) -> Room:
    """grants: judges authors; without it everybody may lead the gateway anywhere."""
    rivals = Rivals()
    return Room(
        name="operate",
        kinds=(ReverseProxy,),
        loops=(
            Loop(
                ReverseProxy,
                partial(ReverseProxyReconciler, rivals=rivals),
                watches=(Watch(ReverseProxy, rivals.of),),
            ),
        ),
        webhooks=(
            Webhook(
                ReverseProxy,
                validate=check_reverse_proxy,
                authorize=grants and grants.guard(reverse_proxy_author_lacks),
            ),
        ),
        rights=(
            Rights(GROUP, "reverseproxies", ("get", "list", "watch")),
            Rights(GROUP, "reverseproxies/status", ("get", "patch")),
        ),
        indexes=(Index(ReverseProxy, BY_PATH, path_of),),
    )
