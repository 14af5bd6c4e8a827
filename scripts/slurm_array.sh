#!/usr/bin/env bash
# Many experiments on Slurm without Dask: each element of an array is one command line of main.py.
#
#   sbatch --array=1-$(wc -l < commands.txt) --cpus-per-task=4 --time=24:00:00 scripts/slurm_array.sh commands.txt
#
# From the project's folder. A line of commands.txt holds main.py's options, parted by spaces, without quotes:
#   --data_type CIFAR100_10 --data_percent 4 --model_type LASEM_HPS --lifelong --gpu 0 --save_mat_name table1.mat
# All lines may name one result file (entries are appended under a lock); no line may stand there twice. Before its time
# is over a command saves a checkpoint, and its element is queued again, at most 50 times. PYTHON: the Python to use.
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
cd "${SLURM_SUBMIT_DIR:-.}" || exit 1
options=$(sed -n "${SLURM_ARRAY_TASK_ID:?is set by sbatch --array}p" "${1:?the file of command lines is missing}")
[ -n "$options" ] || { echo "error: $1 has no line $SLURM_ARRAY_TASK_ID" >&2; exit 2; }
read -ra words <<< "$options"

timeout=
"${PYTHON:-python3}" main.py "${words[@]}" & child=$!
trap 'timeout=1; kill -USR1 $child' USR1
trap 'kill -TERM $child' TERM INT
wait $child; status=$?
while kill -0 $child 2>/dev/null; do wait $child; status=$?; done      # a signal ends wait, not the child
if [ "$status" = 75 ] && [ -n "$timeout" ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 50 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
