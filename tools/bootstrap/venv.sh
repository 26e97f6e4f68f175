#!/bin/sh
# Make .venv from the hashed lock of development requirements, with our packages in it as they are
# in the source tree. Silent and quick when the lock has not changed.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
stamp=.venv/.edge-lock
key=$(cat requirements/dev.txt packages/*/pyproject.toml plugins/*/pyproject.toml | sha256sum | cut -c1-16)
if [ "$(cat $stamp 2>/dev/null || true)" = "$key" ]; then
    exit 0
fi
uv=$("$root/tools/bootstrap/uv.sh")
[ -x .venv/bin/python ] || "$uv" venv --quiet --python python3.11 .venv
"$uv" pip sync --quiet --python .venv/bin/python --require-hashes requirements/dev.txt
set --
for package in packages/* plugins/*; do
    [ -f "$package/pyproject.toml" ] && set -- "$@" --editable "$package"
done
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation "$@"
# Last: an interrupted run is started again.
echo "$key" > $stamp
