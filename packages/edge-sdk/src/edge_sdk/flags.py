"""Command-line flags: every key of edge.yaml, as --section.key=value (G12). Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from msgspec import inspect as types
from msgspec.structs import fields

from edge_sdk.settings import Section


class FlagError(ValueError):
    """The command line is not understood; the message says which part."""


SHORT = {"log-level": "log.level", "log-format": "log.format", "bind-address": "server.bindAddress"}


def read_flags(arguments: Sequence[str]) -> dict[str, str]:
    """--a.b=c and --a.b c; the last one wins. Raises FlagError."""
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--") or flag == "--":
            raise FlagError(f'"{flag}" is no flag; flags are written --section.key=value, --help lists them')
        name, equals, value = flag[2:].partition("=")
        if not equals:
            if not rest:
                raise FlagError(f"{flag} has no value; write {flag}=VALUE")
            value = rest.pop(0)
        found[SHORT.get(name, name)] = value
    return found


def help_text(program: str, sections: Mapping[str, type[Section]]) -> str:
    lines = [f"Usage: {program} [--config=FILE] [--section.key=value …]", ""]
    for name, section in sections.items():
        lines += _described(name, section)
    return "\n".join([*lines, ""])


def _described(path: str, section: type[Section]) -> Iterator[str]:
    for info in fields(section):
        key = f"{path}.{info.encode_name}"
        described = types.type_info(info.type)
        meta = described if isinstance(described, types.Metadata) else None
        inner = getattr(info.type, "__origin__", info.type)
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _described(key, inner)
            continue
        extra = _texts(getattr(meta, "extra", None))
        schema = _texts(getattr(meta, "extra_json_schema", None))
        env = f" (environment {extra['env']})" if extra.get("env") else ""
        yield f"  --{key}{env}  {schema.get('description', '')}".rstrip()


def _texts(found: object) -> Mapping[str, str]:
    return cast("Mapping[str, str]", found or {})
