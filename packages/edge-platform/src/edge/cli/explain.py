"""`edge explain KIND[.FIELD…]`: what a field is for, from the gateway's OpenAPI document.

edge explain cluster
edge explain cluster.spec.connection
"""

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, cast

from edge.cli import kinds, output
from edge.cli.gateway import CommandError, add_flags, connected
from edge.embedded.commands import AddVerb

Json = Mapping[str, Any]


def add_verbs(add: AddVerb) -> None:
    parser = add("explain", help="what the fields of a kind are for")
    parser.add_argument("path", metavar="KIND[.FIELD…]")
    output.add_output(parser)
    add_flags(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Raises CommandError."""
    parts = given.path.split(".")
    place, word, fields = None, "", list[str]()
    for count in range(len(parts), 0, -1):  # the longest first: repositories.image.theriseunion.io.spec
        word, fields = ".".join(parts[:count]), parts[count:]
        place = kinds.known(word)
        if place is not None:
            break
    if place is None:
        known = ", ".join(kinds.words())
        raise CommandError(f'The platform has no kind "{word}". Known: {known}.', 2)
    document = connected(given, lambda edge: edge.calls.get_openapi(), signed_in=False)
    schemas: dict[str, Json] = document["components"]["schemas"]
    schema = next(
        (
            one
            for one in schemas.values()
            if (about := one.get("x-edge-kind"))
            and (about["group"], about["plural"]) == (place.group, place.plural)
        ),
        None,
    )
    if schema is None:
        raise CommandError(f"This gateway knows no {place.plural} yet: it is older than this program.")
    for at, field in enumerate(fields):
        inner = _inside(schema, schemas)
        found = inner.get("properties", {}).get(field)
        if found is None:
            where = ".".join([word, *fields[:at]])
            has = ", ".join(inner.get("properties", ())) or "none: what is in it is free"
            raise CommandError(f'{where} has no field "{field}". It has {has}.', 2)
        schema = found
    _show(given, place, [word, *fields], schema, schemas)
    return 0


def _show(
    given: argparse.Namespace, place: kinds.Place, path: list[str], schema: Json, schemas: dict[str, Json]
) -> None:
    inner = _inside(schema, schemas)
    fields: dict[str, Json] = inner.get("properties", {})
    if not output.is_for_people(given):
        output.show(given, {**inner, **schema}, [".".join([*path, name]) for name in fields])
        return
    print(f"{place.kind}, {place.base.removeprefix('/oapis/')}: {'.'.join(path)} <{_type(schema, schemas)}>")
    print("\n".join(_wrapped(schema.get("description") or inner.get("description", ""), "  ")))
    for name, field in fields.items():
        must = ", required" if name in inner.get("required", ()) else ""
        default = f", default {field['default']}" if "default" in field else ""
        print(f"\n  {name} <{_type(field, schemas)}>{must}{default}")
        print(
            "\n".join(
                _wrapped(field.get("description") or _inside(field, schemas).get("description", ""), "    ")
            )
        )


def _wrapped(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(text or "(not described)", 100, initial_indent=indent, subsequent_indent=indent)


def _inside(schema: Json, schemas: dict[str, Json]) -> Json:
    """What fields are looked up in: of a list or a map, its items."""
    while True:
        if "$ref" in schema:
            schema = schemas[str(schema["$ref"]).rpartition("/")[2]]
        elif schema.get("type") == "array":
            schema = cast("Json", schema.get("items", {}))
        elif isinstance(schema.get("additionalProperties"), Mapping):
            schema = cast("Json", schema["additionalProperties"])
        else:
            return schema


def _type(schema: Json, schemas: dict[str, Json]) -> str:
    if "$ref" in schema:
        return "object"
    if "enum" in schema:
        return "|".join(str(one) for one in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(one, schemas) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), schemas)}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"map to {_type(schema['additionalProperties'], schemas)}"
    return str(schema.get("type", "anything"))
