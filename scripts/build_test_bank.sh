#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes what benchmarks/test_voices holds anew, for other phrases or voices: lets the test voices speak, and the robot's,
# adds noise and music, and packs it. Safe to repeat: it goes on where it ended. Half an hour on two cores.
#
#   BANK=folder    default: .cache/bank
set -euo pipefail
cd "$(dirname "$0")/.."

BANK=${BANK:-.cache/bank}
BUILD=(.venv-data/bin/python -m model.data.bank --root "$BANK" build --minutes 60)
export OMP_NUM_THREADS=1

scripts/setup_data.sh
echo "build_test_bank: the voices of the test split say their phrases, into $BANK"
"${BUILD[@]}" --engines kokoro --voices kokoro-af_bella kokoro-am_michael kokoro-bm_george &
trap 'kill %1 2> /dev/null || true' EXIT
"${BUILD[@]}" --engines flite espeak piper --voices flite-rms 'espeak-en-029*' 'espeak-en-gb-x-gbcwmd*' 'piper-*'
"${BUILD[@]}" --engines kokoro --voices 'kokoro-n*'
wait %1
.venv-data/bin/python -m model.data.bank --root "$BANK" backgrounds
.venv/bin/python -m interaction_node.model.data.pack --bank "$BANK"
