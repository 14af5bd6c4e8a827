"""What a learned network says of images: python3 -m classification.predict PARAMETER_FILE --task N IMAGE...

The parameter file, which --saveparam wrote, says all that this needs: the experiment, the classes, how images
reach the network.
"""
import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Mapping, NamedTuple

import numpy as np

from classification.data import photographs
from classification.data.image_layouts import images_below
from classification.experiment import plugin_files
from classification.experiment.experiment import Experiment
from classification.experiment.flags import PLUGIN, Parser, load_plugins
from classification.gen_data import DATASETS
from classification.model.registry import method_of
from classification.results import parameter_files
from utils.cores import cores
from utils.paths import path_argument
from utils.utils import UserError, error_text, printable_line, run_command, silent_libraries, tell_error

COLUMNS = ('file', 'class', 'probability')
USAGE = ('python3 -m classification.predict PARAMETER_FILE --task N [IMAGE_OR_FOLDER ...] [--format csv] '
         '[--export FOLDER] [--plugin FILE.py]')


# ---- the command line ----

def parser(argv=()):
    """The command line, whose plug-ins are loaded."""
    load_plugins(argv)
    made = Parser(prog='python3 -m classification.predict', usage=USAGE, allow_abbrev=False,
                  description='Prints for each image the class that a trained network assigns it to, and the '
                              'probability of this class.')
    made.add_argument('file', metavar='PARAMETER_FILE', type=path_argument,
                      help='the trained network, as main.py --saveparam wrote it: '
                           'Result/params/.../final_model_parameter.mat')
    made.add_argument('images', metavar='IMAGE_OR_FOLDER', type=path_argument, nargs='*', default=(),
                      help='JPEG, PNG, WebP, BMP or TIFF files; a folder means all images in it and in the '
                           'folders below')
    made.add_argument('--task', type=int, required=True, metavar='N',
                      help='number of the task, from 0; the answer is one of its classes')
    made.add_argument('--format', choices=('text', 'csv'), default='text',
                      help='of the answers: a table to read, or CSV for other programs (default: '
                           '%(default)s)')
    made.add_argument('--export', type=path_argument, default=None, metavar='FOLDER',
                      help='write the network as a TensorFlow SavedModel into this folder (default: none)')
    made.add_argument('--plugin', **PLUGIN)
    return made


def _flags(argv):
    argv = sys.argv[1:] if argv is None else list(argv)
    made = parser(argv)
    end = argv.index('--') if '--' in argv else len(argv)       # behind it are images, also -x.png
    flags, others = made.parse_known_args(argv[:end])     # images after a flag are among the others
    unknown = [word for word in others if word.startswith('-')]
    if unknown:
        made.error('unrecognized arguments: %s' % ' '.join(unknown))
    try:
        flags.images = list(flags.images) + [path_argument(word) for word in others + argv[end + 1:]]
    except argparse.ArgumentTypeError as error:
        made.error('argument IMAGE_OR_FOLDER: %s' % error)
    if not flags.images and flags.export is None:
        made.error('an image, a folder or --export FOLDER is needed')
    return flags


def main(argv=None):
    """Runs the command line; returns the exit status."""
    try:
        flags = _flags(argv)
        learned = load(flags.file, flags.task)
        paths = files_of(flags.images)
        if flags.export is not None:
            _check_free(flags.export)
        with learned.classifier() as classifier:
            rows = answers(learned, classifier, paths)
            if flags.export is not None:
                export(classifier, flags.export)
    except UserError as error:
        return tell_error(error)
    if paths:
        (_write_csv if flags.format == 'csv' else _print_table)(rows)
    notes = sys.stderr if flags.format == 'csv' else sys.stdout
    for line in learned.notes():
        notes.write(line + '\n')
    if flags.export is not None:
        notes.write(printable_line('%s: the network of task %d as a SavedModel; its classes: %s' % (
            flags.export, flags.task, ', '.join(map('%d %s'.__mod__, enumerate(learned.classes))))) + '\n')
    return 0


