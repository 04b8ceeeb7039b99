#!/bin/bash
# deploy/packages.sh - what `make run` and `make test` need of Debian: installs what is missing, and asks nothing of a machine that
# has it all.
#
#   deploy/packages.sh PACKAGE... COMMAND:PACKAGE...     a COMMAND:PACKAGE is missing when the command is not on the PATH
#
# exit status: 0 all is there; 1 it has to be installed by root, and the one line says how; 3 it could not be fetched. The log of
# apt-get is build/apt.log.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

missing=()
for p in "$@"; do
    if [[ $p == *:* ]]; then
        command -v "${p%%:*}" >/dev/null || missing+=("${p##*:}")
    elif command -v dpkg-query >/dev/null; then
        dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
    fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing, and this is not Debian: what the packages ${missing[*]} have there" >&2
    exit 1
fi

# sudo may want a password, and only a terminal can give it.
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo true; }; }; then
        echo "packages are missing; as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
fi

echo "installing: ${missing[*]}"
mkdir -p build
# Indexes that cannot be fetched are no failure yet: the packages may be in the cache.
"${as_root[@]}" apt-get update -qq >build/apt.log 2>&1 || true
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >>build/apt.log 2>&1; then
    why=$(grep -E '^E: ' build/apt.log | head -1)
    echo "cannot be installed: ${missing[*]} (${why:-$(tail -1 build/apt.log)}; is there a network? see build/apt.log)" >&2
    exit 3
fi
