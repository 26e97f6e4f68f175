"""From the document's operations to the methods of edge_sdk/client/calls.py and the table in kinds.py."""

import builtins
import re

from tools.openapigen.models import HEADER, Json, Types, snake

MUST_READ_AS_TEXT = ("text/plain", "text/html")
METHODS = ("get", "post", "put", "patch", "delete")


def calls(document: Json, types: Types) -> str:
    """The gateway's own operations; those of kinds are `Objects`, and Kubernetes' are `Http.call`."""
    methods = [
        _method(document, path, method, item, types)
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item and _is_call(item[method])
    ]
    body = (
        "class Calls:\n"
        '    """The gateway\'s own operations. All raise CallError."""\n\n'
        "    def __init__(self, http: Http) -> None:\n        self._http = http\n\n" + "\n".join(methods)
    )
    imports = types.imports(body, "") + "from edge_sdk.client.http import Http, at\n"
    imports += "from collections.abc import Sequence\n" if "Sequence[" in body else ""
    return HEADER.format(about="The gateway's own operations, one method each.") + imports + "\n\n" + body


def _is_call(one: Json) -> bool:
    """A page for people is no call, and neither is a socket."""
    if "x-edge-kind" in one or "kubernetes" in one["tags"]:
        return False
    good = _good(one)
    return good is not None and "text/html" not in good.get("content", {})


def _good(one: Json) -> Json | None:
    return next((answer for status, answer in one["responses"].items() if status.startswith("2")), None)


def kinds(document: Json, types: Types) -> str:
    found: list[tuple[str, str, Json]] = []
    for name, schema in document["components"]["schemas"].items():
        if "x-edge-kind" in schema:
            found.append((_attribute(name, schema["x-edge-kind"]), name, schema["x-edge-kind"]))
    lines = [
        "class Kinds:",
        '    """The platform\'s objects."""\n',
        "    def __init__(self, http: Http) -> None:",
    ]
    lines += [f"        self.{attribute} = Objects(http, {name})" for attribute, name, _ in sorted(found)]
    table = ["\n\nKINDS: Final[tuple[KindInfo, ...]] = ("]
    table += [f"    {_info(kind)}," for _, _, kind in sorted(found, key=lambda one: one[0])]
    body = "\n".join([*lines, *table, ")\n"])
    imports = types.imports("\n".join(lines), "")
    imports += "from typing import Final\nfrom edge_sdk.client.http import Http\n"
    imports += "from edge_sdk.client.kindinfo import ColumnInfo, KindInfo\n"
    imports += "from edge_sdk.client.objects import Objects\n"
    return (
        HEADER.format(about="The platform's kinds: how to reach them, and what tables show.")
        + imports
        + "\n\n"
        + body
    )


def _attribute(name: str, kind: Json) -> str:
    return (
        snake(f"{name.removesuffix('Repository')}Repositories")
        if kind["kind"] == "Repository"
        else kind["plural"]
    )


def _info(kind: Json) -> str:
    columns = ", ".join(
        f"ColumnInfo({one['name']!r}, {one['path']!r}, {one['type']!r}, wide={one['wide']})"
        for one in kind.get("columns", ())
    )
    names = tuple(kind.get("shortNames", ()))
    where = ", ".join(repr(kind[key]) for key in ("group", "version", "kind", "plural", "namespaced"))
    return f"KindInfo({where}, {names!r}, ({columns}{',' if columns else ''}))"


def _method(document: Json, path: str, method: str, item: Json, types: Types) -> str:
    one: Json = item[method]
    names = [param["name"] for param in item.get("parameters", ())]
    query = [_resolved(document, param) for param in one.get("parameters", ())]
    answer, text = _answer(one, types)
    arguments = [f"{argument(name)}: str" for name in names]
    options: list[str] = []
    if body := one.get("requestBody"):
        media, content = next(iter(body["content"].items()))
        arguments.append(f"body: {types.python(content['schema'])}")
        options += ["body=body", *([f'body_as="{media}"'] if media != "application/json" else [])]
    if query:
        arguments += ["*", *(_argument(param, types) for param in query)]
        pairs = ", ".join(f'"{param["name"]}": {argument(param["name"])}' for param in query)
        options.append(f"query={{{pairs}}}")
    if text:
        options.append('headers={"Accept": "*/*"}')
    where = f'"{path}"'
    if names:
        where = f'at("{re.sub(r"{[^}]+}", "{}", path)}", {", ".join(argument(name) for name in names)})'
    head = ", ".join(["self", *arguments])
    given = ", ".join([f'"{method.upper()}"', where, answer, *options])
    return (
        f"    async def {snake(one['operationId'])}({head}) -> {answer}:\n"
        f'        """{one["summary"]}."""\n'
        f"        return await self._http.call({given})\n"
    )


def _answer(one: Json, types: Types) -> tuple[str, bool]:
    good = _good(one) or {}
    for media, content in good.get("content", {}).items():
        return types.python(content["schema"]), media in MUST_READ_AS_TEXT
    return "Any", False


def argument(name: str) -> str:
    """Name of an argument: none that Python's own functions have."""
    found = snake(name)
    return f"{found}_" if hasattr(builtins, found) else found


def _argument(param: Json, types: Types) -> str:
    name, schema = argument(param["name"]), param["schema"]
    if schema.get("type") == "array":
        return f"{name}: Sequence[{types.python(schema['items'])}] = ()"
    kind = types.python(schema)
    zero = {"str": '""', "int": "0", "bool": "False"}.get(kind, "None")
    if kind == "int":
        return f"{name}: int | None = None"
    return f"{name}: {kind}" if param.get("required") else f"{name}: {kind} = {zero}"


def _resolved(document: Json, given: Json) -> Json:
    if "$ref" not in given:
        return given
    return document["components"]["parameters"][str(given["$ref"]).rpartition("/")[2]]
