"""Objects in files, as for kubectl: YAML or JSON, several in one file, - for standard input."""

import sys
from pathlib import Path
from typing import Any, cast

import msgspec
import yaml

from edge.cli.gateway import CommandError

Manifest = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Takes plain words for what kubectl takes them: 22:30 and 2026-01-31 are texts, not 1350 and a date."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        return node.value if ":" in node.value else super().construct_yaml_int(node)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> Any:
        return node.value if ":" in node.value else super().construct_yaml_float(node)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def objects_in(filename: str) -> list[Manifest]:
    """Lists are taken apart. Raises CommandError."""
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text()
        found = [one for one in yaml.load_all(text, _Loader) if one is not None]
        msgspec.json.encode(found)
    except RecursionError:
        raise CommandError(f"{filename} was not read: it is nested too deeply, or holds itself", 2) from None
    except TypeError:  # YAML reads `on:`, `yes:` and `~:` as no words
        raise CommandError(
            f'{filename} was not read: a key in it is no text; put quotes around it, as in "on"', 2
        ) from None
    except (OSError, ValueError, OverflowError, yaml.YAMLError) as error:  # a number or byte that is none
        raise CommandError(f"{filename} was not read: {error}", 2) from None
    apart = [one for each in found for one in _taken_apart(each)]
    if not apart or not all(_is_object(one) for one in apart):
        raise CommandError(f"{filename} holds no objects: write them as for kubectl apply", 2)
    return cast("list[Manifest]", apart)


def _is_object(one: Any) -> bool:
    """Its metadata are read before it is sent, so they must be some."""
    return isinstance(one, dict) and isinstance(cast("Manifest", one).get("metadata") or {}, dict)


def _taken_apart(one: Any) -> list[Any]:
    if not isinstance(one, dict):
        return [one]
    obj = cast("Manifest", one)
    if str(obj.get("kind", "")).endswith("List") and isinstance(obj.get("items"), list):
        return cast("list[Any]", obj["items"])
    return [obj]
