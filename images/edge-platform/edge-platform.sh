#!/bin/sh
# Start the service named by the first argument: controller, apiserver, audit, museum (or its full name).
set -eu
case "${1:-}" in
controller | edge-controller) service=edge-controller ;;
apiserver | edge-apiserver) service=edge-apiserver ;;
audit | edge-audit) service=edge-audit ;;
museum | chartmuseum | edge-museum) service=edge-museum ;;
*)
    echo "usage: edge-platform controller|apiserver|audit|museum [flags]" >&2
    exit 2
    ;;
esac
shift
exec "$service" "$@"
