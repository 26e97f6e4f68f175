"""Bringing image archives into an instance's containerd: each once, by the digest of its manifest."""

import json
import subprocess
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from edge.embedded import ociimage
from edge.embedded.instance import Instance, write_json
from edge.embedded.steps import StepError


class Loader:
    """What is loaded is remembered beside containerd's data, so a warm start reads no archive."""

    def __init__(self, instance: Instance, tools: Path) -> None:
        self._ctr = [str(tools / "ctr"), "-a", str(instance.containerd_socket), "-n", "k8s.io"]
        self._loaded_file = instance.at("images.json")

    def runtime_ready(self) -> bool:
        return subprocess.run([*self._ctr, "version"], capture_output=True, check=False).returncode == 0

    def missing(self, archives: Mapping[str, Path]) -> dict[str, Path]:
        """Those of `archives` (by image name) whose content is not loaded yet."""
        loaded = self._loaded()
        return {name: path for name, path in archives.items() if loaded.get(name) != ociimage.digest(path)}

    def load(self, archives: Mapping[str, Path]) -> None:
        """Import; a running pod keeps the image it was started with."""
        loaded = self._loaded()
        for name, path in archives.items():
            done = subprocess.run(
                # --local reads the archive itself: less than half the time of sending it through the daemon.
                [*self._ctr, "images", "import", "--local", str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise StepError(f"image {name} could not be loaded from {path}: {done.stderr.strip()}")
            loaded[name] = ociimage.digest(path)
            write_json(self._loaded_file, loaded)

    @contextmanager
    def loading(self, archives: Mapping[str, Path]) -> Generator[None]:
        """Load meanwhile; returns when all are loaded, and raises what went wrong with one."""
        with ThreadPoolExecutor(max_workers=1) as worker:
            job = worker.submit(self.load, self.missing(archives))
            yield
            job.result()

    def _loaded(self) -> dict[str, str]:
        try:
            return json.loads(self._loaded_file.read_text())
        except FileNotFoundError:
            return {}
