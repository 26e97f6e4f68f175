"""No ghosts: the cache equals the API server after any mix of changes and faults (P1; R1–R7)."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.apiserver.edge_kube.cache_machine import CacheMachine

from edge_kube.harness import LightCluster


def test_the_cache_equals_the_server_after_any_mix_of_changes_and_faults(
    light_cluster: LightCluster,
) -> None:
    class Machine(CacheMachine):
        cluster = light_cluster

    profile = settings(
        max_examples=30,
        stateful_step_count=40,
        database=None,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
    run_state_machine_as_test(Machine, settings=profile)  # pyright: ignore[reportUnknownMemberType]
