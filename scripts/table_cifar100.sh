#!/usr/bin/env bash
# CIFAR-100: 10 tasks of 10 classes, 4 % of the images, 4 convolution layers.
#
#   scripts/table_cifar100.sh --gpu 0                     every method, five trials each; options are main.py's
#   LIST=1 scripts/table_cifar100.sh                      prints the commands
#   python3 -m utils.report Result/table_cifar100*.mat --format html
source "$(dirname "$0")/batch.sh" "$@"
common --data_type CIFAR100_10 --data_percent 4 --num_clayers 4 --lifelong
table table_cifar100
layer_groups=2,2 every_method all top1 top2 top3 bottom1 bottom2 bottom3 alternating
finish
