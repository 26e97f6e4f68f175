"""What a ReverseProxy may say (G5, S17): paths, upstreams, rewrites, headers, cookies and links."""

import ipaddress
from typing import Any

import msgspec
import pytest

from edge.apiserver.reverse.cookies import sent_down, sent_up
from edge.apiserver.reverse.links import location, with_links
from edge.operate.addresses import literal, service_of, why_not
from edge.operate.matching import parse_matcher
from edge.operate.plan import plan_status
from edge.operate.rewriting import RewriteError, Rewriter, header_change
from edge.operate.rules import is_external, wrong_with
from edge.operate.types import Directives, Matcher, ReverseProxy


def proxy(path: str = "/shop/*", host: str = "shop", **more: Any) -> ReverseProxy:
    upstream = {"host": host, "port": 8080, "scheme": "http", **more.pop("upstream", {})}
    meta = {"name": "p", "namespace": "press", "creationTimestamp": "2026-01-01T00:00:00Z"}
    meta |= more.pop("metadata", {})
    spec = {"matcher": {"path": path, "method": more.pop("method", "")}, "upstream": upstream}
    spec["directives"] = more
    return msgspec.convert({"metadata": meta, "spec": spec}, ReverseProxy)


def fields(it: ReverseProxy) -> list[str]:
    return [one.field for one in wrong_with(it.spec)]


@pytest.mark.parametrize(
    "path",
    [
        "/api/*", "/apis/x/*", "/oauth/token", "/clusters/*", "/healthz", "/readyz", "/metrics", "/openapi/*",
        "/.well-known/*", "/docs/*", "/*", "*", "/oapis/*", "/kapis/*", "/oapis/iam/*", "/kapis/tenant/v1/*",
        "/oapis/iam.theriseunion.io/v1alpha1/*", "/oapis/apps/v1/*", "/oapis/rbac.authorization.k8s.io/v1/*",
        "/oapis/oauth/*", "/API/*", "/oapis*", "/oap*", "/a//b", "/a/../api/*", "/a/./b", "/%61pi/*", "/a b",
        "/a?x=1", "/a/*/b", "nothing", "", "/api", "/apifoo/*", "/OAPIS/monitoring.example.com/*", "/a/",
        "/oapis/audit.theriseunion.io/v1/*", "/Kapis/x.y/*",
    ],
)  # fmt: skip
def test_no_object_takes_a_path_of_the_gateway_or_an_ambiguous_one(path: str) -> None:
    assert "spec.matcher.path" in fields(proxy(path))


@pytest.mark.parametrize(
    "path",
    [
        "/grafana/*", "/grafana", "/oapis/monitoring.theriseunion.io/v1alpha1/*",
        "/oapis/device.vast.theriseunion.io/*", "/kapis/log.theriseunion.io/v1alpha1/*", "/a-b_c~d/1.2/*",
    ],
)  # fmt: skip
def test_paths_of_the_contract_are_taken(path: str) -> None:
    assert not fields(proxy(path))


def test_a_star_spans_segments_and_the_longest_literal_is_first() -> None:
    wide, narrow = parse_matcher(Matcher(path="/a/*")), parse_matcher(Matcher(path="/a/b/*"))
    exact = parse_matcher(Matcher(path="/a/b"))
    assert wide.takes("GET", ("a", "b", "c", "d"))
    assert narrow.takes("GET", ("a", "b", "c"))
    assert exact.takes("GET", ("a", "b"))
    assert not exact.takes("GET", ("a", "b", "c"))
    assert not wide.takes("GET", ("ab",))
    assert sorted([wide, exact, narrow], key=lambda one: one.rank) == [exact, narrow, wide]
    assert parse_matcher(Matcher(path="/a/*", method="get")).takes("HEAD", ("a", "x"))
    assert not parse_matcher(Matcher(path="/a/*", method="GET")).takes("POST", ("a", "x"))


def test_a_service_of_its_own_namespace_is_not_external_and_everything_else_is() -> None:
    for host in ("shop", "shop.press", "shop.press.svc", "shop.press.svc.cluster.local"):
        assert service_of(host, "press") == "shop"
        assert not is_external(proxy(host=host))
    for host in (
        "shop.other", "shop.other.svc", "shop.press.svc.evil.example", "shop.press.svc.cluster.local.",
        "10.0.0.1", "a.b.press.svc", "kubernetes.default.svc", "2130706433", "[::1]",
    ):  # fmt: skip
        assert not service_of(host, "press"), host


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "1.2.3",
        "0x7f.1",
        "1.2.3.4.",
        "a b",
        "",
        "a/b",
        "x@y",
    ],
)
def test_odd_spellings_of_addresses_are_refused(host: str) -> None:
    with pytest.raises(ValueError):
        literal(host)
    assert "spec.upstream.host" in fields(proxy(host=host))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.1.1", "fe80::1", "fd00:ec2::254", "0.0.0.0",  # noqa: S104
        "0.1.2.3", "::", "224.0.0.1",
        "ff02::1", "255.255.255.255", "::ffff:169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "127.0.0.1", "127.9.9.9", "::1", "100.100.100.200", "::7f00:1",
        "168.63.129.16", "192.0.0.192", "64:ff9b:1::a9fe:a9fe", "::ffff:0:a9fe:a9fe",
        "2001:0:4136:e378:8000:63bf:5601:5601",
    ],
)  # fmt: skip
def test_addresses_where_nothing_is_dialled(address: str) -> None:
    assert why_not(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["10.96.0.10", "192.168.1.1", "93.184.216.34", "2606:2800::1", "fd12::1"])
