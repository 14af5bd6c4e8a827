#!/usr/bin/env bash
# Office-Home: 10 tasks of 13 classes, products and photographs, 4 convolution layers.
#
#   scripts/table_officehome.sh --gpu 0                     every method, five trials each; options are main.py's
#   LIST=1 scripts/table_officehome.sh                      prints the commands
#   python3 -m utils.report Result/table_officehome*.mat --format html
source "$(dirname "$0")/batch.sh" "$@"
common --data_type OfficeHome --num_clayers 4 --lifelong
table table_officehome
layer_groups=2,2 every_method all top1 top2 top3 bottom1 bottom2 bottom3 alternating
finish
