"""A changed edge.yaml: the log level is taken up, the rest is named, nonsense changes nothing (G6)."""

from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import CapturingLoggerFactory

from edge.apiserver.configuration.reading import read_settings
from edge.apiserver.configuration.settings import GatewaySettings
from edge.apiserver.configuration.settingsfile import SettingsFile
from edge_sdk.logs import configure_logs, set_log_level


class Following:
    def __init__(self, folder: Path, text: str, **environ: str) -> None:
        self.file = folder / "edge.yaml"
        self.levels: list[str] = []
        self._environ = environ
        self.file.write_text(text)
        self.subject = SettingsFile(self.file, self.read(), self.read, self.levels.append)

    def read(self) -> GatewaySettings:
        return read_settings(file=self.file, environ=self._environ, flags={})

    def now(self, text: str) -> list[dict[str, Any]]:
        """What is logged when the file becomes this."""
        self.file.write_text(text)
        with structlog.testing.capture_logs() as logged:
            self.subject.look()
            self.subject.look()  # nothing is said twice
        return [dict(one) for one in logged]


def test_a_log_level_is_taken_up_and_nothing_is_said_of_what_stayed(tmp_path: Path) -> None:
    following = Following(tmp_path, "log: {level: info}")
    (said,) = following.now("log: {level: debug}")
    assert (said["event"], said["level"]) == ("log_level_changed", "debug")
    assert following.levels == ["debug"]
    assert following.now("log: {level: debug}\n") == []


def test_other_changes_are_named_as_waiting_for_a_restart(tmp_path: Path) -> None:
    following = Following(tmp_path, "rateLimit: {qps: 100}")
    (said,) = following.now("rateLimit: {qps: 200}\nserver: {tls: {port: 9443}}")
    assert said["event"] == "settings_wait_for_restart"
    assert said["keys"] == ["rateLimit.qps", "server.tls.port"]


def test_a_file_that_is_wrong_changes_nothing_and_says_all_that_is_wrong(tmp_path: Path) -> None:
    following = Following(tmp_path, "log: {level: info}")
    (said,) = following.now("log: {level: loud}\nnonsense: 1")
    assert said["event"] == "settings_not_taken"
    assert "log.level" in said["error"]
    assert "nonsense" in said["error"]
    assert following.levels == []
    following.file.unlink()
    following.subject.look()  # a ConfigMap that is being swapped
    assert [one["event"] for one in following.now("log: {level: warn}")] == ["log_level_changed"]


def test_the_environment_still_wins_over_the_changed_file(tmp_path: Path) -> None:
    following = Following(tmp_path, "log: {level: info}", LOG_LEVEL="error")
    assert following.now("log: {level: debug}") == []
    assert following.levels == []


def test_loggers_that_were_used_before_follow_the_new_level(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    try:
        configure_logs("info", "json")
        factory = CapturingLoggerFactory()
        structlog.configure(logger_factory=factory)
        log = structlog.stdlib.get_logger("edge.test")
        log.debug("hidden")
        set_log_level("debug")
        log.debug("shown")
        set_log_level("error")
        log.warning("hidden")
        assert [("shown" in str(call.args), len(factory.logger.calls)) for call in factory.logger.calls] == [
            (True, 1)
        ]
    finally:
        structlog.configure(**before)
