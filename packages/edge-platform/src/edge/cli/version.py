"""`edge version`: of this program, and of the gateway where one answers."""

import argparse
from importlib.metadata import version

import msgspec

from edge.cli import output
from edge.cli.gateway import CommandError, add_flags, connected, server_of
from edge.embedded.commands import AddVerb


def add_verbs(add: AddVerb) -> None:
    parser = add("version", help="of this program and of the gateway")
    parser.add_argument("--client", action="store_true", help="ask no gateway")
    output.add_output(parser)
    add_flags(parser, token=False)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Tells its own version even when no gateway answers. Raises CommandError."""
    own = f"v{version('edge-platform')}"
    found: dict[str, object] = {"client": own}
    lines = [f"edge {own}"]
    error: CommandError | None = None
    if not given.client:
        try:
            server = connected(given, lambda edge: edge.calls.get_version(), signed_in=False)
            found["server"] = msgspec.to_builtins(server)
            lines.append(f"gateway {server.version} at {server_of(given)}")
            lines.append(f"Kubernetes {server.kubernetes.git_version or 'not known yet'}")
        except CommandError as raised:
            error = raised
    if output.is_for_people(given):
        print("\n".join(lines))
    else:
        output.show(given, found, [own])
    if error is not None:
        raise error
    return 0
