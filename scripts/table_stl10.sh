#!/usr/bin/env bash
# STL-10: 20 tasks of 3 classes, with noise and swapped channels, 6 convolution layers.
#
#   scripts/table_stl10.sh --gpu 0                     every method, five trials each; options are main.py's
#   LIST=1 scripts/table_stl10.sh                      prints the commands
#   python3 -m utils.report Result/table_stl10.mat --format html
source "$(dirname "$0")/batch.sh" "$@"
common --data_type STL10_20t --num_clayers 6 --lifelong --save_mat_name table_stl10.mat

# The two extremes, and networks that do not choose.
train --model_type STL
train --model_type SNN
train --model_type ProgNN --test_type 1
train --model_type DEN
train --model_type EWC --test_type 1
train --model_type ChannelGate
train --model_type APD --transfer_config all

# Fixed transfer configurations.
for model in Hybrid_HPS Hybrid_TF Hybrid_DFCNN; do
    for layers in all top2 top4 bottom2 bottom4 alternating; do
        train --model_type "$model" --transfer_config "$layers"
    done
done

# Searches: LASEM, group-based LASEM, LASEM that counts winners, DARTS.
for mechanism in HPS TF DFCNN; do
    train --model_type "LASEM_$mechanism"
    train --model_type "LASEMG_$mechanism"
    train --model_type "LASEM_$mechanism" --em_cnt_prior
done
train --model_type DARTS_HPS
train --model_type DARTS_DFCNN

finish
