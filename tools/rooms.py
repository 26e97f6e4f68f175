"""The rooms and kinds of the platform, found without starting anything.

A room only registers, so it can be built with stand-ins for the adapters and settings that it would get.
"""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import edge
from edge_kube.meta import Resource, kind_of
from edge_sdk.room import Room


class StandIn:
    """Takes the place of any adapter or setting: whatever is asked of it is another stand-in."""

    def __getattr__(self, name: str) -> "StandIn":
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn()

    def __call__(self, *_: Any, **__: Any) -> "StandIn":
        return StandIn()


def kinds() -> list[type[Resource]]:
    """All kinds of the rooms' types, by name of their CRD."""
    found = {
        str(kind_of(cls)): cls
        for module in _modules("types")
        for cls in list(vars(module).values())
        if inspect.isclass(cls) and issubclass(cls, Resource) and cls.__module__ == module.__name__
    }
    return [found[name] for name in sorted(found)]


def rooms() -> list[Room]:
    """All rooms, by name."""
    found: list[Room] = []
    for module in _modules("room"):
        needs = inspect.signature(module.room).parameters.values()
        required = [need for need in needs if need.default is inspect.Parameter.empty]
        named = {need.name: StandIn() for need in required if need.kind is not need.VAR_KEYWORD}
        made = module.room(**named)
        found.append(made)
    return sorted(found, key=lambda room: room.name)


def _modules(name: str) -> Iterator[ModuleType]:
    for package in pkgutil.iter_modules(edge.__path__, "edge."):
        if package.ispkg and importlib.util.find_spec(f"{package.name}.{name}") is not None:
            yield importlib.import_module(f"{package.name}.{name}")
