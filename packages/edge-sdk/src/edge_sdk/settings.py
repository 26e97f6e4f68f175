"""Settings: typed sections, read from flags, environment, edge.yaml and defaults, in this order.

    class ServerSettings(Section):
        port: Annotated[int, setting(env="PORT", ge=1, le=65535)] = 8080
        read_timeout: Annotated[Duration, setting("Time limit of a request.")] = Duration.of("30s")

    settings = load({"server": ServerSettings}, file=Path("edge.yaml"), environ=os.environ)
    settings[ServerSettings].read_timeout.s

A key in edge.yaml is the field in camelCase under its section. Whatever is wrong — unknown keys, values that
do not fit, two spellings that disagree — is listed in one error: key, where it came from, value, why, what is
accepted (G6). The value of a `Secret` is never in an error. A type of a service's own reads
itself: `of(value)`.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args

import msgspec
import yaml
from msgspec import NODEFAULT, Meta
from msgspec import inspect as types
from msgspec.structs import FieldInfo, fields

from edge_kube.meta import ModelMeta
from edge_sdk.problem import Violation
from edge_sdk.secret import Secret


class Section(msgspec.Struct, metaclass=ModelMeta, frozen=True, rename="camel"):
    """Base of all sections; a field may be a section itself."""


S = TypeVar("S", bound=Section)

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS_BYTES = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "K": 10**3, "M": 10**6, "G": 10**9}
_SIZE = re.compile(r"(\d+)(Ki|Mi|Gi|K|M|G)?B?")


class Duration:
    """A time span, written as in Go: "30s", "5m", "1h30m", "250ms"; a bare number is seconds."""

    __slots__ = ("s",)  # no dataclass: msgspec would take it for an object with a field s

    def __init__(self, s: float) -> None:
        self.s = s

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and other.s == self.s

    def __hash__(self) -> int:
        return hash(self.s)

    def __repr__(self) -> str:
        """As it may be written: 30d, 24h, 15m, 30s, 250ms."""
        for unit, size_s in (("d", 2 * 86_400), ("h", 3600), ("m", 60), ("s", 1)):
            if self.s >= size_s and self.s % _UNITS_S[unit] == 0:
                return f"{self.s / _UNITS_S[unit]:.0f}{unit}"
        return f"{self.s * 1000:.10g}ms" if self.s else "0s"

    @classmethod
    def of(cls, text: str | float) -> "Duration":
        """Raises ValueError."""
        plain = str(text).strip()
        if re.fullmatch(r"\d+(\.\d+)?", plain):
            return cls(float(plain))
        parts = _DURATION.findall(plain)
        if not parts or "".join(number + unit for number, unit in parts) != plain:
            raise ValueError("it is no duration")
        return cls(sum(float(number) * _UNITS_S[unit] for number, unit in parts))


class Size:
    """A number of bytes: "3Mi", "500K", "1048576"."""

    __slots__ = ("bytes",)

    def __init__(self, bytes_: int) -> None:
        self.bytes = bytes_

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and other.bytes == self.bytes

    def __hash__(self) -> int:
        return hash(self.bytes)

    def __repr__(self) -> str:
        for unit in ("Gi", "Mi", "Ki"):
            if self.bytes and self.bytes % _UNITS_BYTES[unit] == 0:
                return f"{self.bytes // _UNITS_BYTES[unit]}{unit}"
        return str(self.bytes)

    @classmethod
    def of(cls, text: str | int) -> "Size":
        """Raises ValueError."""
        found = _SIZE.fullmatch(str(text).strip())
        if found is None:
            raise ValueError("it is no size")
        return cls(int(found[1]) * _UNITS_BYTES[found[2] or ""])


_ACCEPTED: dict[Any, str] = {
    Duration: "a duration such as 30s, 5m or 1h30m",
    Size: "a size such as 512Ki, 3Mi or 1048576",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
}


def setting(
    description: str = "",
    *,
    env: str = "",
    also: Sequence[str] = (),
    accepted: str = "",
    **limits: Any,
) -> Meta:
    """Annotation of a field. env: environment variable. also: other keys that mean the same.

    accepted: words for the error message; limits: those of `msgspec.Meta` (ge, le, pattern, max_length …).
    """
    extra = {"env": env, "also": tuple(also), "accepted": accepted}
    return Meta(description=description or None, extra=extra, **limits)


class SettingsError(ValueError):
    """All that is wrong with the settings; the process does not start.

    rest: what could be read, with defaults for what could not; None where one has none. broken: keys whose
    values do not fit. With them a service looks for what contradicts itself, to tell that as well.
    """

    def __init__(
        self, violations: Sequence[Violation], rest: "Settings | None" = None, broken: Sequence[str] = ()
    ) -> None:
        lines = "\n".join(f"  - {item}" for item in violations)
        super().__init__(f"the settings cannot be used:\n{lines}")
        self.violations = tuple(violations)
        self.rest = rest
        self.broken = tuple(broken)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a setting was given. rank: 0 flag, 1 environment, 2 edge.yaml; the lower counts."""

    rank: int
    name: str


