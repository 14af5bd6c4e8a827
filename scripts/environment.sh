#!/usr/bin/env bash
# Finds a Python for a TensorFlow generation, and makes the virtual environment in which it runs this project.
#
#   scripts/environment.sh find RUNTIME    prints a Python that fits; status 1 and a line on stderr if there is none
#   scripts/environment.sh make RUNTIME    makes the environment if there is none yet, and prints its Python
#
# RUNTIME is 1.14 or 2 (TensorFlow) or 3.6 (TensorFlow 1.14 on Python 3.6). $PYTHON is taken before any other Python
# if it fits. Environments lie in $LASEM_CACHE (default: ~/.cache/lasem; where that cannot be written /tmp/lasem-USERID),
# one for each Python and set of requirements.
set -u
home=${HOME:-~}         # an empty environment has none, but the user database may know it
public=${TMPDIR:-/tmp}/lasem-$UID
root=$(cd "$(dirname "$0")/.." && pwd)
requirements=("$root/requirements.txt" "$root/requirements-cluster.txt")

say() { echo "$*" >&2; }

candidates() {   # every place where a Python of $versions may be, best first, one a line; not all of them exist
    local version
    [ -z "${PYTHON:-}" ] || type -aP "$PYTHON"
    [ "$runtime" != 2 ] || type -aP python3
    for version in $versions; do
        type -aP "python$version"
        printf '%s\n' "${PYENV_ROOT:-$home/.pyenv}/versions/$version".*/bin/python
        uv python find "$version" 2>/dev/null
        printf '%s\n' "${XDG_DATA_HOME:-$home/.local/share}/uv/python/cpython-$version".*/bin/python"$version"
    done
}

# Run by each candidate, since a name proves nothing: pyenv's shims exist for Pythons that are switched off.
# Prints the interpreter behind a shim or a virtual environment. TensorFlow 1.14 was built for 64-bit x86 Linux only.
fits='
import ensurepip, os, platform, sys, venv
version = "%d.%d" % sys.version_info[:2]
if version not in sys.argv[1:]:
    sys.exit(1)
if sys.version_info < (3, 8) and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
    sys.exit(1)
behind = os.path.join(sys.base_prefix, "bin", "python" + version)
print(behind if os.access(behind, os.X_OK) else sys.executable)
'

find_python() {
    local candidate
    while read -r candidate; do
        "$candidate" -c "$fits" $versions </dev/null 2>/dev/null && return
    done < <(candidates)
    say "TensorFlow $tensorflow: no working Python ${versions// /, } (with venv) found; install one, or set PYTHON to its path"
    return 1
}

ready() { [ -f "$environment/complete" ] && "$environment/bin/python" -c '' 2>/dev/null; }

build() {   # while the lock is held; perhaps another process has made it meanwhile
    ! ready || return 0
    say "Making $environment with $python: installs requirements*.txt, which takes minutes, once"
    rm -rf "$environment" &&
    "$python" -m venv "$environment" >&2 &&
    # The pip of an old Python knows too few kinds of wheels.
    "$environment/bin/python" -m pip install -qq 'pip==21.3.1; python_version < "3.7"' 'pip>=21.3.1; python_version >= "3.7"' >&2 &&
    "$environment/bin/python" -m pip install -qq "${requirements[@]/#/-r}" >&2 &&
    touch "$environment/complete"       # last: without it the next call starts over
}

caches() {   # the folders that environments may lie in, best first, one a line
    if [ -n "${LASEM_CACHE:-}" ]; then
        "$python" -c '
import os, sys
path = os.path.expanduser(sys.argv[1])
if path.startswith("~"):
    sys.exit("LASEM_CACHE=%s: the home folder of %s is not known" % (path, path.split("/")[0]))
print(os.path.abspath(path))' "$LASEM_CACHE"
    else
        echo "${XDG_CACHE_HOME:-$home/.cache}/lasem"
        echo "$public"
    fi
}

usable() {   # whether an environment is there, or can be made; in /tmp somebody else may have been first
    mkdir -p "$cache" 2>/dev/null
    [ "$cache" != "$public" ] || [ -O "$cache" ] || return 1
    ready || [ -w "$cache" ]
}

make_environment() {
    local cache python environment name
    python=$(find_python) || return 1
    name=$("$python" -c '
import hashlib, platform, sys
files = b"".join(open(path, "rb").read() for path in sys.argv[1:])
print("venv-%s-%s" % (platform.python_version(), hashlib.sha256(files).hexdigest()[:12]))
' "${requirements[@]}") || return 1
    while read -r cache; do
        environment=$cache/$name
        usable && break
        environment=
    done < <(caches)
    [ -n "${environment:-}" ] || { say "Set LASEM_CACHE to a folder that can be written"; return 1; }
    if ! ready; then
        "$python" "$root/utils/locks.py" "$environment.lock" bash "$0" build "$runtime" "$python" "$environment" ||
            { say "$environment could not be made: the reason stands above"; return 1; }
    fi
    echo "$environment/bin/python"
}

runtime=${2:-} tensorflow=${2:-}
case $runtime in
    1.14) versions='3.7 3.6' ;;
    2)    versions='3.13 3.12 3.11 3.10 3.9 3.8' ;;
    3.6)  versions='3.6' tensorflow=1.14 ;;
    *)    set -- ;;
esac
case ${1:-} in
    find) find_python ;;
    make) make_environment ;;
    build) python=$3 environment=$4; build ;;       # `make` calls it
    *)    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
