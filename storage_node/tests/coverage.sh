#!/bin/sh
# Runs the quick tests of the node and says which lines and branches they passed. From the top of the repository:
#     sh storage_node/tests/coverage.sh [tests ...]
set -eu
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
export COVERAGE_FILE="$data/coverage" COVERAGE_RCFILE="$PWD/storage_node/tests/coverage.ini"
python=${PYTHON:-.venv-node/bin/python}
[ $# -gt 0 ] || set -- storage_node
"$python" -m coverage run -m pytest -q -c storage_node/pytest.ini --rootdir storage_node -m "not drill" "$@" || echo "some tests failed"
"$python" -m coverage combine -q "$data"
"$python" -m coverage report
