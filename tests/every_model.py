"""Every model type on DIGITS5 and images in CIFAR-100's format: trained, killed, taken up, complete; and on
DIGITS5 continued from three tasks to five, killed meanwhile, equal to five at once.

    make test-all                                              on both generations of TensorFlow
    python -m tests.every_model [--models LASEM_HPS,DEN]       here, some of them

Two tasks, two epochs each, one trial, through main.py. Prints one line per model type and data set; the exit
status is 1 if one of them failed. Takes an hour or more per generation on two cores.
"""
import argparse
import os
import pathlib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

import main  # noqa: E402
from classification.data.task_lists import CIFAR100_TEN_TASKS  # noqa: E402
from classification.model.registry import MODELS, models_argument  # noqa: E402
from classification.results.mat_file import entries  # noqa: E402
from tests.support import data_files  # noqa: E402
from tests.support.commands import Run, inside, resumptions, waited_for  # noqa: E402
from tests.support.result_files import same_entry  # noqa: E402

COMMON = ['--gpu', '-1', '--lifelong', '--num_runs', '1', '--num_tasks', '2', '--epochs_per_task', '2',
          '--threads', '1', '--checkpoint_minutes', '0']
DATA = {'DIGITS5': ['--data_type', 'DIGITS5'], 'CIFAR-100 format': ['--data_type', 'CIFAR100_10',
                                                                    '--data_percent', '4']}
SECONDS = 1800
HISTORIES = ('history_train_error', 'history_validation_error', 'history_test_error')


def write_data(folder):
    """CIFAR-100's files with few images: the first two tasks' classes have a few more."""
    counts = np.full(100, 3)
    counts[[number for task in CIFAR100_TEN_TASKS[:2] for number in task]] = 12
    data_files.cifar100(folder, counts, 2)


def trial(model, data, place):
    """What became of it: (whether all is well, text)."""
    run = Run(pathlib.Path(place) / ('%s %s' % (model, data)), DATA[data] + COMMON + [
        '--model_type', model, '--data_dir', str(place)], program=[main.__file__], seconds=SECONDS)
    began = time.monotonic()
    try:
        with run.start():
            child, meta = run.child_stopped_when(inside(0))
            run.kill(child)
            status = run.start().wait()
        assert status == 0, 'exit status %d: %s' % (status, ' '.join(run.said.split())[-200:])
        assert resumptions(run.log()) == [(meta['position'], meta['epoch'])], resumptions(run.log())
        check(run.entry())
        return True, 'resumed at position %d, epoch %d; complete; %.0f s' % (
            meta['position'], meta['epoch'], time.monotonic() - began)
    except AssertionError as error:
        return False, 'FAILED: %s' % error


def in_a_new_task(meta):
    """Whether a checkpoint was written while the fourth task or the fifth was learned."""
    return meta['position'] >= 3 and meta['epoch'] + meta['phase'] > 0


def continued(model, place):
    """Whether three tasks and then five are five at once: (whether they are, text)."""
    folders = [pathlib.Path(place) / ('%s %s' % (model, what)) for what in ('continued', 'at once')]
    began = time.monotonic()
    try:
        for tasks, folder in ((3, folders[0]), (5, folders[0]), (5, folders[1])):
            run = Run(folder, DATA['DIGITS5'] + COMMON + [
                '--model_type', model, '--data_dir', str(place), '--num_tasks', str(tasks)],
                      program=[main.__file__], seconds=SECONDS)
            with run.start():
                if tasks == 5 and folder is folders[0]:
                    waited_for(lambda: run.parent.poll() is not None or len(run.run_folders()) == 2, 0.05)
                    child, meta = run.child_stopped_when(in_a_new_task)
                    run.kill(child)
                    assert 'taken over' in run.said and meta['position'] in (3, 4), run.said
                    run.start()
                assert run.wait() == 0, ' '.join(run.said.split())[-200:]
        one, other = [entries(str(folder / 'found.mat'))[-1] for folder in folders]
        same_entry(one, other)
        return True, 'continued from 3 tasks, killed at position %d, epoch %d: equal to 5 at once; %.0f s' % (
            meta['position'], meta['epoch'], time.monotonic() - began)
    except AssertionError as error:
        return False, 'FAILED: %s' % error


def check(entry):
    """Asserts that a result file's entry is complete."""
    run, = np.ravel(entry['result_of_each_run'])
    epochs = run['num_epoch'].item()
    assert epochs >= 4 and run['task_changed_epoch'].size == 2, 'epochs: %s' % epochs
    for name in HISTORIES:
        assert run[name].shape[0] == epochs + 1 and np.isfinite(run[name]).all() and run[
            name].max() <= 1, name
    assert entry['accuracy_matrix'].shape[-2:] == (2,
                                                   2) and np.isfinite(
                                                       entry['final_accuracy']).all(), 'accuracies'
    assert entry['model_specific_info']['number_of_trainable_parameters'].item() > 0, 'number of parameters'


def command_line():
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--models', type=models_argument, default='',
                        help='model types, separated by commas (default: all)')
    parser.add_argument('--continued', action='store_true', help='only whether they can be continued')
    parser.add_argument('--side_by_side', type=int, default=2, help='runs at a time (default: %(default)s)')
    flags = parser.parse_args()
    models = flags.models or list(MODELS)
    failed = 0
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(flags.side_by_side) as workers:
        write_data(place)
        found = [(model, data, workers.submit(trial, model, data, place)) for model in models
                 for data in sorted(DATA) if not flags.continued]
        found += [(model, '3 + 2 tasks', workers.submit(continued, model, place)) for model in models]
        for model, data, outcome in found:
            well, text = outcome.result()
            failed += not well
            print('%-18s %-18s %s' % (model, data, text))
            sys.stdout.flush()
    print('== %d of %d passed' % (len(found) - failed, len(found)))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(command_line())
