#!/usr/bin/env bash
# Each command of a table as one element of a Slurm array, which appends to its method's result file.
#
#   LIST=1 scripts/table_cifar100.sh                                          # how many there are
#   sbatch --array=1-42 scripts/slurm_array.sh scripts/table_cifar100.sh --gpu 0
#
# Two minutes before the time limit the running trials save a checkpoint, and the element is queued again.
#SBATCH --job-name=lasem
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
set -u
[ $# -gt 0 ] || { echo 'error: name a script, like scripts/table_cifar100.sh' >&2; exit 2; }
[ -n "${SLURM_ARRAY_TASK_ID:-}" ] || { echo 'error: this is an element of a Slurm array: sbatch --array=1-42 ...' >&2; exit 2; }
cd "${SLURM_SUBMIT_DIR:-.}" || exit 2
ending= signals=none asked= child= status=75
trap 'ending=1; asked+=1; [ -z "$child" ] || kill -USR1 "$child" 2>/dev/null' USR1 USR2 XCPU
trap 'asked+=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM HUP            # somebody cancels it

if [ -z "$asked" ]; then
    ONLY=$SLURM_ARRAY_TASK_ID "$@" & child=$!
    until [ "$signals" = "$asked" ]; do signals=$asked; wait "$child"; status=$?; done          # a signal ends a wait early
fi
if [ $status -eq 75 ] && [ -n "$ending" ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit $status
