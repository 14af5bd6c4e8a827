#!/usr/bin/env bash
# Does LASEM choose well what to share? Ten-class tasks of few images that have more or less in common (garments.py), then
# Fashion-MNIST's ten tasks of one article against the others. Files in Result/study_*.mat; hours on two cores.
#
#   scripts/study.sh --gpu -1                             options are main.py's; it goes on where it was stopped
#   python3 scripts/study.py                              the primary comparisons, and what the chosen patterns follow
#   python3 -m utils.report Result/study_*.mat --format html
#
# Primary, and named before anything was trained, on Garments and for each of the three mechanisms: LASEM against sharing
# everything (transfer configuration all), against sharing nothing (STL), and against the best fixed configuration, chosen on
# validation accuracy; final average test accuracy, 10 trials. The rest describes.
source "$(dirname "$0")/batch.sh" "$@"

patterns() { local layers; for layers in all top1 top2 top3 bottom1 bottom2 bottom3 alternating; do
    train --model_type "$1" --transfer_config "$layers"; done; }

others() {
    train --model_type SNN
    train --model_type LASEMG_HPS --layer_groups 2,2
    train --model_type LASEMG_TF --layer_groups 2,2
    train --model_type LASEMG_DFCNN --layer_groups 2,2
    train --model_type DARTS_HPS
    train --model_type ProgNN --test_type 1
    train --model_type EWC --test_type 2
    train --model_type DEN
}

table study
common --plugin scripts/garments.py --data_type Garments --lifelong --num_runs 10 --eval_interval 30 --quiet
train --model_type STL
for mechanism in HPS TF DFCNN; do
    train --model_type "LASEM_$mechanism"
    patterns "Hybrid_$mechanism"
done
common --plugin scripts/garments.py --data_type Garments --lifelong --num_runs 5 --eval_interval 30 --quiet
others

table study_fashion
common --data_type FASHION10 --data_percent 3 --lifelong --num_runs 5 --epochs_per_task 10 --eval_interval 10 --quiet
train --model_type STL
for mechanism in HPS TF DFCNN; do
    train --model_type "LASEM_$mechanism"
    patterns "Hybrid_$mechanism"
done
others
finish
