"""All operations of the gateway: those that modules of edge.apiserver declare, and those of the kinds."""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache

import edge.apiserver
from edge.apiserver.mirrors.kinds import SERVED
from edge.apiserver.openapi import kinds, kubernetes
from edge.apiserver.openapi.operation import Operation


@cache
def own_operations() -> tuple[Operation, ...]:
    """Of the tuples OPERATIONS beside the routes. No list names the modules: none can be forgotten."""
    found: list[Operation] = []
    for name in sorted(_modules()):
        found += getattr(importlib.import_module(name), "OPERATIONS", ())
    return tuple(found)


@cache
def all_operations() -> tuple[Operation, ...]:
    """Raises ValueError where two are declared for one route or with one name."""
    found = (
        *own_operations(),
        *(one for cls in SERVED for one in kinds.operations(cls)),
        *kubernetes.operations(),
    )
    for what in ([f"{one.method} {one.path}" for one in found], [one.id for one in found]):
        twice = sorted({one for one in what if what.count(one) > 1})
        if twice:
            raise ValueError(f"declared twice: {', '.join(twice)}; change the path, or give one a `name`")
    return found


def _modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(edge.apiserver.__path__, f"{edge.apiserver.__name__}."):
        if not module.ispkg:
            yield module.name
