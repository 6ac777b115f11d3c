#!/bin/sh
# The agent's tests on other Pythons: sh tests/other_pythons.sh 3.10 3.13. Each has an environment of its own, .venv-3.10 and so
# on, made once. A Python that is not on this machine is skipped and said so; a test that fails makes the exit status 1.
set -eu
cd "$(dirname "$0")/.."

interpreter() { # prints a command that runs Python $1, nothing if there is none
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        if [ "$found" = "$1" ]; then
            echo "$candidate"
            return
        fi
    done
}

status=0
for version in "$@"; do
    python=$(interpreter "$version")
    if [ -z "$python" ]; then
        echo "Python $version: skipped, there is no python$version here (nor below ~/.pyenv/versions); install it to test on it"
        continue
    fi
    venv=.venv-$version
    made_of="requirements-agent-tests.txt agent/pyproject.toml device_profiles/pyproject.toml"
    # shellcheck disable=SC2086
    if [ "$(cat $made_of | cksum)" != "$(cat "$venv/.made-of" 2>/dev/null)" ]; then
        rm -rf "$venv"
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet -e device_profiles -e 'agent[onnxruntime,tflite]' -r requirements-agent-tests.txt
        cat $made_of | cksum >"$venv/.made-of"
    fi
    echo "Python $("$venv/bin/python" -c 'import platform, onnxruntime as o; print(platform.python_version(), "with ONNX Runtime", o.__version__)')"
    PYTHONPATH=compiler OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest tests/agent -n 2 --dist loadfile -p no:cacheprovider || status=1
done
exit $status
