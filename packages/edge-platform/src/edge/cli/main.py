"""`edge`: the platform from the command line.

    edge up | down | status | logs | clean | images | charts | tools     the embedded mode; so does `make`
    edge login | logout | version | completion                           sign in; about itself
    edge sessions [list | end]                                           what is signed in where
    edge get | apply | delete | explain                                  objects of all clusters
    edge auth can-i | why | who-can | impact                             rights, and the reasons for them
    edge kubeconfig [list | revoke]                                      a file for kubectl
    edge oauth-client create | list | set | rotate | delete              programs that sign users in
    edge audit query | verify | export                                   who did what, and proof of it

The exit code is 0; 1 with a plain message, or for a "no"; 2 for a question that was not understood; 3 when
nothing runs; 130 when interrupted.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from edge.cli import (
    apply,
    audit,
    auth,
    completion,
    explain,
    get,
    kubeconfig,
    login,
    oauth_client,
    output,
    sessions,
    version,
)
from edge.cli.gateway import CommandError
from edge.embedded import commands

PLAIN: Final = argparse.RawDescriptionHelpFormatter


def build() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge", description=__doc__, formatter_class=PLAIN)
    verbs = parser.add_subparsers(dest="verb", required=True)
    commands.add_verbs(verbs.add_parser)
    for one in (
        login, get, apply, explain, auth, kubeconfig, sessions, oauth_client, audit, version, completion,
    ):  # fmt: skip
        one.add_verbs(partial(verbs.add_parser, description=one.__doc__, formatter_class=PLAIN))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a sign that is in a name or in a help
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(words)
        finally:
            if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison] - `>&-` closes it
                sys.stdout.flush()
    except BrokenPipeError:  # `edge get users | head`: the reader has seen enough
        _no_more_output()
        return 0
    except OSError as error:  # a full disk behind the output: what comes of the network is a CommandError
        _no_more_output()
        where = f" ({error.filename})" if error.filename else ""
        print(f"edge stopped: {error.strerror or error}{where}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(words: list[str]) -> int:
    parser = build()
    if words[:1] == [completion.HIDDEN]:
        return completion.complete(parser, words[1:])
    if any(not _is_text(word) for word in words):
        print(
            "An argument is not UTF-8: names of objects are, and names of files must be here.",
            file=sys.stderr,
        )
        return 2
    given = parser.parse_args(words)
    try:
        return given.run(given)
    except CommandError as error:
        output.tell(str(error), aside=True)
        return error.code


def _is_text(word: str) -> bool:
    """Bytes that are no UTF-8 come as lone surrogates."""
    return not any("\ud800" <= sign <= "\udfff" for sign in word)


def _no_more_output() -> None:
    """What is still in the buffer must not fail again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
