#!/bin/sh
# Write requirements/*.lock anew from pyproject.toml; needs uv. Run after a dependency changed.
set -eu
cd "$(dirname "$0")/.."
compile() {
    uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --quiet "$@"
}
# The build backend is in both: the checkout itself is installed without fetching anything else.
compile pyproject.toml requirements/build.in --output-file requirements/run.lock
compile pyproject.toml requirements/build.in --extra dev --constraint requirements/run.lock --output-file requirements/dev.lock
