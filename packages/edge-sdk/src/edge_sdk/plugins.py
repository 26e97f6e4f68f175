"""Loading provisioner plugins: found by entry points, checked when loaded, refused one by one (A4, A9).

A plugin that cannot be imported, built, or that does not have the methods of either form is refused alone,
by name and with the reason; all others work. Nothing here reads or writes a cluster.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

from edge_sdk.provisioner import ENTRY_POINT_GROUP, FromShortForm, Provisioner, ProvisionerPlugin, ShortForm

LONG_FORM: Final = ("validate", "provision", "update", "delete", "get_status")
SHORT_FORM: Final = ("provision", "unprovision", "get_status")
_PARAMETERS: Final = {
    "validate": ("version",),
    "provision": ("version", "topology"),
    "update": ("old", "version", "topology"),
    "delete": ("deployment",),
    "unprovision": ("deployment",),
    "get_status": ("deployment",),
}


class BadPlugin(TypeError):
    """A plugin breaks the protocol; the message says which method, what it has and what it should have."""


class Registry:
    """Plugins by the name that label app.theriseunion.io/provisioner asks for.

    find: gives the entry points there are; by default those of all installed packages.
    """

    def __init__(self, find: Callable[[], Iterable[EntryPoint]] | None = None) -> None:
        self._find = find or installed
        self._plugins: dict[str, Provisioner] = {}
        self._seen: set[tuple[str, str]] = set()
        self._refused: dict[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._plugins))

    @property
    def refused(self) -> Mapping[str, str]:
        """Name → why the plugin was not taken."""
        return self._refused

    def get(self, name: str) -> Provisioner | None:
        return self._plugins.get(name)

    def register(self, name: str, plugin: object) -> None:
        """Take one plugin, a class or an object. Raises BadPlugin."""
        self._plugins[name] = as_provisioner(name, plugin)
        self._refused.pop(name, None)

    def refresh(self) -> tuple[str, ...]:
        """Look for plugins installed since, and take them in without a restart; returns the new names.

        What is loaded stays: a running process cannot safely swap the code of a module for a newer one.
        """
        importlib.invalidate_caches()
        new: list[str] = []
        for point in self._find():
            if (point.name, point.value) in self._seen:
                continue
            self._seen.add((point.name, point.value))
            if point.name in self._plugins:
                taken = self._plugins[point.name]
                self._refused[point.name] = (
                    f"{point.value} is not used: {type(taken).__module__} already serves {point.name}"
                )
                continue
            try:
                self.register(point.name, point.load())
            # A stranger's module may fail in any way; it must not take the others with it.
            except Exception as error:
                self._refused[point.name] = f"{point.value}: {type(error).__name__}: {error}"
            else:
                new.append(point.name)
        return tuple(new)


def installed() -> Iterable[EntryPoint]:
    return entry_points(group=ENTRY_POINT_GROUP)


def as_provisioner(name: str, plugin: object) -> Provisioner:
    """Check a plugin and give it the long form. Raises BadPlugin, naming method and signature."""
    if isinstance(plugin, type):
        plugin = _build(name, cast("type[Any]", plugin))
    missing_long = [method for method in LONG_FORM if not callable(getattr(plugin, method, None))]
    missing_short = [method for method in SHORT_FORM if not callable(getattr(plugin, method, None))]
    if missing_long and missing_short:
        raise BadPlugin(
            f"provisioner {name} ({_where(plugin)}) lacks {', '.join(missing_long)}; a plugin has "
            f"{', '.join(LONG_FORM)}, or {', '.join(SHORT_FORM)}"
        )
    form = SHORT_FORM if missing_long else LONG_FORM
    for method in form:
        _check_signature(name, plugin, method)
    if form is SHORT_FORM:
        return FromShortForm(cast("ShortForm", plugin))
    return cast("Provisioner", plugin)


def _build(name: str, cls: type[Any]) -> object:
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing and issubclass(cls, ProvisionerPlugin):
        raise BadPlugin(f"provisioner {name} ({_where(cls)}) does not implement {', '.join(missing)}")
    return cls()


def _check_signature(name: str, plugin: object, method: str) -> None:
    function = getattr(plugin, method)
    wanted = _PARAMETERS[method]
    if inspect.iscoroutinefunction(function):
        raise BadPlugin(
            f"provisioner {name}: {method} is asynchronous; plugins are plain functions without I/O"
        )
    signature = inspect.signature(function)
    try:
        signature.bind(*wanted)
    except TypeError:
        raise BadPlugin(
            f"provisioner {name}: {method}{signature} cannot be called as {method}({', '.join(wanted)})"
        ) from None


def _where(plugin: object) -> str:
    cls = cast("type[object]", plugin) if isinstance(plugin, type) else type(plugin)
    return f"{cls.__module__}.{cls.__qualname__}"
