#!/usr/bin/env bash
# STL-10: 20 tasks of 3 classes, with noise and swapped channels, 6 convolution layers.
#
#   scripts/table_stl10.sh --gpu 0                     every method, five trials each; options are main.py's
#   LIST=1 scripts/table_stl10.sh                      prints the commands
#   python3 -m utils.report Result/table_stl10*.mat --format html
source "$(dirname "$0")/batch.sh" "$@"
common --data_type STL10_20t --num_clayers 6 --lifelong
table table_stl10
every_method all top2 top4 bottom2 bottom4 alternating
finish
