"""Time for machines that are busy with other tests.

A process that gets no turn for some seconds is rare where the platform runs; it answers 503 there, or a
refused admission that says to try again. It is common where three suites share two cores, and a test would
fail for it. So what waits for proof, or for us, waits longer here; tests of these very bounds set them back.
"""

from typing import Final

import pytest

from edge.iam import beats, freshness
from edge_kube import webhook, webhookconfig

PROOF_S: Final = 1.5
"""Where no proof can come, and a test need not wait long for that."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beats, "WITHIN_S", 30.0)
    monkeypatch.setattr(freshness, "WAITED_MAX_S", 40.0)
    monkeypatch.setattr(webhook, "ANSWER_WITHIN_S", 25.0)
    monkeypatch.setattr(webhook, "WARN_WITHIN_S", 20.0)
    monkeypatch.setattr(webhookconfig, "TIMEOUT_S", 30)  # the most that an API server takes
