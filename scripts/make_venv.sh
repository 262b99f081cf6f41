#!/usr/bin/env bash
# make_venv.sh PYTHON FOLDER TARGET [MORE...]: a virtual environment with TARGET installed in editable form.
# Uses uv where there is one (faster), else venv and pip.
set -euo pipefail
python=$1 folder=$2 target=$3
shift 3
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "edgewise needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Try: make PYTHON=python3.11" >&2
  exit 1
fi
if command -v uv >/dev/null 2>&1; then
  uv venv --quiet --allow-existing --python "$python" "$folder"
  uv pip install --quiet --python "$folder/bin/python" -e "$target" "$@"
else
  "$python" -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -e "$target" "$@"
fi
