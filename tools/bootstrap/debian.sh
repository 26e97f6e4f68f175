#!/bin/sh
# Install what is missing of the Debian packages that building and running need. Silent when nothing is.
set -eu
wanted="gcc libc6-dev libseccomp-dev pkg-config python3-venv git curl jq
        iproute2 iptables nftables conntrack ethtool kmod util-linux
        busybox-static mmdebstrap apache2-utils slapd zsh fish"
missing=""
for package in $wanted; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "these Debian packages are missing:$missing" >&2
    echo "install them with: sudo apt-get install$missing" >&2
    exit 1
fi
echo "  … Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# slapd is there for tests, which start one of their own: the package makes no directory and starts nothing.
echo "slapd slapd/no_configuration boolean true" | debconf-set-selections
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
