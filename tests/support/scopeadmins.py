"""What the chart gives natively to those who look after one scope; without Helm."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from edge_kube.meta import Manifest

_CHART: Final = Path(__file__).parents[2] / "charts/edge-controller/templates/scope-administrators.yaml"


def native_rights() -> Iterator[Manifest]:
    """The ClusterRole and its binding, without the chart's own labels."""
    text = "".join(line for line in _CHART.read_text().splitlines(keepends=True) if "{{" not in line)
    yield from yaml.safe_load_all(text)
