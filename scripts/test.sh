#!/usr/bin/env bash
# Runs the tests on TensorFlow 1.14 and on TensorFlow 2, side by side, where a Python for them is found.
#
#   scripts/test.sh [PATH...]    only these tests; STRICT=1: a generation that could not be tested is a failure
#
# What the second says appears when the first is through. The last line says how each ended.
cd "$(dirname "$0")/.." || exit 1
unset OMP_NUM_THREADS
export OPENBLAS_NUM_THREADS=1            # the two share the cores
runtimes=(1.14 2) pythons=() running=() outcome=() status=0 results=
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'kill ${running[*]} 2>/dev/null; exit 130' INT TERM

for place in 0 1; do
    if ! scripts/environment.sh find "${runtimes[place]}" >/dev/null; then
        outcome[place]='not run, no Python for it'
        [ "${STRICT:-}" != 1 ] || status=1
    elif ! pythons[place]=$(scripts/environment.sh make "${runtimes[place]}"); then
        outcome[place]='FAILED to install'
        status=1
    fi
done
for place in 0 1; do
    [ -n "${outcome[place]:-}" ] && continue
    "${pythons[place]}" -m pytest "$@" >"$folder/$place" 2>&1 &
    running[place]=$!
done
[ -n "${running[*]:-}" ] || status=1
for place in 0 1; do
    if [ -n "${running[place]:-}" ]; then
        version=$("${pythons[place]}" --version)
        echo "== Tests on TensorFlow ${runtimes[place]}, $version"
        tail -n +1 -f "$folder/$place" & shown=$!
        if wait "${running[place]}"; then outcome[place]="passed ($version)"
        else outcome[place]="FAILED ($version)"; status=1; fi
        sleep 2            # tail looks once a second
        kill $shown
        wait $shown 2>/dev/null
    fi
    results="$results; TensorFlow ${runtimes[place]}: ${outcome[place]}"
done
echo "== ${results#; }"
exit $status