def _write_csv(rows):
    writer = csv.writer(sys.stdout, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows((path, name, '%.9g' % probability) for path, name, probability in rows)


def _print_table(rows):
    shown = [COLUMNS] + [(printable_line(path), printable_line(name), '%.4f' % probability)
                         for path, name, probability in rows]
    widths = [max(map(len, column)) for column in zip(*shown)]
    for row in shown:
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


# ---- what was learned ----

class Learned(NamedTuple):
    """A task as a parameter file knows it."""
    file: parameter_files.ParameterFile
    experiment: Experiment
    task: int
    images: Mapping[str, Any]       # of the task, as trial_analyses wrote them

    @property
    def classes(self):
        """Their names; a label is a place among them."""
        return self.images['classes']

    @property
    def source(self):
        """The Source of the images that it learned from."""
        return DATASETS[self.experiment.data_type].source

    def notes(self):
        """What else the user should know of the answers."""
        if all(self.images[what][split] == self.images[what]['train']
               for what in ('scale', 'offset') for split in ('valid', 'test')):
            return []
        return ['note: each split was standardised by itself; these images are standardised as the training '
                'images were']

    def classifier(self):
        """The Classifier of the task.

        Raises:
            UserError: the file's parts do not fit each other.
        """
        from classification.analysis.classifier import Classifier
        from utils import runtime
        method, about = method_of(self.experiment), self.file.about
        method.state, method.arrays = about['state'], dict(self.file.arrays)
        if 'pattern' in about:      # of an alternative, which may not have been chosen
            method.remember(about['task'], about['pattern'])
        seen = {'swap': self.images['swap'], 'scale': self.images['scale']['train'],
                'offset': self.images['offset']['train']}
        return Classifier(method, self.file.store, self.task, seen, self.source.largest,
                          runtime.session_config(cores()))


def load(path, task):
    """Learned.

    Raises:
        UserError: a file that is none, or is not enough; a task that it does not know; a plug-in that is
            missing.
    """
    file = parameter_files.load(path)
    about = file.about
    if 'experiment' not in about or 'images' not in about:
        raise UserError('%s was written by earlier code and does not hold what predictions need; train again '
                        'with --saveparam' % path)
    try:
        experiment = Experiment.from_json(about['experiment'])
        images = {images['task']: images for images in json.loads(about['images'])}
    except (LookupError, TypeError) as problem:         # the texts are those that were written
        raise UserError('%s was written by newer code (%s); use that code' % (path, problem)) from problem
    _check_plugins(path, experiment)
    if task not in experiment.class_counts:
        raise UserError('--task %d: the experiment of %s has the tasks %s' % (
            task, path, _listed(experiment.class_counts)))
    if task not in images:
        raise UserError('--task %d was not learned yet when %s was written; it knows %s'
                        % (task, path, _listed(images)))
    if images[task]['noise']:
        raise UserError('--task %d: noise was added to the images that this task learned from, and the '
                        'network does not know images without it; take a task without noise' % task)
    return Learned(file, experiment, task, images[task])


def _listed(tasks):
    return ', '.join(map(str, sorted(tasks)))


def _check_plugins(path, experiment):
    if set(experiment.plugins) - {plugin.digest for plugin in plugin_files.LOADED.values()}:
        raise UserError('%s was trained with a plug-in (%s on %s) that is not loaded; add --plugin FILE.py, '
                        'the file as it was then' % (path, experiment.model_type, experiment.data_type))


# ---- images ----

def files_of(paths):
    """Paths of image files: a folder means those in it."""
    found = []
    for path in paths:
        inside = images_below(path) if os.path.isdir(path) else [path]
        if not inside:
            raise UserError('%s: no image in it (%s expected)' % (path, ', '.join(photographs.ENDINGS)))
        found += inside
    return found


def answers(learned, classifier, paths):
    """List of (path, name of the class, its probability); some images are in memory at a time."""
    shape, size = learned.experiment.net.image_shape, learned.experiment.evaluation_batch
    if paths:
        photographs.packages('classification.predict')
    found = []
    for start in range(0, len(paths), size):
        batch = paths[start:start + size]
        # all threads end here, at an error too: one that is still in OpenCV makes the process abort
        with silent_libraries(), ThreadPoolExecutor(cores()) as workers:
            images = np.stack(list(workers.map(lambda path: _picture(learned.source, path, shape), batch)))
        outputs = classifier(images)
        found += [(path, learned.classes[label], probabilities[label])
                  for path, label, probabilities in zip(batch, outputs['class'], outputs['probabilities'])]
    return found


def _picture(source, path, shape):
    try:
        with open(path, 'rb') as stream:
            content = stream.read()
    except OSError as error:
        raise UserError('%s cannot be read: %s' % (path, error.strerror)) from error
    image = (source.picture or photographs.picture)(content, shape)
    if image is None:
        raise UserError('%s is damaged or no image (%d bytes)' % (path, len(content)))
    return image


# ---- SavedModel ----

def _check_free(folder):
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise UserError('--export %s: it exists already; a new or an empty folder is needed' % folder)


def export(classifier, folder):
    """Writes the SavedModel, whole or not at all; TensorFlow does not take every name of a folder."""
    try:
        target = os.path.realpath(folder)
        around = os.path.dirname(target)
        with tempfile.TemporaryDirectory() as place:
            made = os.path.join(place, 'model')
            classifier.export(made)
            os.makedirs(around, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix='.new-', dir=around) as beside:
                whole = os.path.join(beside, 'model')
                shutil.move(made, whole)         # a copy, where this is another disk
                os.replace(whole, target)        # which may be an empty folder
    except OSError as error:
        raise UserError('--export %s: %s' % (folder, error_text(error))) from error


if __name__ == '__main__':
    run_command(main)
