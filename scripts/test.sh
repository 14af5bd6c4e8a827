#!/usr/bin/env bash
# Runs the tests on TensorFlow 1.14 and then on TensorFlow 2, where a Python for them is found, on all cores (eight at most).
#
#   scripts/test.sh [PATH...]    only these tests; STRICT=1: a generation that could not be tested is a failure
#
# The last line says how each ended.
cd "$(dirname "$0")/.." || exit 1
unset OMP_NUM_THREADS
export OPENBLAS_NUM_THREADS=1            # the workers share the cores
trap 'exit 130' INT TERM
status=0 results=

for runtime in 1.14 2; do
    if ! scripts/environment.sh find "$runtime" >/dev/null; then
        outcome='not run, no Python for it'
        [ "${STRICT:-}" != 1 ] || status=1
    elif ! python=$(scripts/environment.sh make "$runtime"); then
        outcome='FAILED to install'
        status=1
    else
        version=$("$python" --version)
        echo "== Tests on TensorFlow $runtime, $version"
        if "$python" -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"; then outcome="passed ($version)"
        else outcome="FAILED ($version)"; status=1; fi
        ran=1
    fi
    results="$results; TensorFlow $runtime: $outcome"
done
[ -n "${ran:-}" ] || status=1
echo "== ${results#; }"
exit $status
