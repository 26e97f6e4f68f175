"""What tests of controllers need: a real API server in seconds, rooms running against it, planted faults."""

from edge_kube.harness.light import LightCluster

__all__ = ["LightCluster"]
