"""Result files with made numbers, for the tests of the report."""
import json
import os
from collections import OrderedDict

import numpy as np

from classification.model.registry import MODELS
from classification.results.mat_file import append_entry
from classification.results.summary import distinct, summary
from classification.results.trial_record import TrialRecord
from utils.utils_env_cl import patterns_of

LAYERS = 4


def info(model='Hybrid_HPS', pattern=None, **more):
    """`model_specific_info` of a model type."""
    fields = OrderedDict([
        ('architecture', MODELS[model].architecture), ('learning_rate', 1e-3), ('early_stopping_para', [2., 1.5]),
        ('image_dimension', [8, 8, 1]), ('channel_sizes', [16, 16, 32, 32])])
    if pattern:
        fields['conv_sharing'] = [letter == 'S' for letter in pattern]
    fields.update(more)
    return fields


def record(R, peak=None, trial=0, order=None, epochs=4, seconds=10., parameters=1000, extra=None):
    """A trial with this accuracy matrix; each task's accuracy rises to it over the epochs of its position."""
    R = np.array(R, dtype=np.float64)
    order = list(range(len(R))) if order is None else list(order)
    tasks, rows = distinct(order), 1 + len(order) * epochs
    accuracy = np.full((rows, max(tasks) + 1, 3), np.nan)
    for place, task in enumerate(tasks):
        before = 0.5
        for position in range(order.index(task), len(order)):
            start, now = 1 + position * epochs, R[position, place]
            accuracy[start:start + epochs, task] = np.linspace(before, now, epochs + 1)[1:, None]
            before = now
    accuracy[0, tasks[0]] = 0.5
    learned = [R[order.index(task), place] for place, task in enumerate(tasks)]
    peak = np.array(learned if peak is None else peak, dtype=np.float64)
    best = np.concatenate([[0.5]] + [np.full(epochs, peak[tasks.index(task)]) for task in order])
    return TrialRecord(trial, accuracy, best, np.arange(1, rows, epochs), R, peak, np.full(len(order), seconds / len(order)),
                       seconds, parameters, extra or {})


def drawn(model, tasks=3, trial=0, order=None, epochs=4, level=0.9):
    """A trial of drawn numbers, with the fields that the model's own trials have."""
    draws = np.random.RandomState(1000 * trial + len(model))
    order = list(range(tasks)) if order is None else list(order)
    positions = len(order)
    R = np.full((positions, tasks), np.nan)
    for place in range(tasks):
        first = order.index(distinct(order)[place])
        R[first:, place] = np.clip(level + 0.05 * draws.randn() - np.cumsum(0.03 * draws.rand(positions - first)), 0, 1)
    rows, extra = positions * epochs, OrderedDict()
    if model.startswith('LASEM'):
        weight = np.cumsum(draws.rand(rows, 2 ** LAYERS), axis=0)
        extra['history_net_prior'] = extra['history_net_prior_in_epoch'] = (
            weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    if model.startswith('DARTS'):
        extra['history_DARTS_arch_select'] = draws.randn(rows, 2 * LAYERS).astype(np.float32)
    if model.startswith(('LASEM', 'DARTS')):
        extra['conv_sharing'] = draws.rand(tasks, LAYERS) > 0.5
    if model == 'DEN':
        extra['den_widths'] = 16 + np.cumsum(draws.randint(0, 4, (tasks, LAYERS + 1)), axis=0)
    return record(R, None, trial, order, epochs, 10. + draws.rand(), 1000 + 10 * tasks, extra)


def write(path, model, records, order=None, pattern=None, config=False, **more):
    """Appends an experiment to a result file; with `config` also its config.json."""
    order = list(range(len(records[0].accuracy_matrix))) if order is None else list(order)
    facts = dict([('data_type', 'DIGITS5'), ('data_percent', -1), ('seed', 0), ('command', 'main.py --model_type ' + model),
                  ('versions', {'numpy': '1.16.6'}), ('fingerprint', ('%-64s' % (model + (pattern or ''))).replace(' ', '0')),
                  ('run_id', model + (pattern or ''))], **more)
    append_entry(str(path), summary(info(model, pattern), records, order, facts))
    if config:
        folder = os.path.join(os.path.splitext(str(path))[0], '%s-%s' % (model, facts['fingerprint'][:8]))
        os.makedirs(folder)
        with open(os.path.join(folder, 'config.json'), 'w') as stream:
            json.dump({'experiment': {'model_type': model, 'checksums': {'raw': 'c0ffee', 'design': None}, 'normalize': 'split'},
                       'fingerprint': facts['fingerprint'], 'versions': {'numpy': '1.16.6', 'tensorflow': '1.14.0'},
                       'command': facts['command'], 'git_commit': 'abc', 'host': {'name': 'here'}}, stream)
    return str(path)


def patterns():
    """Those of the made LASEM trials."""
    return patterns_of((1,) * LAYERS)
