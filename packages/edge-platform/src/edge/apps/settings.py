"""Settings of the application store, section `apps` of the controller's settings (R34)."""

import msgspec


class ReviewSettings(msgspec.Struct, frozen=True):
    """required: only approved and published versions are deployed; off in the embedded and minimal values."""

    required: bool = False


class AppsSettings(msgspec.Struct, frozen=True):
    review: ReviewSettings = msgspec.field(default_factory=ReviewSettings)
