#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks the types of interaction_node with model and kernels nested in it, as they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

TREE=.cache/types/interaction_node
rm -rf .cache/types
mkdir -p "$TREE"
ln -s "$PWD"/interaction_node/* "$PWD/model" "$PWD/kernels" "$TREE"
.venv/bin/mypy "$@" | sed -E 's#^\.cache/types/interaction_node/(model|kernels)/#\1/#; s#^\.cache/types/##'
