"""Where things lie: the checkout, the cache that clones share, the state of instances.

Every folder can be moved by an environment variable, read at each call so that tests can.
"""

import os
from pathlib import Path


def checkout() -> Path:
    """The source tree with `tools/`, `images/` and `charts/` (EDGE_HOME, else found from this file)."""
    if given := os.environ.get("EDGE_HOME"):
        return Path(given).resolve()
    for folder in Path(__file__).resolve().parents:
        if (folder / "tools" / "tools.toml").exists():
            return folder
    raise FileNotFoundError(
        "the source tree was not found: embedded mode builds its tools and images from it; "
        "set EDGE_HOME to a checkout of Edge Platform"
    )


def cache() -> Path:
    """Built tools, image layers and archives, each under a key of its inputs; safe to delete."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "edge-platform"


def state() -> Path:
    """Data of instances; survives `down`, dropped by `clean` (EDGE_STATE, default /var/lib/edge-platform)."""
    return Path(os.environ.get("EDGE_STATE") or "/var/lib/edge-platform")
