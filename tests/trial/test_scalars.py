"""TensorBoard's scalars are the recorded history, each epoch once, also of trials that were interrupted."""
import glob

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.results.trial_record import SPLITS
from classification.trial.tensorboard import PREFIX, Scalars
from tests.support.tiny import make_experiment, train_with_stops


def events(folder):
    """tag -> list of (step, value), in the order of the one event file."""
    path, = glob.glob(str(folder / (PREFIX + '*')))
    read = {}
    for number, event in enumerate(tf.train.summary_iterator(path)):
        assert event.file_version == ('brain.Event:2' if number == 0 else '')
        for value in event.summary.value:
            read.setdefault(value.tag, []).append((event.step, value.simple_value))
    return read


def expected(record):
    """The same from a record."""
    wanted = {'test_accuracy_at_best_validation_epoch': list(enumerate(record.best_test))}
    for split, name in enumerate(SPLITS):
        values = record.accuracy[:, :, split]
        for task in range(values.shape[1]):
            wanted['%s_accuracy/task%d' % (name, task)] = [
                (step, value) for step, value in enumerate(values[:, task]) if not np.isnan(value)]
        wanted[name + '_accuracy/mean'] = list(enumerate(np.nanmean(values, axis=1)))
    return wanted


@pytest.mark.parametrize('model, epochs', [('Hybrid_HPS', 2), ('BruteForce_HPS', 1)])
def test_every_epoch_once_after_interruptions(model, epochs, tmp_path):
    scalars = tmp_path / 'scalars'
    scalars.mkdir()
    _, record, log = train_with_stops(make_experiment(model, epochs=epochs), tmp_path,
                                      scalar_folder=str(scalars))
    assert any('resumed' in line for line in log)
    read, wanted = events(scalars), expected(record)
    assert sorted(read) == sorted(wanted)
    for tag in wanted:
        np.testing.assert_allclose(read[tag], wanted[tag], rtol=1e-6, err_msg=tag)


def test_no_mean_over_only_some_of_the_tasks(tmp_path):
    rows = [np.full((2, 3), value) for value in (0.5, 0.7, 0.9)]
    rows[1][0] = np.nan        # passed over
    scalars = Scalars(str(tmp_path))
    scalars.write(rows[:2], [0.1, 0.2])
    scalars.write(rows, [0.1, 0.2, 0.3])
    scalars.close()
    read = events(tmp_path)
    assert [step for step, _ in read['test_accuracy/mean']] == [0, 2]
    np.testing.assert_allclose(read['test_accuracy/task0'], [(0, 0.5), (2, 0.9)], rtol=1e-6)
    np.testing.assert_allclose(read['test_accuracy/task1'], [(0, 0.5), (1, 0.7), (2, 0.9)], rtol=1e-6)
