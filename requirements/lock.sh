#!/bin/sh
# Rewrites every lock from its .in file. Order matters: later ones are constrained by earlier ones.
set -eu
cd "$(dirname "$0")"
for name in django node embedded test dev; do
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url "$@" "$name.in" -o "$name.lock"
done
