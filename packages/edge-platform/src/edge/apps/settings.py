"""Settings of the application store, section `apps` of the controller's settings (R34)."""

from edge_sdk.settings import Section


class ReviewSettings(Section):
    """required: only approved and published versions are deployed; off in the embedded and minimal values."""

    required: bool = False


class AppsSettings(Section):
    review: ReviewSettings = ReviewSettings()
