"""The tests of a file share what the iam room ships."""

from tests.support.shipped import kube, shipped_goes

__all__ = ["kube", "shipped_goes"]
