"""What a trial does for the analyses that were asked for: more training images, parameter files, fields of
its result."""
import json
import os
import shutil
from collections import OrderedDict

import numpy as np

from classification.analysis import leep, mutual_information, task_identity
from classification.analysis.learned_network import layer_values, made_kernels
from classification.data import augmentation
from classification.results import parameter_files
from classification.results.summary import WITHOUT_IDENTITY
from utils.declarations import KERNEL
from utils.utils import random_state


def tasks_of(experiment, number, tasks):
    """The tasks of a trial: for the STL analysis, one of them has more training images."""
    if 'stl_analysis' not in experiment.analyses:
        return tasks
    asked = experiment.analyses['stl_analysis']
    return augmentation.enlarged(tasks, asked['task'], asked['ratio'], experiment.seed, number)


def trains_by_published_patience(experiment):
    """Whether the published patience rule ends a task, as in the STL analysis."""
    return 'stl_analysis' in experiment.analyses


def fields(trial):
    """Fields for the run's struct, when all tasks are learned: dict name -> array."""
    found = OrderedDict()
    if 'leep' in trial.experiment.analyses:
        found.update(leep.fields(trial.state.history.leep))
    if 'mutual_info' in trial.experiment.analyses:
        rows = [_mutual_information(trial, task) for task in trial.experiment.tasks]
        found['mutual_info_input'], found['mutual_info_output'] = [
            np.array([row[side] for row in rows]) for side in (0, 1)]
    if 'without_task_identity' in trial.experiment.analyses:
        rows = np.array(trial.state.history.without_task_identity)[:, list(trial.experiment.tasks)]
        found.update(zip(WITHOUT_IDENTITY, np.moveaxis(rows, 2, 0)))
    return found


def position_learned(trial):
    """What is measured with the parameters that a position hands on."""
    if 'without_task_identity' in trial.experiment.analyses:
        history, learned = trial.state.history, list(trial.schedule.tasks_at(trial.state.position))
        row = np.full((history.num_tasks, len(WITHOUT_IDENTITY)), np.nan)
        row[learned] = task_identity.shares(
            trial.method, trial.store, [trial.tasks[task] for task in learned],
            trial.settings.evaluation_batch, trial.context.config)
        history.without_task_identity.append(row)


def _mutual_information(trial, task):
    """(with the images, with the labels), each [layers], on at most 500 test images, drawn:
    some test sets are sorted."""
    experiment, split = trial.experiment, trial.tasks[task].test
    rows = random_state(experiment.seed, trial.number, task, purpose='mutual information').permutation(
        split.size)
    rows = np.sort(rows[:mutual_information.MAX_IMAGES])
    images = split.seen(rows)
    layers = layer_values(trial.method, trial.store, task, images, experiment.evaluation_batch,
                          trial.context.config)
    return mutual_information.of_layers(images, split.labels[rows], layers,
                                        **experiment.analyses['mutual_info'])


def save_parameters(trial, task):
    """Writes the parameter file of the position that was just learned; after the last one, the final file
    too.

    Args:
        task: that was learned.
    """
    path = parameter_files.path_of(trial.context.parameter_folder, trial.number, trial.state.position, task)
    _save(path, trial, trial.store, task)
    if trial.state.position + 1 == len(trial.schedule.positions):
        final = os.path.join(os.path.dirname(path), parameter_files.FINAL)
        shutil.copyfile(path, final + '.new')
        os.replace(final + '.new', final)


def save_alternative(trial, task, values):
    """Writes the parameter file of one alternative that was tried for a task (brute force: of one pattern).

    Args:
        values: dict name -> array, the parameters that it ended with.
    """
    path = parameter_files.alternative_path(trial.context.parameter_folder, trial.number, task,
                                            trial.state.phase)
    _save(path, trial, values, task, pattern=trial.method.pattern_of(task))


def _save(path, trial, store, task, **more):
    experiment, tasks = trial.experiment, list(trial.schedule.tasks_at(trial.state.position))
    layout = experiment.model.parameter_fields()
    about = OrderedDict([
        ('schema_version', parameter_files.SCHEMA_VERSION), ('model_type', experiment.model_type),
        ('data_type', experiment.data_type), ('fingerprint', experiment.fingerprint()),
        ('trial', trial.number),
        ('position', trial.state.position), ('task', task), ('tasks', tasks),
        ('state', json.dumps(trial.method.state)), ('experiment', experiment.to_json()),
        ('images', json.dumps([_images_of(trial.tasks[each]) for each in tasks]))], **more)
    sizes = {'conv': len(experiment.net.layers), 'fc': len(experiment.net.hidden) + 1}
    parameter_files.save(path, store, layout, tasks, sizes, about, _made(trial, store, tasks, layout),
                         trial.method.network_arrays())


def _images_of(task):
    """What is done to a task's images before its network sees them, and what its classes are called; as JSON
    keeps it.

    A number is a float32 with all its digits.
    """
    splits = OrderedDict((split, augmentation.before_enlarging(getattr(task, split)))
                         for split in ('train', 'valid', 'test'))
    return OrderedDict([
        ('task', task.index), ('classes', list(map(str, task.classes))),
        ('noise', task.test.noisy), ('swap', task.test.swap),
        ('scale', {split: part.scale.tolist() for split, part in splits.items()}),
        ('offset', {split: part.offset.tolist() for split, part in splits.items()})])


def _made(trial, store, tasks, layout):
    """dict name -> array: what the files hold beside the store."""
    names, made = [name for field in layout for name in field.names], {}
    if KERNEL in names:
        kernels = made_kernels(trial.method, store, tasks, trial.context.config)
        made.update((KERNEL.format(task=owner, layer=layer), kernel)
                    for (owner, layer), kernel in kernels.items())
    made.update(trial.method.left)
    return made