class Settings:
    """The sections that were asked for, by their type. places: of each key that was given.

    unused: what was given of that which `load` was told to accept and not to use.
    """

    def __init__(
        self, sections: Mapping[type[Section], Section], places: Mapping[str, Place], unused: Sequence[str]
    ) -> None:
        self._sections = sections
        self.places = places
        self.unused = tuple(unused)

    def __getitem__(self, cls: type[S]) -> S:
        return cast("S", self._sections[cls])


def load(
    sections: Mapping[str, type[Section]],
    *,
    file: Path | Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    unused: Sequence[str] = (),
) -> Settings:
    """Read all sections. file: edge.yaml, which must exist if named; flags: "server.port" → text.

    unused: keys of the file, and environment variables, that are accepted and mean nothing here.
    Raises SettingsError with everything that is wrong.
    """
    reading = _Reading(os.environ if environ is None else environ, dict(flags or {}))
    tree = reading.read_file(file)
    reading.tree = tree
    built = {cls: reading.section(cls, name, tree.get(name)) for name, cls in sections.items()}
    reading.refuse_unknown(tree, sections, unused)
    found = [name for name in unused if _lookup(tree, name) is not None or reading.environ.get(name)]
    sections_made = {cls: made for cls, made in built.items() if made is not None}
    settings = Settings(sections_made, reading.places, found)
    if reading.violations:
        is_whole = len(sections_made) == len(built)
        raise SettingsError(reading.violations, settings if is_whole else None, reading.broken)
    return settings


@dataclass(slots=True)
class _Reading:
    environ: Mapping[str, str]
    flags: dict[str, str]
    tree: Mapping[str, Any] = field(default_factory=dict[str, Any])
    known: set[str] = field(default_factory=set[str])
    sections: set[str] = field(default_factory=set[str])
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    violations: list[Violation] = field(default_factory=list[Violation])
    broken: list[str] = field(default_factory=list[str])
    """Keys whose values do not fit."""

    def read_file(self, file: Path | Mapping[str, Any] | None) -> Mapping[str, Any]:
        if file is None or isinstance(file, Mapping):
            return file or {}
        try:
            loaded: object = yaml.safe_load(file.read_text())
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            self._refuse(str(file), "", f"it cannot be read: {error}", "a YAML file")
            return {}
        if loaded is None:
            return {}
        if not isinstance(loaded, dict):
            self._refuse(
                str(file), type(loaded).__name__, "its top level is no mapping", "section: {key: value}"
            )
            return {}
        return cast("dict[str, Any]", loaded)

    def section(self, cls: type[Section], path: str, given: object) -> Section | None:
        """Build a section, with defaults for what is wrong (and noted); None where there is no default."""
        self.sections.add(path)
        if given is not None and not isinstance(given, Mapping):
            self._refuse(path, given, "it is a section", "a mapping of keys to values")
            self.broken.append(path)
            given = None
        values = cast("Mapping[str, Any]", given or {})
        made: dict[str, Any] = {}
        lacks = False
        for info in fields(cls):
            key = f"{path}.{info.encode_name}"
            inner = _section_of(info.type)
            if inner is not None:
                below = self.section(inner, key, values.get(info.encode_name))
                lacks = lacks or below is None
                made[info.name] = below
                continue
            self.known.update((key, *_extra(info).get("also", ())))
            given = self._given(info, key)
            before = len(self.violations)
            value = self._agreed(info, key, given) if given else None
            if len(self.violations) > before:
                self.broken.append(key)
            elif given:
                made[info.name] = value
            if info.name not in made and info.default is NODEFAULT and info.default_factory is NODEFAULT:
                lacks = True
                if key not in self.broken:
                    env = _extra(info).get("env")
                    self._refuse(
                        key, "", "it is required", f"set it in edge.yaml{f' or as {env}' if env else ''}"
                    )
        return None if lacks else cls(**made)

    def _given(self, info: FieldInfo, key: str) -> list[tuple[str, str, Any]]:
        """(name, source, value) of all spellings, at the place of highest precedence that has one."""
        extra = _extra(info)
        names, env = (key, *extra.get("also", ())), extra.get("env", "")
        flags = [(f"--{name}", f"--{name}", self.flags.pop(name)) for name in names if name in self.flags]
        variable = self.environ.get(env, "") if env else ""
        variables = [(env, f"environment {env}", variable)] if variable != "" else []
        written = [
            (name, "edge.yaml" if name == key else f"edge.yaml {name}", value)
            for name in names
            # The public installer writes "" where nothing was chosen.
            if (value := _lookup(self.tree, name)) is not None and (name == key or value != "")
        ]
        for rank, found in enumerate((flags, variables, written)):
            if found:
                self.places[key] = Place(rank, found[0][0])
                return found
        return []

    def _agreed(self, info: FieldInfo, key: str, given: Sequence[tuple[str, str, Any]]) -> Any:
        """The one value of all spellings; None when they differ or do not fit (and that is noted)."""
        values = [self._converted(info, f"{key} ({source})", value) for _, source, value in given]
        if None not in values and any(value != values[0] for value in values):
            names = " and ".join(name for name, _, _ in given)
            self._refuse(names, "", "they mean the same and differ", "one of them, or equal values")
            return None
        return values[0]

    def _converted(self, info: FieldInfo, where: str, value: Any) -> Any:
        if isinstance(value, str) and _is_list(info.type):
            value = [part.strip() for part in value.split(",") if part.strip()]
        try:
            return msgspec.convert(value, info.type, strict=False, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError) as error:
            is_secret = _is_secret(info.type)
            shown, why = ("***", "it does not fit") if is_secret else (value, str(error))
            accepted = _extra(info).get("accepted") or _ACCEPTED.get(_base(info.type), "")
            self._refuse(where, shown, why, accepted)
            return None

    def refuse_unknown(
        self, tree: Mapping[str, Any], sections: Mapping[str, type[Section]], unused: Sequence[str]
    ) -> None:
        for name in self.flags:
            self._refuse(f"--{name}", _shown(name, self.flags[name]), _UNKNOWN, _nearest(name, self.known))
        accepted = {*self.known, *unused}
        for path, value in _leaves(tree, ""):
            if path in self.sections:
                continue  # nothing is said in it, or no mapping is, which has been refused
            if value in (None, {}) and any(key.startswith(f"{path}.") for key in accepted):
                continue  # a section of other names in which nothing is said
            if not any(path == key or path.startswith(f"{key}.") for key in accepted):
                self._refuse(path, _shown(path, value), _UNKNOWN, _nearest(path, {*accepted, *sections}))

    def _refuse(self, key: str, value: object, why: str, accepted: str) -> None:
        self.violations.append(Violation(key, value, why, accepted))


