#!/usr/bin/env bash
# Says whether training on a GPU gives what the CPU gives, how fast it is, and whether experiments go on across both.
#
#   scripts/gpu_check.sh [--gpu N] [--report FILE]     N-th of the visible GPUs (default: 0); -1: the CPU beside itself
#
# PYTHON=PATH is the Python to use (default: python3). Exit status: 0 all is well, 1 something is not, 2 it cannot be tried.
# FILE (default: gpu_check.txt) is what to send in with a report of a fault.
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu_check.py" "$@"
