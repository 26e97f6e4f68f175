"""CEL expressions for the `conditions` and `going` of a webhook: what a request changes. Pure.

A condition that fails to evaluate refuses the request, so every field is asked for before it is read.
"""

from typing import Literal


def changes(where: Literal["labels", "annotations"], key: str) -> str:
    """Whether a label or annotation has another value than before; "" stands for one that is not there."""
    return f"{_noted('object', where, key)} != {_noted('oldObject', where, key)}"


def changes_keys(prefix: str) -> str:
    """Whether a label whose key begins so comes or goes."""
    new, old = _labels("object"), _labels("oldObject")
    came = f"{new}.exists(k, k.startsWith('{prefix}') && !(k in {old}))"
    went = f"{old}.exists(k, k.startsWith('{prefix}') && !(k in {new}))"
    return f"({came} || {went})"


def changes_spec() -> str:
    """Whether spec is another one than before."""
    both = "has(object.spec) && has(oldObject.spec)"
    return f"({both} ? object.spec != oldObject.spec : has(object.spec) != has(oldObject.spec))"


def _labels(obj: str) -> str:
    return f"({obj} != null && has({obj}.metadata.labels) ? {obj}.metadata.labels : {{}})"


def _noted(obj: str, where: str, key: str) -> str:
    held = f"{obj} != null && has({obj}.metadata.{where}) && '{key}' in {obj}.metadata.{where}"
    return f"({held} ? {obj}.metadata.{where}['{key}'] : '')"
