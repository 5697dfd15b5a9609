#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes .venv-data: the speech engines that fill the phrase bank, and MuJoCo for scenes. Needed only to train, not to run.
# Safe to repeat: it does only what is missing. Debian and Ubuntu; uses sudo only if you are not root.
#
#   PYTHON=python3.12    the interpreter to use
#   APT=none             don't install Debian packages (have them already)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV="$PWD/.venv-data"
readonly STYLES="$VENV/share/kokoro_voices"
readonly STYLE_COUNT=54
readonly KOKORO='kokoro==0.9.4'
readonly KOKORO_SHA256='fbf633262797f8cf46fdac3315cf9cade67dc8b762c0feccf334892772fb9ac4'
readonly PICO='ttspico==0.3.1'
# gcc and libc6-dev build SVOX Pico; the last three let MuJoCo render without a GPU.
readonly PACKAGES='espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts
  sonic-pi-samples wordnet-base gcc libc6-dev libegl1 libegl-mesa0 libgl1-mesa-dri'

say() { printf 'setup_data: %s\n' "$1"; }

fail() {
  printf 'setup_data: %s\n' "$1" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" = 'ii ' ]
}

install_packages() {
  local missing=()
  for package in $PACKAGES; do
    is_installed "$package" || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  say "Debian packages: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Three more speakers, in a part of the archive that is not always there (non-free, multiverse): the bank can do without.
install_rhvoice() {
  is_installed rhvoice && return 0
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends rhvoice rhvoice-english >/dev/null 2>&1 ||
    say "RHVoice isn't in your package sources (Debian: non-free, Ubuntu: multiverse); name the other engines with --engines"
}

make_environment() {
  [ -x "$VENV/bin/python" ] || "${PYTHON:-python3}" -m venv "$VENV"
  say 'Python packages'
  "$VENV/bin/pip" install -q --disable-pip-version-check -r requirements/data.txt
}

# Two good voices, but a C extension from 2017: the bank can do without them.
install_pico() {
  "$VENV/bin/python" -c 'import ttspico' 2>/dev/null && return 0
  say 'SVOX Pico'
  "$VENV/bin/pip" install -q --disable-pip-version-check "$PICO" ||
    say "SVOX Pico doesn't build here; name the other engines with --engines"
}

# Kokoro's style files come inside its source distribution; nothing of it is built or run.
unpack_styles() {
  local folder archive
  [ "$(find "$STYLES" -name '*.bin' 2>/dev/null | wc -l)" = "$STYLE_COUNT" ] && return 0
  say "Kokoro's styles"
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' RETURN
  "$VENV/bin/pip" download -q --disable-pip-version-check --no-deps --no-binary kokoro \
    -d "$folder" "$KOKORO"
  archive=$(echo "$folder"/kokoro-*.tar.gz)
  echo "$KOKORO_SHA256  $archive" | sha256sum --check --quiet || fail "$archive is not what was expected"
  mkdir -p "$STYLES"
  tar -xzf "$archive" -C "$STYLES" --strip-components=3 --wildcards '*/kokoro.js/voices/*.bin'
  [ "$(find "$STYLES" -name '*.bin' | wc -l)" = "$STYLE_COUNT" ] || fail "no styles in $archive"
}

[ "${APT:-}" = none ] || { install_packages && install_rhvoice; }
make_environment
install_pico
unpack_styles
say "ready. Fill the bank with: $VENV/bin/python -m model.data.bank build --minutes 120"
