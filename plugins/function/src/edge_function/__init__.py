"""Example provisioner: a function given as source text, served over HTTP."""

from edge_function.plugin import FunctionPlugin

__all__ = ["FunctionPlugin"]
