"""The document as one HTML page, without scripts, fonts or anything from elsewhere: it works offline. Pure.

Every text is escaped, and the Content-Security-Policy lets nothing run but the one style sheet, by its hash.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final, cast

Json = Mapping[str, Any]

METHODS: Final = ("get", "post", "put", "patch", "delete")
STYLE: Final = """
:root{color-scheme:light dark;--line:#8886;--soft:#8881;--link:#0b57d0}
@media (prefers-color-scheme:dark){:root{--link:#8ab4f8}}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem}
a{color:var(--link)}code,pre,.path{font-family:ui-monospace,monospace;font-size:.9em}
nav ul{columns:3 16rem;list-style:none;padding:0}
details{border:1px solid var(--line);border-radius:4px;margin:.3rem 0}
summary{cursor:pointer;padding:.4rem .6rem;overflow-wrap:anywhere}
summary:focus-visible,a:focus-visible{outline:3px solid var(--link);outline-offset:1px}
details>div{padding:.2rem .8rem .8rem;border-top:1px solid var(--line)}
.method{display:inline-block;min-width:4.2em;font-weight:700}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}
"""
CSP: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(document: Json) -> str:
    return "".join(_page(document))


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    title = f"{escape(info['title'])} API"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body>"
    yield '<a class="skip" href="#main">To the operations</a>'
    yield f"<header><h1>{title}</h1><p>{escape(info['description'])}</p>"
    yield '<p><a href="openapi.json">openapi.json</a>, OpenAPI 3.1</p></header>'
    yield '<nav aria-label="Sections"><ul>'
    for tag in document["tags"]:
        yield f'<li><a href="#tag-{escape(tag["name"])}">{escape(tag["description"])}</a></li>'
    yield '<li><a href="#schemas">Types</a></li></ul></nav><main id="main">'
    for tag in document["tags"]:
        yield f'<section aria-labelledby="tag-{escape(tag["name"])}">'
        yield f'<h2 id="tag-{escape(tag["name"])}">{escape(tag["description"])}</h2>'
        for path, item in document["paths"].items():
            for method in METHODS:
                if method in item and tag["name"] in item[method]["tags"]:
                    yield from _operation(document, path, method, item)
        yield "</section>"
    yield '<section aria-labelledby="schemas"><h2 id="schemas">Types</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield from _schema(name, schema)
    yield "</section></main></body></html>\n"


def _operation(document: Json, path: str, method: str, item: Json) -> Iterator[str]:
    one: Json = item[method]
    yield f'<details id="{escape(one["operationId"])}"><summary><span class="method">{method.upper()}</span> '
    yield f'<span class="path">{escape(path)}</span> – {escape(one["summary"])}</summary><div>'
    if "description" in one:
        yield f"<p>{escape(one['description'])}</p>"
    if one.get("security") == []:
        yield "<p>Asked without a token.</p>"
    found = [*item.get("parameters", ()), *one.get("parameters", ())]
    if found:
        yield "<h3>Parameters</h3><table><tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr>"
        for given in found:
            param = _resolved(document, given)
            yield f"<tr><td><code>{escape(param['name'])}</code></td><td>{escape(param['in'])}</td>"
            yield f"<td>{_type(param['schema'])}</td><td>{escape(param.get('description', ''))}</td></tr>"
        yield "</table>"
    for kind, content in one.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body, <code>{escape(kind)}</code>: {_type(content['schema'])}</p>"
    yield "<h3>Answers</h3><table><tr><th>Status</th><th>Meaning</th><th>Body</th></tr>"
    for status, given in one["responses"].items():
        answer = _resolved(document, given)
        bodies = ", ".join(_type(content["schema"]) for content in answer.get("content", {}).values())
        yield f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td><td>{bodies}</td></tr>"
    yield "</table></div></details>"


def _resolved(document: Json, given: Json) -> Json:
    if "$ref" not in given:
        return given
    _, _, part, name = str(given["$ref"]).split("/")
    return cast("Json", document["components"][part][name])


def _schema(name: str, schema: Json) -> Iterator[str]:
    yield f'<details id="type-{escape(name)}"><summary><code>{escape(name)}</code>'
    yield f" – {escape(schema['description'])}" if "description" in schema else ""
    yield "</summary><div><table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>"
    for field, inner in schema.get("properties", {}).items():
        must = ", required" if field in schema.get("required", ()) else ""
        yield f"<tr><td><code>{escape(field)}</code></td><td>{_type(inner)}{must}</td>"
        yield f"<td>{escape(inner.get('description', ''))}</td></tr>"
    yield "</table></div></details>"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#type-{name}">{name}</a>'
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"map to {_type(schema['additionalProperties'])}"
    return escape(str(kind))
