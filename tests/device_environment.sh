#!/bin/sh
# What a device gets: the profiles and the agent with its runtime, in an environment of their own. Neither torch nor onnx may
# come along, and the command must start.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${1:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet ./device_profiles './agent[onnxruntime]'
for package in torch onnx safetensors secateur; do
    if "$work/venv/bin/python" -m pip show --quiet "$package" 2>/dev/null; then
        echo "device environment: $package was installed, and must not be" >&2
        exit 1
    fi
done
"$work/venv/bin/secateur-agent" version
"$work/venv/bin/python" -c 'import secateur_agent.inference.worker, secateur_agent.bundle.materialise_rungs'
echo "device environment: $("$work/venv/bin/python" -m pip list --format=freeze | wc -l) packages, neither torch nor onnx"
