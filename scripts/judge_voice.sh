#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Lets the robot's voice say phrases of its bank and sentences in other words, and two recognisers write them down.
# Leaves the sound, what was understood and how many words were right in out/speech. Options go to evaluate_speech.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV="$PWD/.venv-judge"
readonly OUTPUT=out/speech

[ -x "$VENV/bin/python" ] || "${PYTHON:-python3}" -m venv "$VENV"
echo 'judge_voice: the recognisers'
"$VENV/bin/pip" install -q --disable-pip-version-check -r requirements/judge.txt
.venv/bin/python -m interaction_node.model.evaluate_speech --output "$OUTPUT" "$@"
PYTHONPATH="$PWD" "$VENV/bin/python" benchmarks/judge_speech.py "$OUTPUT"/{source,vocoded,flow} --output "$OUTPUT/scores.json"
