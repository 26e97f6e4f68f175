"""Types of the operate room: the ReverseProxy, with the fields of the contract. `make gen` makes its CRD."""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType, field

from edge_kube.crd import Column, Int32, resource
from edge_kube.crd import DateTime as Time
from edge_kube.meta import Model, Resource

GROUP: Final = "iam.theriseunion.io"


class Substitution(Model):
    from_: Annotated[str, Meta(description="What is looked for.")] = field(name="from")
    to: Annotated[str, Meta(description="What is put in its place.")]


class Directives(Model):
    """What is done to a request on its way up and to the answer on its way down."""

    auth_proxy: Annotated[
        bool | UnsetType, Meta(description="Tell the upstream who calls, in a signed token and in headers.")
    ] = UNSET
    header_up: Annotated[
        tuple[str, ...], Meta(description="Request headers: +Name value, -Name, Name value.")
    ] = ()
    header_down: Annotated[tuple[str, ...], Meta(description="Answer headers, written like headerUp.")] = ()
    method: Annotated[str, Meta(description="Method used towards the upstream; empty: the caller's.")] = ""
    rewrite: Annotated[tuple[Substitution, ...], Meta(description="Whole paths that are rewritten.")] = ()
    replace: Annotated[
        tuple[Substitution, ...], Meta(description="Parts of the path that are replaced.")
    ] = ()
    strip_path_prefix: Annotated[str, Meta(description="Taken from the front of the path.")] = ""
    strip_path_suffix: Annotated[str, Meta(description="Taken from the end of the path.")] = ""
    wrap_transport: Annotated[
        bool | UnsetType, Meta(description="Correct links in HTML answers to the proxy's own path.")
    ] = UNSET


class Matcher(Model):
    path: Annotated[str, Meta(description="Path the proxy answers; a trailing * matches every longer path.")]
    method: Annotated[str, Meta(description="Only this method; empty or *: every one.")] = ""


class Upstream(Model):
    host: Annotated[str, Meta(description="Host name or address requests go to.")]
    port: Annotated[Int32, Meta(description="Its port.")]
    scheme: Annotated[str, Meta(description="http or https.")]
    ca_bundle: Annotated[str, Meta(description="PEM certificates that the upstream's must chain to.")] = ""
    insecure_skip_verify: Annotated[
        bool | UnsetType, Meta(description="Do not check the upstream's certificate.")
    ] = UNSET


class ReverseProxySpec(Model):
    matcher: Annotated[Matcher, Meta(description="Which requests the proxy answers.")]
    upstream: Annotated[Upstream, Meta(description="Where they go.")]
    directives: Annotated[Directives, Meta(description="What is changed on the way.")] = Directives()


class ReverseProxyStatus(Model):
    state: Annotated[str, Meta(description="Active, Conflict or Invalid.")] = ""
    message: Annotated[str, Meta(description="Why, and what to do.")] = ""
    last_update_time: Annotated[Time | UnsetType, Meta(description="When the state last changed.")] = UNSET


NO_SPEC: Final = ReverseProxySpec(matcher=Matcher(path=""), upstream=Upstream(host="", port=0, scheme=""))


@resource(
    group=GROUP,
    version="v1alpha1",
    plural="reverseproxies",
    scope="Namespaced",
    categories=("edge",),
    columns=(
        Column("Host", ".spec.upstream.host"),
        Column("Port", ".spec.upstream.port", type="integer"),
        Column("Path", ".spec.matcher.path"),
        Column("State", ".status.state"),
        Column("Age", ".metadata.creationTimestamp", type="date"),
    ),
    status=True,
)
class ReverseProxy(Resource):
    """A path of the gateway that leads to a service elsewhere."""

    spec: ReverseProxySpec = NO_SPEC
    status: ReverseProxyStatus = ReverseProxyStatus()
