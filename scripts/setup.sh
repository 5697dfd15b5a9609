#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the environment .venv: PyTorch, the libraries, ROS 2 Jazzy, our interfaces and this package.
# Safe to repeat: it does only what has changed. What the steps print goes to .cache/setup.log.
#
#   PYTHON=python3.12    the interpreter to use
#   ROS=none             leave ROS out: offline evaluation and training only
#   VOICE=none           leave piper out (GPL): words that the model's voice doesn't know are spelt out
#   TORCH_INDEX_URL=...  package index of another PyTorch build (Jetson, ROCm)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV="$PWD/.venv"
readonly LOG="$PWD/.cache/setup.log"
readonly MISSING="$PWD/.cache/missing-packages.txt"
readonly CPU_INDEX='https://download.pytorch.org/whl/cpu'

fail() {
  printf '\nsetup: %s\n' "$1" >&2
  exit 1
}

# step NAME COMMAND...: runs the command quietly and shows how long it has been at it.
step() {
  local name="$1" start=$SECONDS pid
  shift
  printf '\n=== %s\n' "$name" >>"$LOG"
  [ -t 1 ] || printf '  %s ...' "$name"
  ( "$@" ) >>"$LOG" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    [ ! -t 1 ] || printf '\r  %-24s %4d s' "$name" $((SECONDS - start))
    sleep 0.5
  done
  if ! wait "$pid"; then
    printf '\n' >&2
    tail -n 30 "$LOG" >&2
    fail "the step \"$name\" failed; the whole log is $LOG"
  fi
  [ ! -t 1 ] || printf '\r  %-24s' "$name"
  printf ' %4d s\n' $((SECONDS - start))
}

# --- What this machine is ------------------------------------------------------------------------

has_nvidia_gpu() {
  [ -e /dev/nvidiactl ] || [ -e /proc/driver/nvidia/version ] || [ -e /etc/nv_tegra_release ]
}

# 'apt' where ROS Jazzy is sourced, 'none' where it is not wanted, else 'wheels'.
ros_source() {
  if [ "${ROS:-}" = none ]; then
    echo none
  elif [ "${ROS_DISTRO:-}" = jazzy ] && "${PYTHON:-python3}" -c 'import rclpy' 2>/dev/null; then
    echo apt
  else
    echo wheels
  fi
}

is_supported_python() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.13}; do
    if is_supported_python "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  fail "Python 3.11, 3.12 or 3.13 is needed; found: $("${PYTHON:-python3}" --version 2>&1 | head -n 1). Install one and run: PYTHON=python3.12 make setup"
}

check_ros_can_be_had() {
  [ "$ROS_SOURCE" = wheels ] || return 0
  local hint='Either install ROS 2 Jazzy (https://docs.ros.org/en/jazzy/Installation.html), run "source /opt/ros/jazzy/setup.bash" and repeat; or run "ROS=none make setup" for offline evaluation and training without ROS.'
  if [ -n "${ROS_DISTRO:-}" ]; then
    fail "ROS \"$ROS_DISTRO\" is sourced, but rclpy of Jazzy can't be imported. Open a terminal without it, or source Jazzy. $hint"
  fi
  if grep -q ' apt ' "$VENV/.setup.kind" 2>/dev/null; then
    fail 'the environment was made with an installed ROS. Source it first ("source /opt/ros/jazzy/setup.bash"), or remove .venv to go without it.'
  fi
  if [ "$(uname -sm)" != 'Linux x86_64' ]; then
    fail "there are no ROS packages on PyPI for $(uname -sm). $hint"
  fi
}

# --- Debian packages -----------------------------------------------------------------------------

