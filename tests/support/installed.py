"""What Helm would install of a chart: rendered by Helm itself, without a cluster."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edge_kube.harness.processes import tool


@dataclass(frozen=True)
class Installed:
    """The objects by kind and name, the notes, and what these call not used."""

    objects: dict[tuple[str, str], dict[str, Any]]
    notes: str

    @property
    def not_used(self) -> set[str]:
        lines = self.notes.splitlines()
        return {line[2:] for line in lines if line.startswith("  ") and " " not in line[2:]}

    def pod(self, name: str) -> dict[str, Any]:
        return self.objects["Deployment", name]["spec"]["template"]["spec"]


def installed(folder: Path, chart: Path, *trees: dict[str, Any], release: str = "platform") -> Installed:
    """trees: values, as files that are given one after the other."""
    command = [tool("helm"), "install", release, chart, "--namespace", "edge-system"]
    command += ["--dry-run=client", "--output", "json"]
    for number, tree in enumerate(trees):
        values = folder / f"values-{number}.yaml"
        values.write_text(json.dumps(tree))
        command += ["--values", str(values)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    found = [one for one in yaml.safe_load_all(made["manifest"]) if one]
    return Installed({(one["kind"], one["metadata"]["name"]): one for one in found}, made["info"]["notes"])
