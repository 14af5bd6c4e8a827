"""How large the entry of an experiment in the result file will be, told before anything is trained."""
import json
from collections import OrderedDict
from typing import Any, Mapping, NamedTuple, Tuple

import numpy as np

from classification.experiment import compositions
from classification.experiment.mat_info import info
from classification.results import mat_file, mat_parts, origin
from classification.results.ragged import packed
from classification.results.summary import LEEP_SCORES, WITHOUT_IDENTITY, summary
from classification.results.trial_record import BY_POSITION, OF_TRIAL, TrialRecord
from utils.utils import UserError, size_text

# Stand for what is not known yet and takes next to nothing.
UNKNOWN = OrderedDict([('seed', 0), ('data_type', 'x' * 11), ('data_percent', 0), ('command', 'x' * 250),
                       ('versions', OrderedDict((name, 'x' * 6)
                                                for name in ('python', 'tensorflow', 'numpy', 'scipy'))),
                       ('schema_version', 1), ('fingerprint', 'x' * 64), ('run_id', 'x' * 32),
                       ('data_folder', 'x' * 30)])
MODULES = 34      # whose digests a trial's origin holds
ORIGIN = json.dumps([dict({name: 'x' * 40 for name in origin.FIELDS}, versions={name: 'x' * 6 for name in (
    'python', 'tensorflow', 'tensorflow_distribution', 'numpy', 'scipy')},
    threads=1, uncommitted_changes=True, design_checksum=None,
    source_modules=['x' * 32] * MODULES, source_digests=['x' * 16] * MODULES)])


class Size(NamedTuple):
    """What the shapes of a method's own fields depend on."""
    tasks: int                # different ones
    epochs: int               # of a trial
    layers: Tuple[Any, ...]   # utils_env_cl.ConvSpec of the convolutions
    hidden: Tuple[int, ...]   # units of the hidden layers
    options: Mapping          # the method's


def entry_of(experiment, records, more):
    """The entry of a result file.

    Args:
        experiment: Experiment.
        records: TrialRecord of its trials.
        more: see results.summary.
    """
    if experiment.order_rule:
        more = dict(more, task_order_rule=experiment.order_rule)
    more = dict(more, **compositions.fields(experiment))
    return summary(info(experiment), records, experiment.task_order, more,
                   leep=experiment.pattern is not None and experiment.model.method.published_leep,
                   lifelong=experiment.lifelong, trainer_fields=experiment.model.method.trainer_fields)


def chosen_patterns(record):
    """The patterns that a search chose, by task."""
    return [''.join('TS'[int(shared)] for shared in row) for row in record.extra['conv_sharing']]


def entry_bytes(experiment, trials):
    """Bytes of the entry with so many trials; at most, where training may end early.

    They grow by the same number with each trial, and with each epoch of a trial; so small entries tell.
    """
    positions = len(experiment.task_order) if experiment.lifelong else 1
    epochs = experiment.training.epochs * (positions if experiment.lifelong else len(experiment.tasks))
    one, two, longer = [_encoded_bytes(experiment, number, rows) for number, rows in (
        (1, positions), (2, positions), (1, 2 * positions))]
    per_epoch = (longer - one) / positions
    return int(one + (two - one) * (trials - 1) + per_epoch * (epochs - positions) * trials)


def check(experiment, trials):
    """A UserError if the entry would be too large for MATLAB by itself; returns its bytes."""
    size = entry_bytes(experiment, trials)
    if size > mat_parts.MAX_BYTES:
        raise UserError(
            'its entry in the result file would take %s, and MATLAB reads at most %s; ask for fewer trials '
            '(--num_runs) or epochs (--epochs_per_task)'
            % (size_text(size), size_text(mat_parts.MAX_BYTES)))
    return size


def _encoded_bytes(experiment, trials, epochs):
    records = [_record(experiment, number, epochs) for number in range(trials)]
    more = dict(UNKNOWN, chosen_config=experiment.pattern or [chosen_patterns(record) for record in records])
    if 'saveparam' in experiment.analyses:
        more['parameter_folder'] = 'x' * 40
    if 'save_predictions' in experiment.analyses:
        more['predictions_file'] = 'x' * 50
    return len(mat_file.encoded({mat_parts.SUMMARY: [entry_of(experiment, records,
                                                              more)]})) - mat_parts.HEADER


def _record(experiment, number, epochs):
    """A trial of that many epochs, with arrays of the shapes that it would leave."""
    tasks = experiment.tasks
    order = experiment.task_order if experiment.lifelong else experiment.task_order[:1]
    positions, rows = len(order), epochs + 1
    extra = OrderedDict((name, np.zeros(shape, kind)) for name, shape,
                        kind in _own_fields(experiment, epochs, positions))
    return TrialRecord(number, np.zeros((rows, len(experiment.class_counts), 3)), np.zeros(rows),
                       1 + np.arange(positions) * epochs // positions, np.zeros((positions, len(tasks))),
                       np.zeros(len(tasks)),
                       np.zeros(positions), 0., 0, extra, np.zeros(len(tasks), bool), ORIGIN,
                       np.array(experiment.of_trial(number).task_order) if experiment.order_rule else None,
                       np.zeros(len(tasks)), np.zeros(epochs), np.zeros(epochs),
                       *_confusion(experiment, order), resources=dict(
                           {name: np.zeros(positions) for name in BY_POSITION},
                           multiply_adds=np.zeros(len(tasks)), **dict.fromkeys(OF_TRIAL, 0.)))


def _confusion(experiment, order):
    """Packed confusion matrices of a trial, of a test split with more than 255 images of a class."""
    counts = experiment.class_counts
    return packed({(position, task): np.full((counts[task], counts[task]), 256)
                   for position in range(len(order))
                   for task in (order[:position + 1] if experiment.lifelong else experiment.tasks)})


def _own_fields(experiment, epochs, positions):
    """(name, shape, type) of what a method and the analyses add to a trial."""
    tasks, layers = len(experiment.tasks), len(experiment.net.layers)
    size = Size(tasks, epochs, experiment.net.layers, experiment.net.hidden, experiment.options)
    fields = list(experiment.model.method.fields(size))
    if experiment.pattern is None and 'conv_sharing' not in [field[0] for field in fields]:
        fields.append(('conv_sharing', (tasks, layers), bool))
    if not experiment.lifelong:
        fields += [('history_trained_task', (epochs,), int)] + [
            (name, (), float) for name in ('best_validation_error', 'test_error_at_best_epoch', 'best_epoch')]
    if 'leep' in experiment.analyses:
        fields += [(name, (positions, len(experiment.class_counts)), float) for name in LEEP_SCORES]
    if 'mutual_info' in experiment.analyses:
        fields += [(name, (tasks, layers), float) for name in ('mutual_info_input', 'mutual_info_output')]
    if 'without_task_identity' in experiment.analyses:
        fields += [(name, (positions, tasks), float) for name in WITHOUT_IDENTITY]
    return fields
