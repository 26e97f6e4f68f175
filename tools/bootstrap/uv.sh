#!/bin/sh
# Print the path of uv, installed from its hashed lock into the cache that clones share.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
lock=$root/requirements/uv.txt
cache=${XDG_CACHE_HOME:-$HOME/.cache}/edge-platform/uv
key=$(sha256sum "$lock" | cut -c1-16)
if [ ! -x "$cache/$key/uv" ]; then
    mkdir -p "$cache/$key"
    exec 9>"$cache/.lock"
    flock 9
    if [ ! -x "$cache/$key/uv" ]; then
        # uv appears by one rename when it is complete: an interrupted installation starts anew.
        rm -rf "$cache/draft"
        python3 -m venv "$cache/draft" >&2
        "$cache/draft/bin/python" -m pip install --quiet --require-hashes --no-deps -r "$lock" >&2
        mv "$cache/draft/bin/uv" "$cache/$key/uv"
        rm -rf "$cache/draft"
    fi
fi
echo "$cache/$key/uv"
