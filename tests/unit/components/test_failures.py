"""Error classes of Helm 4.3.1, from its recorded outputs (CA 1.3), and the back-off (K5)."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.adapters.helm_masking import masked, secrets_in
from edge.components.failures import CLASSES, backoff_s, classify, readable

RECORDED = json.loads((Path(__file__).parent / "helm_outputs.json").read_text())
"""Standard error of Helm against a real API server, with the class that each has to fall into."""


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["stderr"][:40])
def test_recorded_outputs_fall_into_their_class(recorded: dict[str, str]) -> None:
    assert classify(recorded["stderr"]) == recorded["class"]
    assert recorded["class"] in CLASSES


def test_log_lines_that_repeat_the_error_are_left_out() -> None:
    stderr = 'level=WARN msg="upgrade failed" name=inv error="no"\nError: UPGRADE FAILED: no\nluck'
    assert readable(stderr) == "UPGRADE FAILED: no luck"
    assert len(readable("x" * 10_000)) == 2000


@given(st.integers(-5, 10_000))
def test_the_wait_doubles_up_to_five_minutes(attempt: int) -> None:
    assert 10 <= backoff_s(attempt) <= 300
    assert backoff_s(attempt + 1) == min(2 * backoff_s(attempt), 300) or attempt < 1


def test_the_first_waits_are_ten_twenty_and_forty_seconds() -> None:
    assert [backoff_s(n) for n in (1, 2, 3, 6)] == [10, 20, 40, 300]


def test_values_under_telling_names_are_masked_wherever_they_appear() -> None:
    values = {
        "db": {"password": "hunter22", "port": 5432},
        "list": [{"apiToken": "abcd1234"}],
        "name": "visible",
    }
    assert secrets_in(values) == {"hunter22", "abcd1234"}
    text = masked("cannot use hunter22 and abcd1234 for visible; Bearer xyz.abc", secrets_in(values))
    assert text == "cannot use *** and *** for visible; ***"
    assert masked("https://user:pa55@host/x", ()) == "https***host/x"