def test_addresses_of_clusters_and_of_the_world_are_dialled(address: str) -> None:
    assert not why_not(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("directives", "asked", "sent"),
    [
        (
            {"rewrite": [{"from": "^/oapis/m/v1/(.*)$", "to": "/rest/m/v1/$1"}]},
            "/oapis/m/v1/a/b",
            "/rest/m/v1/a/b",
        ),
        ({"rewrite": [{"from": "/x/([a-z]+)", "to": "/y/${1}1"}]}, "/x/abc", "/y/abc1"),
        ({"stripPathPrefix": "/shop", "stripPathSuffix": ".html"}, "/shop/a.html", "/a"),
        ({"stripPathPrefix": "/shop"}, "/shop", "/"),
        ({"replace": [{"from": "old", "to": "new"}]}, "/old/old", "/new/new"),
        ({}, "/shop/a/", "/shop/a/"),
    ],
)
def test_paths_are_rewritten(directives: dict[str, Any], asked: str, sent: str) -> None:
    assert Rewriter(msgspec.convert(directives, Directives)).path(asked) == sent


@pytest.mark.parametrize(
    "rule",
    [
        {"from": "(?=x)", "to": "/"}, {"from": "(", "to": "/"}, {"from": "(a)\\1", "to": "/"},
        {"from": "a", "to": "/$1"}, {"from": "a", "to": "/x?y=1"}, {"from": "", "to": "/"},
        {"from": "a", "to": "/\r\nx"}, {"from": "a{1000}{1000}", "to": "/"},
    ],
)  # fmt: skip
def test_patterns_that_are_not_res_are_refused(rule: dict[str, str]) -> None:
    assert any(one.startswith("spec.directives.rewrite[0]") for one in fields(proxy(rewrite=[rule])))


def test_a_rewrite_leads_to_no_odd_path_and_takes_no_time() -> None:
    up = Rewriter(msgspec.convert({"replace": [{"from": "x", "to": ".."}]}, Directives))
    with pytest.raises(RewriteError):
        up.path("/a/x/b")
    slow = Rewriter(msgspec.convert({"rewrite": [{"from": "(a+)+$", "to": "/"}]}, Directives))
    assert slow.path("/" + "a" * 5000 + "b").endswith("b")
    with pytest.raises(RewriteError, match="longer"):
        Rewriter(msgspec.convert({"replace": [{"from": "a", "to": "b" * 1000}]}, Directives)).path(
            "/" + "a" * 100
        )


@pytest.mark.parametrize(
    "text",
    [
        "Authorization Bearer x", "+authorization x", "-Authorization", "Cookie a=b", "Impersonate-User root",
        "impersonate-extra-x y", "X-Remote-User root", "X-Forwarded-For 1.1.1.1", "X-Edge-Identity x",
        "Connection close", "Upgrade h2c", "Transfer-Encoding chunked", "Content-Length 0", "TE trailers",
        "Host other.example", "-Host", "X: y\r\nZ: 1", "X_Remote_User root", "Name", "",
    ],
)  # fmt: skip
def test_no_directive_forges_a_request_header(text: str) -> None:
    assert "spec.directives.headerUp[0]" in fields(proxy(headerUp=[text]))


@pytest.mark.parametrize(
    "text", ["Set-Cookie a=b", "Clear-Site-Data x", "Connection x", "-X-Content-Type-Options"]
)
def test_no_directive_sets_what_holds_for_the_whole_address(text: str) -> None:
    assert "spec.directives.headerDown[0]" in fields(proxy(headerDown=[text]))


def test_what_directives_may_do() -> None:
    assert not fields(
        proxy(headerUp=["X-Tenant press", "+Accept x", "-Referer", "Host shop:8080"], headerDown=["-X"])
    )
    assert header_change("+X a b", up=True) == ("add", "X", "a b")


def test_the_older_of_two_is_active_and_the_younger_takes_over() -> None:
    old, young = proxy(), proxy(metadata={"name": "q", "creationTimestamp": "2026-01-02T00:00:00Z"})
    now = "2026-02-01T00:00:00Z"
    assert plan_status(old, [young], now).state == "Active"
    beaten = plan_status(young, [old], now)
    assert (beaten.state, beaten.last_update_time) == ("Conflict", now)
    assert "press/p" in beaten.message
    assert plan_status(young, [], now).state == "Active"
    assert plan_status(proxy("/api/*"), [], now).state == "Invalid"
    other = proxy(method="POST", metadata={"name": "q", "creationTimestamp": "2026-01-02T00:00:00Z"})
    assert plan_status(other, [proxy(method="GET")], now).state == "Active"


def test_the_platforms_cookies_stay_and_an_upstreams_keep_to_its_path() -> None:
    assert sent_up("edge_session=s; grafana=1; __Host-x=2; EDGE_refresh=3") == "grafana=1"
    assert sent_down("g=1; Domain=example.com; Path=/; HttpOnly", "/shop") == "g=1; HttpOnly; Path=/shop"
    for taken in ("edge_session=x", "__Secure-a=b", "=edge_session=x", "nothing"):
        assert sent_down(taken, "/shop") is None


def test_links_and_redirects_lead_back_through_the_path() -> None:
    page = b'<a href="/x"><img src=\'/shop/y\'><a href="//cdn/z"><a href="rel"><form action=/go>'
    assert with_links(page, "/shop") == (
        b'<a href="/shop/x"><img src=\'/shop/y\'><a href="//cdn/z"><a href="rel"><form action=/shop/go>'
    )
    assert location("http://shop:8080/login?a=1", "/shop", "shop", 8080) == "/shop/login?a=1"
    assert location("/login", "/shop", "shop", 8080) == "/shop/login"
    assert location("https://id.example.com/x", "/shop", "shop", 8080) == "https://id.example.com/x"
