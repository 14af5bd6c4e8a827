"""A trial that was interrupted, or killed, and taken up again equals one that was left alone, bit for bit."""
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import psutil
import pytest

import main
from classification import checkpoint, trial_process
from classification.experiment import Experiment
from classification.mat_file import entries
from classification.results import TrialRecord, load_record, save_record
from classification.trial_process import trial_folder
from tests import command_line
from tests.trials import make_experiment, train, train_with_stops

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIMES = ('training_time', 'time_per_task')      # what these names begin is not compared


def same(one, other, place):
    """Asserts that two records, results or stores are equal bit for bit, times aside."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert list(one) == list(other), place
        for key in one:
            if not key.startswith(TIMES):
                same(one[key], other[key], '%s %s' % (place, key))
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for index, pair in enumerate(zip(one, other)):
            same(pair[0], pair[1], '%s %d' % (place, index))
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), place
        assert one.tobytes() == other.tobytes(), '%s: %s is not %s' % (place, one, other)
    else:
        assert one == other, place


def same_trial(trial, record, other_trial, other_record):
    """Asserts that two trials recorded and left behind the same."""
    same(record._asdict(), other_record._asdict(), 'record')
    same(dict(trial.store), dict(other_trial.store), 'store')
    same(trial.method.state, other_trial.method.state, 'state')


def resumptions(log):
    """(position, epoch of the task) at which a trial was taken up, each time."""
    return [tuple(int(word.rstrip(',')) for word in line.split('resumed at')[1].split() if word.rstrip(',').isdigit())
            for line in log if 'resumed at' in line]


# ---- in one process: stopped after every epoch ----

CASES = [
    ('SNN', dict(order=(0, 1))),
    ('Hybrid_HPS', dict(order=(0, 1, 0, 1))),
    ('Hybrid_DFCNN', dict(order=(0, 1))),
    ('APD', dict(order=(0, 1), early_stopping=1, epochs=3)),
    ('LASEM_HPS', dict(order=(0, 1, 0, 1))),
    ('LASEM_APD', dict(order=(0, 1), early_stopping=2, epochs=3, em_cnt_prior=True)),
    ('LASEMG_HPS', dict(order=(0, 1), reset_prior=True)),
    ('LASEM_fixed_DFCNN', dict(order=(0, 1))),
    ('DARTS_HPS', dict(order=(0, 1, 0, 1), epochs=2)),
    ('DARTS_TF', dict(order=(0, 1), darts_approx_order=2, darts_selection_data='valid')),
    ('BruteForce_HPS', dict(order=(0, 1, 0))),
    ('BruteForce_TF', dict(order=(0, 1), early_stopping=1, epochs=2)),
]


@pytest.mark.parametrize('model_type, settings', CASES, ids=[model_type for model_type, _ in CASES])
def test_stopped_after_every_epoch(model_type, settings, tmp_path):
    experiment = make_experiment(model_type, **settings)
    (tmp_path / 'calm').mkdir()
    trial, record = train(experiment, tmp_path / 'calm')
    (tmp_path / 'stopped').mkdir()
    stopped_trial, stopped_record, log = train_with_stops(experiment, tmp_path / 'stopped')
    same_trial(trial, record, stopped_trial, stopped_record)
    epochs = experiment.training.epochs
    if experiment.early_stopping:
        assert set((position, 1) for position in range(len(experiment.task_order))) <= set(resumptions(log))
    else:
        phases = [4 if model_type.startswith('BruteForce') and position == 1 else 1
                  for position in range(len(experiment.task_order))]
        assert resumptions(log) == [(position, epoch) for position, times in enumerate(phases)
                                    for _ in range(times) for epoch in range(1, epochs + 1)]
