"""Asking plugins: outside the event loop, with a time limit, and a failure stays with its deployment (A4)."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import msgspec
import structlog

from edge.apps.render import Unrenderable
from edge_sdk.plugins import Registry
from edge_sdk.problem import Violation
from edge_sdk.provisioner import Deployed, Plan, Provisioner, ProvisionStatus, Topology, Version

CALL_LIMIT_S: Final = 30.0
PLANS_KEPT: Final = 5_000

T = TypeVar("T")

log = structlog.stdlib.get_logger("edge.apps")


class Plugins:
    """The loaded plugins, with their plans remembered: equal questions have equal answers."""

    def __init__(self, registry: Registry, *, limit_s: float = CALL_LIMIT_S) -> None:
        self._registry = registry
        self._limit_s = limit_s
        self._plans: OrderedDict[bytes, Plan] = OrderedDict()

    def find(self, name: str) -> Provisioner:
        """Raises Unrenderable NoProvisioner, naming those there are and why one was refused."""
        plugin = self._registry.get(name)
        if plugin is None:
            self._registry.refresh()  # it may have been installed since
            plugin = self._registry.get(name)
        if plugin is None:
            refused = self._registry.refused.get(name)
            why = f": {refused}" if refused else ""
            known = ", ".join(self._registry.names) or "none"
            message = f'no provisioner "{name}" is loaded{why}; loaded are {known}'
            raise Unrenderable("NoProvisioner", message)
        return plugin

    async def validate(self, name: str, version: Version) -> list[Violation]:
        plugin = self.find(name)
        return list(await self._ask(name, "validate", partial(plugin.validate, version)))

    async def plan(self, name: str, old: Version | None, version: Version, topology: Topology) -> Plan:
        """Plan of provision, or of update while an older version is recorded. Raises Unrenderable."""
        plugin = self.find(name)
        key = msgspec.msgpack.encode((name, old and old.spec, version, topology))
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        if violations := await self.validate(name, version):
            told = "; ".join(str(one) for one in violations)
            raise Unrenderable("InvalidVersion", f"version {version.version} is refused by {name}: {told}")
        if old is None:
            plan = await self._ask(name, "provision", partial(plugin.provision, version, topology))
        else:
            plan = await self._ask(name, "update", partial(plugin.update, old, version, topology))
        self._plans[key] = plan
        if len(self._plans) > PLANS_KEPT:
            self._plans.popitem(last=False)
        return plan

    async def delete(self, name: str, deployed: Deployed) -> Plan:
        plugin = self.find(name)
        return await self._ask(name, "delete", partial(plugin.delete, deployed))

    async def status(self, name: str, deployed: Deployed) -> ProvisionStatus:
        plugin = self.find(name)
        return await self._ask(name, "get_status", partial(plugin.get_status, deployed))

    async def _ask(self, name: str, method: str, call: Callable[[], T]) -> T:
        """In a thread: a stranger's code may be slow, and must not stop watches and leases."""
        try:
            async with asyncio.timeout(self._limit_s):
                return await asyncio.to_thread(call)
        except TimeoutError:
            message = f"provisioner {name} did not answer {method} within {self._limit_s:g} s"
            raise Unrenderable("ProvisionerTimedOut", message) from None
        except Exception as error:  # a stranger's code may fail in any way
            log.exception("provisioner_failed", provisioner=name, method=method)
            message = f"provisioner {name} failed in {method}: {type(error).__name__}: {error}"
            raise Unrenderable("ProvisionerFailed", message[:500]) from error
