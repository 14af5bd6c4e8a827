"""What the version before origins were recorded left behind is read, finished and reported.

tests/earlier holds, for each TensorFlow generation, a finished experiment, a begun one with a trial inside
its first task, and the fingerprint of one experiment per model type. `--data_type DIGITS5 --lifelong
--num_tasks 2 --num_runs 2 --threads 1` and the options below made them.
"""
import json
import os

import numpy as np
import pytest

from classification.results import origin, summary, trial_record
from classification.results.mat_file import entries
from tests.support.commands import experiment_of, run_and_listen
from tests.support.result_files import BEGUN, EARLIER, FINISHED

with open(os.path.join(EARLIER, 'fingerprints.json')) as stream:
    FINGERPRINTS = json.load(stream)


@pytest.mark.parametrize('model_type', sorted(FINGERPRINTS))
def test_an_experiment_is_the_same_unless_its_numbers_changed(model_type):
    experiment = experiment_of('--model_type', model_type, '--test_type', '0')
    same = experiment.fingerprint() == FINGERPRINTS[model_type]
    assert same == (not experiment.numeric_versions)
    assert json.loads(experiment.to_json()).get('numeric_versions', {}) == experiment.numeric_versions


def test_a_finished_experiment_is_found(result):
    status, out, err = run_and_listen(FINISHED + ['--num_runs', '2'])
    assert (status, err) == (0, '') and 'already holds this experiment with 2 trials; nothing to train' in out
    assert out.splitlines()[0].endswith('unknown origin of trial 0, 1')
    (entry,) = entries(str(result / 'finished.mat'))
    assert origin.mixture(origin.from_entry(entry)) == ''        # nothing known stands beside it


def test_a_trial_is_added_and_its_origin_stands_beside_unknown_ones(result):
    before, = entries(str(result / 'finished.mat'))
    status, out, err = run_and_listen(FINISHED + ['--num_runs', '3'])
    assert (status, err) == (0, '') and '3 trials (2 already trained)' in out
    assert 'note: the trials of this experiment have different origins (unknown origin of trial 0, 1)' in out
    after, = entries(str(result / 'finished.mat'))
    np.testing.assert_array_equal(after['accuracy_matrix'][:2], before['accuracy_matrix'])
    assert origin.mixture(origin.from_entry(after)) == 'unknown origin of trial 0, 1'


def test_a_begun_trial_goes_on_inside_its_task(result):
    status, out, err = run_and_listen(BEGUN + ['--num_runs', '2'])
    assert (status, err) == (0, '')
    folder, = (result / 'begun').iterdir()
    epoch, = [line.split('epoch ')[1].split()[0] for line in (folder / 'log.txt').read_text().splitlines()
              if 'trial 1: resumed at position 0' in line]
    assert 0 < int(epoch) < 8
    assert 'trial 1 goes on from a checkpoint of another origin (unknown origin of trial 1)' in out
    record = trial_record.load_record(str(folder / 'trial1' / 'record.npz'))
    assert len(record.accuracy) == 1 + 2 * 8 and summary.stretches_of(record)[0] == origin.UNKNOWN
    entry, = entries(str(result / 'begun.mat'))
    assert entry['train_valid_data_group'].tolist() == [[0, 1]]
    assert origin.mixture(origin.from_entry(entry)) == 'unknown origin of trial 0, 1'
