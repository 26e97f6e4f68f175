"""What tests of controllers need: a real API server in seconds, rooms running against it, planted faults."""

from edge_kube.harness.kube import Kube
from edge_kube.harness.light import LightCluster
from edge_kube.harness.mutation import MutationDetector

__all__ = ["Kube", "LightCluster", "MutationDetector"]
