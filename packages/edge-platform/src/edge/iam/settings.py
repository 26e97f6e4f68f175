"""What the installation says about its first administrator; section `admin` of the controller's file."""

from typing import Annotated

from edge_sdk.secret import Secret
from edge_sdk.settings import Section, setting


class AdminSettings(Section):
    enabled: Annotated[bool, setting("Whether a first administrator is made.", env="ADMIN_ENABLED")] = True
    username: Annotated[str, setting("Name of that user.", env="ADMIN_USERNAME")] = "admin"
    password: Annotated[
        Secret, setting("Its first password, or a bcrypt hash; never set again.", env="ADMIN_PASSWORD")
    ] = Secret("P@88w0rd")
