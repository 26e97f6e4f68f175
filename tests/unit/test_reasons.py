"""Every reason that a node group or a deployment can show is explained to users (N1, A5)."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "applications.md").read_text()
CODE = (
    *(ROOT / "packages/edge-platform/src/edge/nodes").rglob("*.py"),
    *(ROOT / "packages/edge-platform/src/edge/apps").rglob("*.py"),
    ROOT / "packages/edge-sdk/src/edge_sdk/workload_status.py",
)
REASON = re.compile(r"[A-Z][a-z]+([A-Z][a-z]+)+")
# Words of Kubernetes and of our kinds that are written the same way, and are no reasons.
WORDS = frozenset(
    {
        *("StatefulSet", "DaemonSet", "ConfigMap", "NodeGroup", "ApplicationDeployment", "ExternalName"),
        *("NotIn", "DoesNotExist", "NoSchedule", "PreferNoSchedule", "NoExecute", "PodScheduled"),
        *("UpdateAvailable", "OrderedReady", "DisplayName", "ReviewPhase", "ReviewTime", "ErrImagePull"),
    }
)


def literals(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and REASON.fullmatch(node.value)
    }


def test_every_reason_has_a_line_on_the_page() -> None:
    reasons = set[str]().union(*(literals(path) for path in CODE)) - WORDS
    assert len(reasons) > 40, "the search finds too little; has the code moved?"
    assert {reason for reason in reasons if f"`{reason}`" not in PAGE} == set()
