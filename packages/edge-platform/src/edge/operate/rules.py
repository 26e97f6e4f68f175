"""What a ReverseProxy must be like to be carried out, field by field. Pure.

The same rules refuse an object at admission, say in the status why an older one is Invalid, and keep it out
of the gateway. Source: G5; design authorization-and-gateway §8.6.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from cryptography import x509

from edge.operate.addresses import literal, service_of, why_not
from edge.operate.matching import METHODS, MatcherError, parse_matcher
from edge.operate.rewriting import RewriteError, Rewriter, header_change, hosts_of
from edge.operate.types import Directives, ReverseProxy, ReverseProxySpec, Substitution, Upstream
from edge_sdk.problem import Violation

SCHEMES: Final = ("http", "https")
CA_MAX: Final = 256 * 1024
HEADER: Final = "+Name value, -Name or Name value"


def wrong_with(spec: ReverseProxySpec) -> list[Violation]:
    """Everything that is wrong; empty for a spec that can be carried out."""
    return [*_matcher(spec), *_upstream(spec.upstream), *_directives(spec)]


def is_external(proxy: ReverseProxy) -> bool:
    """Whether it leads to anything but a Service of its own namespace."""
    return not service_of(proxy.spec.upstream.host.lower(), proxy.metadata.namespace)


def _matcher(spec: ReverseProxySpec) -> Iterator[Violation]:
    try:
        parse_matcher(spec.matcher)
    except MatcherError as error:
        value = spec.matcher.method if error.field == "method" else spec.matcher.path
        yield Violation(f"spec.matcher.{error.field}", value, str(error), error.accepted)


def _upstream(upstream: Upstream) -> Iterator[Violation]:
    try:
        address = literal(upstream.host)
    except ValueError as error:
        yield Violation("spec.upstream.host", upstream.host, str(error), "NAME.NAMESPACE.svc")
    else:
        why = why_not(address, loopback_allowed=True) if address is not None else ""
        if why:
            yield Violation("spec.upstream.host", upstream.host, why, "NAME.NAMESPACE.svc")
    if not 0 < upstream.port < 65536:
        yield Violation("spec.upstream.port", upstream.port, "it is no port", "1 to 65535")
    if upstream.scheme not in SCHEMES:
        yield Violation("spec.upstream.scheme", upstream.scheme, "it is not known here", SCHEMES)
    if upstream.ca_bundle:
        yield from _ca(upstream)


def _ca(upstream: Upstream) -> Iterator[Violation]:
    if upstream.scheme == "http":
        yield Violation("spec.upstream.caBundle", "…", "http has no certificates", "scheme https")
    try:
        found = x509.load_pem_x509_certificates(upstream.ca_bundle[:CA_MAX].encode())
    except ValueError:
        found = []
    if not found:
        yield Violation("spec.upstream.caBundle", "…", "it has no certificate", "certificates in PEM")


def _directives(spec: ReverseProxySpec) -> Iterator[Violation]:
    directives = spec.directives
    if directives.method and directives.method.upper() not in METHODS:
        yield Violation("spec.directives.method", directives.method, "is no method", sorted(METHODS))
    yield from _rewrites(directives)
    hosts = hosts_of(spec.upstream.host, spec.upstream.port)
    lists = (("headerUp", directives.header_up, True), ("headerDown", directives.header_down, False))
    for field, texts, up in lists:
        for number, text in enumerate(texts):
            try:
                header_change(text, up=up, hosts=hosts)
            except RewriteError as error:
                name = text.split(" ", 1)[0]  # a value may be a password
                yield Violation(f"spec.directives.{field}[{number}]", name, str(error), HEADER)


def _rewrites(directives: Directives) -> Iterator[Violation]:
    try:
        Rewriter(directives)
    except RewriteError:
        pass
    else:
        return
    fields: Sequence[tuple[str, tuple[Substitution, ...]]] = (
        ("rewrite", directives.rewrite),
        ("replace", directives.replace),
    )
    told = False
    for field, rules in fields:
        for number, rule in enumerate(rules):
            alone = Directives(rewrite=(rule,)) if field == "rewrite" else Directives(replace=(rule,))
            try:
                Rewriter(alone)
            except RewriteError as error:
                told = True
                accepted = "RE2 in `from`, $1 in `to`" if field == "rewrite" else "plain text"
                yield Violation(f"spec.directives.{field}[{number}]", rule.from_, str(error), accepted)
    if not told:
        yield Violation("spec.directives", "rewrite, replace", "there are too many rules", "50 together")
