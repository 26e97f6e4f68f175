"""The museum's settings are ChartMuseum's environment variables (K11, WP 18.1.7)."""

from pathlib import Path

import pytest

from edge.museum.settings import BadSetting, from_environment


def test_the_documented_values_work_as_written() -> None:
    read = from_environment(
        {"STORAGE": "local", "STORAGE_LOCAL_ROOTDIR": "/charts", "DISABLE_API": "false",
         "ALLOW_OVERWRITE": "true", "CONTEXT_PATH": "/", "PATH": "/bin"}
    )  # fmt: skip
    assert (read.storage_local_rootdir, read.disable_api, read.allow_overwrite) == (
        Path("/charts"),
        False,
        True,
    )
    assert read.context_path == ""
    assert read.port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORAGE", "amazon"),
        ("CACHE", "redis"),
        ("BEARER_AUTH", "true"),
        ("STORAGE_AMAZON_BUCKET", "charts"),
        ("DISABLE_API", "maybe"),
        ("PORT", "eighty"),
        ("DEPTH", "-1"),
        ("TLS_CERT", "/tls/tls.crt"),
        ("BASIC_AUTH_USER", "admin"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_named_at_start(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        from_environment({name: value})


def test_a_setting_that_is_switched_off_does_no_harm() -> None:
    assert (
        from_environment(
            {"BEARER_AUTH": "false", "DISABLE_METRICS": "true", "ENABLE_METRICS": "true"}
        ).enable_metrics
        is False
    )
