"""The plugin against the platform's conformance tests: `pytest test_motd_plugin.py`."""

from motd_plugin import MotdPlugin

from edge_sdk.provisioner import Version
from edge_sdk.testing import ProvisionerConformance


def version(**config: object) -> Version:
    return Version(application="motd", version="1.0.0", spec={"config": config})


class TestMotdPlugin(ProvisionerConformance):
    plugin = MotdPlugin
    good = (version(text="Closed for repairs until noon."),)
    bad = (version(), version(text=""), version(text=5))
