"""What is recorded stays what it was: whole trials on fixed seeds against accuracies written down earlier.

`python -m tests.test_histories` prints what this runtime finds now, as it stands in histories.json.
"""
import json
import os
import sys

import pytest

from classification.experiment import resolve
from classification.flags import parser
from classification.gen_data import load_tasks
from classification.train import Surroundings, Trial
from tests import command_line
from utils import runtime

RECORDED = os.path.join(os.path.dirname(__file__), 'histories.json')
METHODS = {'EWC': ['--test_type', '3'], 'Hybrid_HPS': ['--transfer_config', 'top1'], 'LASEM_HPS': ['--seed', '2']}


def found(model_type, folder):
    """Accuracies [rows, tasks, parts] of three tasks of DIGITS5, four epochs each; NaN as None."""
    experiment = resolve(parser().parse_args(
        '--gpu -1 --data_type DIGITS5 --num_clayers 2 --lifelong --num_tasks 3 --epochs_per_task 4'
        .split() + ['--model_type', model_type, '--data_dir', str(folder)] + METHODS[model_type]), lambda line: None)
    tasks = load_tasks('DIGITS5', str(folder), num_tasks=3, say=lambda line: None)
    trial = Trial(experiment, 0, tasks, Surroundings(str(folder), runtime.session_config(1)))
    rows = trial.run().accuracy
    return [[[None if value != value else round(float(value), 9) for value in parts] for parts in row] for row in rows]


@pytest.mark.parametrize('model_type', sorted(METHODS))
def test_histories_are_those_written_down(model_type, tmp_path, monkeypatch):
    command_line.change(monkeypatch.setitem)
    with open(RECORDED) as stream:
        recorded = json.load(stream)[model_type]
    assert found(model_type, tmp_path) == recorded


if __name__ == '__main__':
    import tempfile
    command_line.change()
    histories = {}
    for name in sorted(METHODS):
        with tempfile.TemporaryDirectory() as folder:
            histories[name] = found(name, folder)
    json.dump(histories, sys.stdout, sort_keys=True)
