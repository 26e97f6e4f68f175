"""One place at a time: ask the plugin, render, apply, read its state; and clear what is no longer wanted."""

from collections.abc import Sequence

from edge.apps.placement import NOT_GRANTED, Placement, not_granted
from edge.apps.plan import Inventory, Ref, plan_place, refs_of
from edge.apps.provisioning import Plugins
from edge.apps.render import Unrenderable, render
from edge.apps.rules import provisioner_of
from edge.apps.sitework import NameTaken, carry_out, clear, inventories, inventory_of, observe
from edge.apps.types import Application, ApplicationDeployment, ApplicationVersion
from edge.apps.webhooks import as_plugin_version
from edge.apps.world import workspace_of
from edge.nodes.rules import groups_on
from edge_kube.core import Node
from edge_kube.errors import Forbidden, Invalid
from edge_kube.runtime import Reader
from edge_sdk.provisioner import ProvisionStatus
from edge_sdk.sites import Site


class PlaceWork:
    """Work on places. cache: of the host, where applications and versions are."""

    def __init__(self, plugins: Plugins, cache: Reader) -> None:
        self._plugins = plugins
        self._cache = cache

    async def bring(
        self,
        site: Site,
        deployment: ApplicationDeployment,
        version: ApplicationVersion,
        provisioner: str,
        place: Placement,
    ) -> ProvisionStatus:
        """Bring one place to the version, and say how it stands. What is wrong with it is its own."""
        if place.reason:
            return _failed(place.reason, place.message)
        if barred := _barred_node(site, place):
            workspace = workspace_of(self._cache, deployment.metadata.namespace)
            where = f"node {place.topology.node_name} is in a group that is kept for others: "
            return _failed(NOT_GRANTED, where + not_granted(barred, workspace))
        wanted = as_plugin_version(version)
        try:
            inventory = inventory_of(site, place.id, place.topology.namespace)
            old = self._older(inventory, version)
            plan = await self._plugins.plan(
                provisioner, as_plugin_version(old) if old else None, wanted, place.topology
            )
            manifests = render(plan, place, deployment)
            steps = plan_place(deployment, version, place, manifests, inventory)
            await carry_out(site, steps, place.id, place.topology.namespace)
            seen = observe(site, place.id, wanted, place.topology, deployment.metadata.name)
            return await self._plugins.status(provisioner, seen)
        except Unrenderable as problem:
            return _failed(problem.reason, problem.message)
        except NameTaken as taken:
            return _failed("NameTaken", str(taken))
        except (Invalid, Forbidden) as refusal:
            return _failed(refusal.reason or "Refused", f"the cluster refuses it: {refusal.message}")

    async def prune(self, site: Site, deployment: ApplicationDeployment, places: Sequence[Placement]) -> None:
        """Clear the places of this deployment in one cluster that its topologies no longer name.

        places: all of the deployment. A topology that cannot be resolved now (its group was deleted, say)
        keeps what runs for it: a slip in one object must not take down an application.
        """
        wanted = {place.id for place in places}
        unsure = {(place.topology.node_group, place.topology.node_name) for place in places if place.reason}
        meta = deployment.metadata
        for inventory in list(inventories(site)):
            mine = (inventory.namespace, inventory.deployment) == (meta.namespace, meta.name)
            spot = (inventory.topology.node_group, inventory.topology.node_name)
            if mine and inventory.placement not in wanted and spot not in unsure:
                await clear(site, inventory, await self.kept(site, deployment, inventory))

    async def kept(
        self, site: Site, deployment: ApplicationDeployment, inventory: Inventory
    ) -> tuple[Ref, ...]:
        """What the plugin wants to stay behind. One that is gone or fails has no say: everything goes."""
        application = self._cache.get(Application, deployment.spec.application)
        version = self._cache.get(ApplicationVersion, inventory.version_name)
        if application is None or version is None:
            return ()
        seen = observe(
            site,
            inventory.placement,
            as_plugin_version(version),
            inventory.topology,
            deployment.metadata.name,
        )
        try:
            plan = await self._plugins.delete(provisioner_of(application, version), seen)
        except Unrenderable:
            return ()
        return refs_of(plan.objects)

    def _older(self, inventory: Inventory | None, version: ApplicationVersion) -> ApplicationVersion | None:
        """The version that is there now, when it is another one and still known."""
        if inventory is None or inventory.version_name == version.metadata.name:
            return None
        return self._cache.get(ApplicationVersion, inventory.version_name)


def _barred_node(site: Site, place: Placement) -> str:
    """The group that keeps others off the node that a place names, or ""."""
    node = site.get(Node, place.topology.node_name) if place.topology.node_name and place.barred else None
    return next((name for name in groups_on(node) if name in place.barred), "") if node else ""


def _failed(reason: str, message: str) -> ProvisionStatus:
    return ProvisionStatus(phase="Failed", reason=reason, message=message)
