#!/usr/bin/env bash
# A small version of table_cifar100.sh for two cores: DIGITS5 needs no download, FASHION10 is read where
# Debian's package dataset-fashion-mnist puts it (or from --data_dir) and left out where it is missing.
#
#   scripts/quick_look.sh
#   python3 -m utils.report Result/quick_look.mat
source "$(dirname "$0")/batch.sh" "$@"

methods() {
    train --model_type STL
    train --model_type SNN
    train --model_type Hybrid_HPS --transfer_config all
    train --model_type Hybrid_HPS --transfer_config top2
    train --model_type LASEM_HPS
    train --model_type DARTS_HPS
    train --model_type ProgNN --test_type 1
    train --model_type EWC --test_type 2
}

common --data_type DIGITS5 --lifelong --num_runs 3 --jobs 2 --epochs_per_task 25 --eval_interval 5 --quiet \
    --save_mat_name quick_look.mat
methods

common --data_type FASHION10 --data_percent 10 --num_tasks 2 --lifelong --num_runs 2 --jobs 2 --epochs_per_task 4 \
    --eval_interval 4 --quiet --save_mat_name quick_look.mat
if [ -n "${LIST:-}" ] || "${PYTHON:-python3}" main.py "${shared[@]}" ${given[@]+"${given[@]}"} --dry_run >/dev/null 2>&1; then
    methods
else
    echo '== FASHION10 is left out: install dataset-fashion-mnist, or give --data_dir (Data/README.md tells how)'
fi
finish
