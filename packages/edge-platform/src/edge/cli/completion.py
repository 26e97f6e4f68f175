"""`edge completion bash|zsh|fish`: a script for the shell, and the answers that the script asks for.

source <(edge completion bash)
"""

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, cast

from edge.cli import kinds
from edge.cli.gateway import CommandError, connected
from edge.embedded.commands import AddVerb
from edge_sdk.client import EdgeClient

HIDDEN: Final = "__complete"
NAMES_MAX: Final = 200
# Names come from objects that anybody may have made: no shell may take one for a command. So bash gets them
# quoted, and never through `compgen -W`, which carries out what is in them.
SCRIPTS: Final = {
    "bash": """_edge() {
    COMPREPLY=()
    local one
    while IFS= read -r one; do
        COMPREPLY+=("$(printf %q "$one")")
    done < <(edge __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _edge edge
""",
    "zsh": """#compdef edge
_edge() {
    local -a found
    found=(${(f)"$(edge __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    compadd -a found || _files
}
if [[ $funcstack[1] = _edge ]]; then
    _edge "$@"
else
    compdef _edge edge
fi
""",
    "fish": """function __edge
    set -l found (edge __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c edge -f -a '(__edge)'
""",
}


def add_verbs(add: AddVerb) -> None:
    parser = add("completion", help="a script that completes verbs, kinds and names in your shell")
    parser.add_argument("shell", choices=tuple(SCRIPTS))
    parser.set_defaults(run=_script)


def _script(given: argparse.Namespace) -> int:
    print(SCRIPTS[given.shell], end="")
    return 0


def complete(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """words: of the command line, the last one unfinished. Prints one candidate a line."""
    *before, last = words or [""]
    for one in _candidates(parser, before, last):
        if one.startswith(last):
            print(one)
    return 0


def _candidates(parser: argparse.ArgumentParser, before: Sequence[str], last: str) -> Iterator[str]:
    plain: list[str] = []
    skip = False
    for word in before:
        verbs = _verbs(parser)
        if skip:
            skip = False
        elif word in verbs:
            parser = verbs[word]
        elif word.startswith("-"):
            skip = _takes_value(parser, word)
        else:
            plain.append(word)
    if last.startswith("-"):
        for action in _actions(parser):
            yield from action.option_strings
        return
    if skip:
        yield from _choices(parser, before[-1])
        return
    yield from (name for name in _verbs(parser) if not name.startswith("_"))
    if parser.prog.rpartition(" ")[2] in ("get", "delete", "explain"):
        yield from kinds.words() if not plain else _names(plain[0], before)
    for action in _actions(parser):
        if not action.option_strings and action.choices and not isinstance(action.choices, dict):
            yield from map(str, action.choices)


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in _actions(parser):
        if isinstance(action.choices, dict):
            return cast("dict[str, argparse.ArgumentParser]", action.choices)
    return {}


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """argparse tells nobody else what it would accept."""
    return parser._actions  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _option(parser: argparse.ArgumentParser, flag: str) -> argparse.Action | None:
    return next((action for action in _actions(parser) if flag in action.option_strings), None)


def _takes_value(parser: argparse.ArgumentParser, flag: str) -> bool:
    action = _option(parser, flag)
    return action is not None and action.nargs != 0


def _choices(parser: argparse.ArgumentParser, flag: str) -> list[str]:
    action = _option(parser, flag)
    return [str(one) for one in action.choices or ()] if action is not None else []


def _names(word: str, before: Sequence[str]) -> list[str]:
    """Of objects, when somebody is signed in and the gateway answers."""
    given = argparse.Namespace(server="", token="", ca="")
    namespace = next(
        (value for flag, value in pairwise(before) if flag in ("-n", "--namespace")),
        "default",
    )

    async def work(edge: EdgeClient) -> list[str]:
        place = await kinds.find(edge, word)
        found = await edge.call("GET", place.path(namespace), dict[str, Any], query={"limit": NAMES_MAX})
        return [str(one["metadata"]["name"]) for one in found["items"]]

    with contextlib.suppress(CommandError):
        return connected(given, work)
    return []
