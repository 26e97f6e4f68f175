"""CEL expressions for the `conditions` and `going` of a webhook: what a request changes. Pure.

A condition that fails to evaluate refuses the request, so every field is asked for before it is read.
"""

from typing import Literal


def changes(where: Literal["labels", "annotations"], key: str) -> str:
    """Whether a label or annotation has another value than before; "" stands for one that is not there."""
    return f"{_noted('object', where, key)} != {_noted('oldObject', where, key)}"


def changes_spec() -> str:
    """Whether spec is another one than before."""
    both = "has(object.spec) && has(oldObject.spec)"
    return f"({both} ? object.spec != oldObject.spec : has(object.spec) != has(oldObject.spec))"


def _noted(obj: str, where: str, key: str) -> str:
    held = f"{obj} != null && has({obj}.metadata.{where}) && '{key}' in {obj}.metadata.{where}"
    return f"({held} ? {obj}.metadata.{where}['{key}'] : '')"
