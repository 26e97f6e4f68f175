"""What the component engine can be told, besides where charts and Helm are."""

from edge_kube.meta import Model


class ComponentSettings(Model):
    """at_once: Helm runs at the same time (K6). backoff_base_s: wait after the first failed attempt, doubled
    with each further one, up to five minutes (K5)."""

    at_once: int = 3
    backoff_base_s: float = 10.0