def _decode(cls: type, value: Any) -> Any:
    if (of := getattr(cls, "of", None)) is not None:
        return of(value)
    if cls is Secret:
        return Secret(str(value))
    if cls is Path or issubclass(cls, Path):
        return Path(str(value))
    raise NotImplementedError(f"settings cannot hold {cls.__name__}")


def _extra(info: FieldInfo) -> Mapping[str, Any]:
    described = types.type_info(info.type)
    extra: Any = cast("Any", described).extra if isinstance(described, types.Metadata) else None
    return extra or {}


def _base(annotated: Any) -> Any:
    return getattr(annotated, "__origin__", annotated)


def _is_secret(annotated: Any) -> bool:
    """Also for many of them."""
    base = _base(annotated)
    return any(isinstance(one, type) and issubclass(one, Secret) for one in (base, *get_args(base)))


def _section_of(annotated: Any) -> type[Section] | None:
    base = _base(annotated)
    return base if isinstance(base, type) and issubclass(base, Section) else None


def _is_list(annotated: Any) -> bool:
    described = types.type_info(annotated)
    inner = described.type if isinstance(described, types.Metadata) else described
    return isinstance(inner, types.VarTupleType | types.ListType)


def _lookup(tree: Mapping[str, Any], path: str) -> Any:
    node: Any = tree
    for part in path.split("."):
        if not isinstance(node, Mapping):
            return None
        node = cast("Mapping[str, Any]", node).get(part)
    return node


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping) and value:
            yield from _leaves(cast("Mapping[str, Any]", value), path)
        else:
            yield path, value


_UNKNOWN: Final = "there is no such setting"
_MAY_BE_SECRET: Final = re.compile(r"secret|passw|token|credential|key|client|hash", re.IGNORECASE)


def _shown(name: str, value: object) -> object:
    """The value of a key that nobody knows; not where it may be a secret below a misspelt name."""
    return "***" if _MAY_BE_SECRET.search(name) else value


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return ", ".join(near or sorted(known)[:20])
