"""Types of the security room: Repository, in two groups of the same shape. Fields as in the contract.

`image.theriseunion.io` and `registry.theriseunion.io` both exist in the field; neither may disappear.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from edge_kube.crd import Column, Int64, resource
from edge_kube.crd import DateTime as Time
from edge_kube.meta import Model, Resource

IMAGE_GROUP: Final = "image.theriseunion.io"
REGISTRY_GROUP: Final = "registry.theriseunion.io"

COLUMNS: Final = (
    Column("Repository", ".spec.repository"),
    Column("Domain", ".status.domain"),
    Column("Artifacts", ".status.artifactCount", type="integer"),
    Column("LatestTag", ".status.latestTag"),
    Column("SyncStatus", ".status.syncStatus"),
    Column("Age", ".metadata.creationTimestamp", type="date"),
)


class DockerConfigSecretRef(Model):
    name: Annotated[
        str, Meta(description="Secret of type kubernetes.io/dockerconfigjson in the Repository's namespace.")
    ]


class RepositorySpec(Model):
    docker_config_secret_ref: Annotated[
        DockerConfigSecretRef, Meta(description="Credentials for the registry.")
    ]
    repository: Annotated[
        str, Meta(description="Repository with its registry: registry.example.com/team/app.")
    ]


class RepositoryStatus(Model):
    domain: Annotated[str, Meta(description="Host of the registry.")] = ""
    artifact_count: Annotated[Int64 | UnsetType, Meta(description="Tags found at the last look.")] = UNSET
    pull_count: Annotated[
        Int64 | UnsetType, Meta(description="Pulls counted by the registry, where it tells.")
    ] = UNSET
    latest_tag: Annotated[str, Meta(description="Newest tag.")] = ""
    last_synced: Annotated[Time | UnsetType, Meta(description="When the registry was last asked.")] = UNSET
    last_updated: Annotated[Time | UnsetType, Meta(description="When an artifact last changed.")] = UNSET
    sync_status: Annotated[str, Meta(description="State of the last look.")] = ""
    sync_message: Annotated[str, Meta(description="What went wrong at the last look, and what to do.")] = ""


NO_SPEC: Final = RepositorySpec(docker_config_secret_ref=DockerConfigSecretRef(name=""), repository="")


@resource(
    group=IMAGE_GROUP,
    version="v1alpha1",
    plural="repositories",
    scope="Namespaced",
    kind="Repository",
    short_names=("repo",),
    categories=("edge", "registry"),
    columns=COLUMNS,
    status=True,
)
class ImageRepository(Resource):
    """A repository of container images that a namespace uses, and what is in it."""

    spec: RepositorySpec = NO_SPEC
    status: RepositoryStatus = RepositoryStatus()


@resource(
    group=REGISTRY_GROUP,
    version="v1alpha1",
    plural="repositories",
    scope="Namespaced",
    kind="Repository",
    short_names=("repo",),
    categories=("edge", "registry"),
    columns=COLUMNS,
    status=True,
)
class RegistryRepository(Resource):
    """A repository of container images that a namespace uses, and what is in it."""

    spec: RepositorySpec = NO_SPEC
    status: RepositoryStatus = RepositoryStatus()