missing_build_packages() {
  command -v g++ >/dev/null && command -v make >/dev/null || echo build-essential
  "$BASE_PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  [ -e "$("$BASE_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || echo python3-dev
}

missing_sound_packages() {
  /sbin/ldconfig -p | grep -q 'libportaudio\.so\.2' || echo libportaudio2
  command -v pulseaudio >/dev/null || echo pulseaudio
  command -v pactl >/dev/null || echo pulseaudio-utils
  command -v aplay >/dev/null || echo alsa-utils
  compgen -G '/usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so' >/dev/null || echo libasound2-plugins
}

install_debian_packages() {
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get install -y --no-install-recommends "$@" ||
    { "${sudo[@]}" apt-get update && "${sudo[@]}" apt-get install -y --no-install-recommends "$@"; }
}

may_install_debian_packages() {
  command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

system_packages() {
  local build sound
  build="$(missing_build_packages | xargs)"
  sound="$(missing_sound_packages | xargs)"
  [ -n "$build$sound" ] || return 0
  if may_install_debian_packages; then
    # shellcheck disable=SC2086  # lists of package names
    install_debian_packages $build $sound || true
    build="$(missing_build_packages | xargs)"
    sound="$(missing_sound_packages | xargs)"
  fi
  if [ -n "$build" ]; then
    echo "needed to build the ROS interfaces: sudo apt-get install $build" >&2
    return 1
  fi
  if [ -n "$sound" ]; then
    echo "sound devices and the tests with virtual ones need: sudo apt-get install $sound" >"$MISSING"
  fi
}

# --- Python packages -----------------------------------------------------------------------------

# Packages of an environment of the same kind are brought up to date in place.
make_venv() {
  local options=() kind="$VENV $ROS_SOURCE $("$BASE_PYTHON" --version)"
  if [ "$(cat "$VENV/.setup.kind" 2>/dev/null)" != "$kind" ]; then
    [ "$ROS_SOURCE" != apt ] || options=(--system-site-packages)
    rm -rf "$VENV" # the stamps in it go, too: everything is made anew
    "$BASE_PYTHON" -m venv "${options[@]}" "$VENV"
    echo "$kind" >"$VENV/.setup.kind"
  fi
  install_packages -r requirements/build.txt
}

install_packages() {
  "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off -q \
    -c requirements/constraints.txt "$@"
}

# True where the configured index would bring CUDA along.
brings_cuda() {
  local report="$PWD/.cache/torch-report.json"
  "$VENV/bin/python" -m pip install --disable-pip-version-check -q --dry-run --ignore-installed \
    --report "$report" -r requirements/torch.txt || return 0
  grep -qE '"name": "(nvidia-|cuda-)' "$report"
}

install_torch() {
  local index="${TORCH_INDEX_URL:-}"
  if [ "$ROS_SOURCE" = apt ] && "$VENV/bin/python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    echo 'PyTorch of the system is used: it knows the GPU'
    return
  fi
  if [ -z "$index" ] && ! has_nvidia_gpu && brings_cuda; then
    index="$CPU_INDEX"
  fi
  # Such an index holds PyTorch, but not always the versions of its dependencies that we pin.
  [ -z "$index" ] || install_packages --no-deps --index-url "$index" -r requirements/torch.txt
  install_packages -r requirements/torch.txt
}

install_libraries() {
  install_packages -r requirements/runtime.txt -r requirements/development.txt
  install_packages --no-deps -r requirements/planner-weights.txt
}

# PyTorch for GPUs brings along the Triton that it was built for; the build for processors brings none.
install_kernels() {
  "$VENV/bin/python" -c 'import triton' 2>/dev/null ||
    install_packages --no-deps -r requirements/kernels.txt
}

install_voice() {
  [ "${VOICE:-}" = none ] || install_packages -r requirements/voice.txt
}

install_ros() {
  [ "$ROS_SOURCE" != wheels ] || install_packages -r requirements/ros.txt
}

# --- Our own -------------------------------------------------------------------------------------

build_interfaces() {
  [ "$ROS_SOURCE" != none ] || return 0
  local build="$PWD/.cache/interfaces" installed="$VENV/.setup.installed"
  rm -rf "$build"
  export PATH="$VENV/bin:$PATH" AMENT_PREFIX_PATH="$VENV${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}"
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$VENV" \
    -DCMAKE_PREFIX_PATH="${AMENT_PREFIX_PATH//:/;}" -DPython3_EXECUTABLE="$VENV/bin/python" \
    -DBUILD_TESTING=OFF -DINSTALL_PYTHON=OFF
  cmake --build "$build"
  # What an older version left would still be importable.
  [ ! -e "$installed" ] || xargs rm -f <"$installed"
  cmake --install "$build"
  cp "$build/install_manifest.txt" "$installed"
}

install_ourselves() {
  install_packages --no-build-isolation --no-deps -e .
}

check_environment() {
  export LD_LIBRARY_PATH="$VENV/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  "$VENV/bin/python" -c 'import torch, interaction_node.model.interface'
  [ "$ROS_SOURCE" = none ] || "$VENV/bin/python" -c 'import rclpy; from duplex_interaction.msg import AudioChunk'
}

# --- All of it -----------------------------------------------------------------------------------

digest() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

# A part is done while its stamp in the environment holds the state that is wanted.
declare -A WANTED
is_done() { [ "${WANTED[$1]}" = "$(cat "$VENV/.setup.$1" 2>/dev/null)" ]; }
done_with() { echo "${WANTED[$1]}" >"$VENV/.setup.$1"; }

main() {
  mkdir -p .cache
  exec 9>.cache/setup.lock
  flock -n 9 || { echo 'waiting for another setup of this checkout to end'; flock 9; }

  ROS_SOURCE="$(ros_source)"
  check_ros_can_be_had
  local gpu=without-gpu
  ! has_nvidia_gpu || gpu=with-gpu
  WANTED[packages]="$VENV $ROS_SOURCE $gpu ${PYTHON:-} ${VOICE:-} $(digest requirements/*.txt)"
  WANTED[interfaces]="$(digest msg/* srv/* package.xml CMakeLists.txt)"
  WANTED[ourselves]="$(digest setup.py setup.cfg pyproject.toml)"
  if is_done packages && is_done interfaces && is_done ourselves; then return; fi

  : >"$LOG"
  rm -f "$MISSING"
  local start=$SECONDS
  if ! is_done packages; then
    BASE_PYTHON="$(find_python)"
    echo "Making .venv: $("$BASE_PYTHON" --version), ROS 2 Jazzy from $ROS_SOURCE, $gpu"
    step 'Debian packages' system_packages
    step 'Python environment' make_venv
    step 'PyTorch' install_torch
    step 'Libraries' install_libraries
    step 'Kernels' install_kernels
    step 'Voice' install_voice
    step 'ROS 2 Jazzy' install_ros
    done_with packages
  fi
  if ! is_done interfaces; then
    step 'Interfaces' build_interfaces
    done_with interfaces
  fi
  if ! is_done ourselves; then
    step 'This package' install_ourselves
    done_with ourselves
  fi
  step 'Check' check_environment
  echo "Ready after $((SECONDS - start)) s."
  if [ -e "$MISSING" ]; then
    cat "$MISSING"
    rm -f "$MISSING"
  fi
}

main; exit # this file may change while it runs
