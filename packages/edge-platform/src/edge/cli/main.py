"""`edge`: the platform from the command line.

    edge up | down | status | logs | clean | images | charts | tools     the embedded mode; so does `make`
    edge login                                                           sign in to a gateway
    edge auth can-i | why | who-can | impact                             rights, and the reasons for them
    edge kubeconfig [list | revoke]                                      a file for kubectl
    edge oauth-client create | list | rotate | delete                    programs that sign users in
    edge audit query | verify | export                                   who did what, and proof of it

The exit code is 0; 1 with a plain message, or for a "no"; 2 for a question that was not understood; 3 when
nothing runs; 130 when interrupted.
"""

import argparse
import sys
from collections.abc import Sequence

from edge.cli import audit, auth, kubeconfig, login, oauth_client
from edge.cli.gateway import CommandError
from edge.embedded import commands


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="edge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    commands.add_verbs(verbs.add_parser)
    login.add_verbs(verbs.add_parser)
    auth.add_verbs(verbs.add_parser)
    kubeconfig.add_verbs(verbs.add_parser)
    oauth_client.add_verbs(verbs.add_parser)
    audit.add_verbs(verbs.add_parser)
    given = parser.parse_args(argv)
    try:
        return given.run(given)
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.code
