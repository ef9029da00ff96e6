#!/usr/bin/env bash
# Make the environment that Hangar 0.5.2 runs in: benchmarks/hangar_environment.sh [PYTHON] [FOLDER]
#
# Hangar needs numpy 1.23, click 7 and protobuf below 3.21, which no current Python has room for
# beside TensorVCS. PYTHON is any Python 3.8 to 3.11; without it the first one on PATH is taken.
# FOLDER is benchmarks/.hangar unless given. The benchmarks find it there, and leave Hangar's
# figures absent when it is not.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${2:-$here/.hangar}"
pins=('hangar==0.5.2' 'protobuf<3.21' 'numpy==1.23.5' 'click==7.1.2' 'lmdb==1.4.1' 'setuptools<70')

unset PYTHONPATH PYTHONHOME VIRTUAL_ENV

fits() {
  "$1" -c 'import sys, ensurepip, venv; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))' \
    > /dev/null 2>&1
}

# A version manager's shim on PATH need not run; its own folder of versions is looked at as well.
candidates() {
  local name
  for name in python3.8 python3.9 python3.10 python3.11 python3; do
    type -ap "$name" || true
  done
  compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.*/bin/python" || true
}

python=""
if [ -n "${1:-}" ]; then
  python="$1"
  fits "$python" || {
    echo "Error: '$python' is no Python 3.8 to 3.11 with venv" >&2
    exit 1
  }
else
  while IFS= read -r candidate; do
    if fits "$candidate"; then
      python="$candidate"
      break
    fi
  done < <(candidates)
fi
if [ -z "$python" ]; then
  echo "Error: no Python 3.8 to 3.11 with venv was found" >&2
  echo "Hint: $0 /path/to/python3.10" >&2
  exit 1
fi

echo "making $folder with $("$python" --version 2>&1) ..."
"$python" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "${pins[@]}"
"$folder/bin/python" -c 'import hangar; print("Hangar", hangar.__version__, "is ready")'
