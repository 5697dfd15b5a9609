#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Recognisers write down sound of ours. What they understood, and how many words were right, goes into out/.
#
#   scripts/judge.sh voice      the robot says phrases of its bank and sentences in other words (out/speech)
#   scripts/judge.sh hearing    people speak as in the test sets; the model and Whisper listen (out/hearing)
#
# Options behind it go to evaluate_speech or evaluation.hearing.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV="$PWD/.venv-judge"
readonly WHAT="${1:-}"

prepare() {
  [ -x "$VENV/bin/python" ] || "${PYTHON:-python3}" -m venv "$VENV"
  echo 'judge: the recognisers'
  "$VENV/bin/pip" install -q --disable-pip-version-check -r requirements/judge.txt
}

judge() {
  PYTHONPATH="$PWD" "$VENV/bin/python" benchmarks/judge_speech.py "$@"
}

case "$WHAT" in
  voice)
    prepare
    .venv/bin/python -m interaction_node.model.evaluate_speech --output out/speech "${@:2}"
    judge out/speech/{source,vocoded,flow} --output out/speech/scores.json
    ;;
  hearing)
    prepare
    .venv/bin/python -m interaction_node.model.evaluation.hearing --output out/hearing/test "${@:2}"
    judge out/hearing/test --judges whisper --output out/hearing/scores.json
    ;;
  *)
    echo "judge: $WHAT, expected voice or hearing" >&2
    exit 2
    ;;
esac
