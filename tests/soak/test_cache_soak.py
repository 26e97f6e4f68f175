"""The cache's property test for long: also with real compaction and server restarts (P1, R9)."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.apiserver.edge_kube.cache_machine import CacheMachine

from edge_kube.harness import LightCluster


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_the_cache_equals_the_server_for_an_hour() -> None:
    with LightCluster() as own:

        class Machine(CacheMachine):
            cluster = own
            with_server_faults = True

        profile = settings(
            max_examples=1000,
            stateful_step_count=80,
            database=None,
            suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
        )
        run_state_machine_as_test(Machine, settings=profile)  # pyright: ignore[reportUnknownMemberType]
