#!/usr/bin/env bash
# What CI cannot check, on a machine with an NVIDIA GPU: kernels against float64, the whole model against
# automatic differentiation on the CPU in all precisions, and exact resume. Exit code 0 if all passed.
#
#     cargo build --release --features cuda
#     cargo build --release -p shortrun-kernels --features cuda --examples
#     tools/gpu_check.sh target/release /tmp/gpu_check
#
# Logs go to the second folder, and one line a check to stdout.
set -uo pipefail
if [ $# -ne 2 ]; then
  echo "usage: $0 FOLDER_OF_PROGRAMS FOLDER_FOR_LOGS" >&2
  exit 2
fi
programs=$(realpath "$1")
mkdir -p "$2"
logs=$(realpath "$2")
shortrun=$programs/shortrun

resume() { # NAME TRAIN_ARGUMENTS...
  local here
  here=$(mktemp -d)
  local name=$1
  shift
  (
    set -e
    cd "$here"
    "$shortrun" train --backend cuda --data synthetic --run whole --steps 20 "$@"
    "$shortrun" train --backend cuda --data synthetic --run parted --steps 10 "$@"
    "$shortrun" train --backend cuda --run parted --steps 20 --resume
    for run in whole parted; do
      "$shortrun" export --run "$run" --out "$run.safetensors"
    done
    cmp whole.safetensors parted.safetensors
  ) >"$logs/resume-$name.log" 2>&1
  local code=$?
  rm -rf "$here"
  return $code
}

declare -A jobs
begin() { # NAME COMMAND...
  local name=$1
  shift
  "$@" >"$logs/$name.log" 2>&1 &
  jobs[$name]=$!
}

# Side by side: nothing here is timed.
begin tensor_check "$programs/examples/tensor_check"
begin kernel_check "$programs/examples/kernel_check" untimed
begin kernel_check-f16 "$programs/examples/kernel_check" untimed f16
begin selftest "$shortrun" selftest --backend cuda
begin selftest-f16 "$shortrun" selftest --backend cuda --precision f16 --preset released
begin selftest-f32 "$shortrun" selftest --backend cuda --precision f32 --preset quick
begin exact-resume resume released --preset released
begin exact-resume-64 resume quick-64 --preset quick --size 64

failed=0
for name in "${!jobs[@]}"; do
  if wait "${jobs[$name]}"; then
    echo "ok      $name"
  else
    echo "FAILED  $name (exit code $?): $logs/$name.log"
    failed=1
  fi
done
exit $failed
