#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Gets recordings of people from two Debian packages, to test on and never to train on:
#   asterisk-core-sounds-en-wav  Allison Smith, CC-BY-SA-3.0: spelling alphabet, digits, phrases, 8 kHz
#   pocketsphinx-testdata        BSD-2-Clause: "go forward ten meters", digits, sentences of a book, 16 kHz
# They are unpacked into .cache/human (or the folder given), nothing is installed, nothing is committed.
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=${1:-.cache/human}
PACKAGES=(asterisk-core-sounds-en-wav pocketsphinx-testdata)
MIRROR=https://deb.debian.org/debian/pool/main
FILES=(a/asterisk-core-sounds/asterisk-core-sounds-en-wav_1.6.1-1_all.deb
  p/pocketsphinx/pocketsphinx-testdata_0.8+5prealpha+1-15_all.deb)

if [ -f "$TARGET/complete" ]; then
  exit 0
fi
if ! command -v dpkg-deb > /dev/null; then
  echo 'fetch_human_speech: needs dpkg-deb (Debian, Ubuntu)' >&2
  exit 1
fi
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
chmod 755 "$WORK"
for i in 0 1; do
  echo "getting ${PACKAGES[$i]} ..."
  (cd "$WORK" && apt-get download -qq "${PACKAGES[$i]}" 2> apt.log) ||
    curl -fsSL --retry 2 -o "$WORK/${PACKAGES[$i]}.deb" "$MIRROR/${FILES[$i]}" || {
    echo "fetch_human_speech: ${PACKAGES[$i]} can't be downloaded (apt-get download, then $MIRROR)." >&2
    sed 's/^/  /' "$WORK/apt.log" >&2
    echo '  Offline? Put both .deb files on this machine and unpack them: dpkg-deb -x FILE.deb' "$TARGET; touch $TARGET/complete" >&2
    exit 1
  }
done
mkdir -p "$TARGET"
for deb in "$WORK"/*.deb; do
  dpkg-deb -x "$deb" "$TARGET"
done
touch "$TARGET/complete"
echo "recordings of people are in $TARGET"
