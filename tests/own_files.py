"""Data sets written as files and learned as own images, against the data sets themselves.

    python -m tests.own_files        make test-all runs it

FASHION5 at 3 % as a CSV file that keeps splits and order: equal histories. The digits as task folders, whose
splits are drawn: final accuracy within two standard deviations of DIGITS5's. Takes a quarter of an hour;
the exit status is 1 if one of them fails.
"""
import os
import pathlib
import sys
import tempfile

import cv2
import numpy as np

from classification import gen_data
from classification.data import readers
from classification.experiment.flags import parser
from classification.experiment.resolve import resolve
from classification.train import Trial
from classification.trial.context import TrialContext
from tests.support import data_files
from tests.support.tiny import quick_config

HISTORIES = ('accuracy', 'best_test', 'task_changed_epoch', 'accuracy_matrix', 'peak', 'num_parameters')
TRIALS, DIGITS_EPOCHS = 10, 25
# not STL, whose trials differ less (0.001) than draws of test images do: DIGITS5 has the same ones in all
# trials
DIGITS_MODELS = ('Hybrid_HPS --transfer_config all', 'LASEM_HPS')


def trial_of(options, folder, number=0):
    """(its tasks, TrialRecord) of a lifelong trial; raw data, cache and checkpoint are in the folder."""
    experiment = resolve(parser().parse_args(
        ['--gpu', '-1', '--lifelong', '--data_dir', str(folder)] + options), lambda line: None)
    tasks = gen_data.load_tasks(experiment.data_type, str(folder), experiment.data_percent, experiment.seed,
                                number, experiment.normalize, len(experiment.class_counts),
                                lambda line: None)
    with tempfile.TemporaryDirectory(dir=str(folder)) as place:
        return tasks, Trial(experiment, number, tasks, TrialContext(place, quick_config(),
                                                                    minutes=1e9)).run()


def write_csv(tasks, folder):
    """Path of a CSV file that says tasks, classes and splits of these images, in their order."""
    lines = ['task,class,file,split']
    for task in tasks:
        for split in gen_data.SPLITS:
            part = getattr(task, split)
            for number, (label, image) in enumerate(zip(part.labels, part.images())):
                lines.append('%d,%d: class %s,%d-%s-%d.png,%s' % (
                    task.index, label, task.classes[label], task.index, split, number, split))
                cv2.imwrite(str(folder / lines[-1].split(',')[2]), image)
    (folder / 'list.csv').write_text('\n'.join(lines) + '\n')
    return str(folder / 'list.csv')


def write_task_folders(folder):
    """scikit-learn's digits as TASK/CLASS/FILE, two in a task; what is 16 there is white."""
    images, labels = readers.DIGITS.images('', None), readers.DIGITS.labels('')['all']
    for number, (image, label) in enumerate(zip(images, labels)):
        place = folder / ('task%d' % (label // 2)) / ('digit%d' % label)
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / ('%d.png' % number)), np.rint(image / 16. * 255).astype(np.uint8))
    return str(folder)


def differing_histories(options, folder):
    """Which histories of FASHION5 at 3 % are others when its images are files."""
    if not os.path.isdir(readers.DEBIAN_FASHION):
        data_files.fashion(folder, 200, 100)
    tasks, original = trial_of(['--data_type', 'FASHION5', '--data_percent', '3'] + options, folder)
    (folder / 'files').mkdir()
    path = write_csv(tasks, folder / 'files')
    _, found = trial_of(['--data_type', 'Images', '--images', path] + options, folder)
    return [name for name in HISTORIES      # some have NaN
            if np.asarray(getattr(original, name)).tobytes() != np.asarray(getattr(found, name)).tobytes()]


def final_accuracies(options, folder):
    """Mean over tasks after the last one, of each trial."""
    options = options + ['--epochs_per_task', str(DIGITS_EPOCHS)]
    return [trial_of(options, folder, number)[1].accuracy_matrix[-1].mean() for number in range(TRIALS)]


def fashion(folder):
    """Number of failures."""
    others = differing_histories(['--model_type', 'LASEM_HPS', '--epochs_per_task', '2'], folder)
    print('FASHION5 at 3 %% as files, LASEM_HPS: %s' % (', '.join(others) + ' DIFFER' if others
                                                      else 'equal histories'), flush=True)
    return int(bool(others))


def digits(folder):
    """Number of failures."""
    path, failed = write_task_folders(folder / 'digits'), 0
    for words in DIGITS_MODELS:
        options = ['--model_type'] + words.split()
        original = final_accuracies(['--data_type', 'DIGITS5'] + options, folder)
        found = final_accuracies(['--data_type', 'Images', '--images', path] + options, folder)
        (mean, deviation), (other, other_deviation) = [(np.mean(some), np.std(some, ddof=1))
                                                       for some in (original, found)]
        distance = abs(other - mean) / deviation
        print('%s, final accuracy: DIGITS5 %.4f (%.4f), its files %.4f (%.4f): %.1f standard deviations%s' % (
            words, mean, deviation, other, other_deviation, distance, '' if distance <= 2 else ', TOO MANY'),
            flush=True)
        failed += distance > 2
    return failed


def main():
    """Exit status."""
    with tempfile.TemporaryDirectory() as folder:
        return int(fashion(pathlib.Path(folder)) + digits(pathlib.Path(folder)) > 0)


if __name__ == '__main__':
    sys.exit(main())
