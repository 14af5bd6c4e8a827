"""Which experiments of some result files can be compared, and what each is called."""
import os
from collections import OrderedDict
from typing import Any, Dict, List, NamedTuple

import numpy as np

from classification.experiment import compositions
from classification.model.registry import MODELS
from classification.report import origins
from classification.results.mat_parts import first_of, series
from classification.results.read_results import load_config, load_results
from classification.results.summary import (
    WITHOUT_IDENTITY,
    distinct,
    in_words,
    orders_differ,
    orders_of_trials,
)
from classification.results.texts import problem
from utils.utils import UserError, plural, tasks_in

SHUFFLED = 'shuffled'       # task_order_rule: each trial has an order of its own
_BY_ARCHITECTURE = {row.architecture: model for model, row in MODELS.items()}


class Reported(NamedTuple):
    """An experiment of the report."""
    label: str                   # the method; unique in its group
    path: str                    # of its file
    number: int                  # of the experiment in its file, from 1
    result: Dict[str, Any]       # what `load_results` gave
    config: Dict[str, Any]       # its config.json; {}: there is none

    @property
    def trials(self):
        """[R]; the trials' numbers, which are also those of their data."""
        return self.result['train_valid_data_group']

    @property
    def tasks(self):
        """The different tasks, by data-set index."""
        return tasks_in(self.result['task_order'].ravel().tolist())

    @property
    def orders(self):
        """[R][K]: the tasks of each trial, in the order learned."""
        return orders_of_trials(self.result['task_order'], len(self.trials))

    @property
    def orders_differ(self):
        """Whether the trials learn the tasks in different orders."""
        return orders_differ(self.result['task_order'])


class Group(NamedTuple):
    """Experiments on the same data, in the order of the files."""
    title: str
    members: List[Reported]
    notes: List[str]             # what the reader should know about the comparison
    composition: str = ''        # where the classes of the tasks come from; '': not known


def read_groups(paths, assume_same_data=False):
    """The experiments of result files, grouped by their data.

    Args:
        paths: of result files.
        assume_same_data: files of the authors' release do not say what data they used; True: the same where
            image sizes and orders of tasks agree.
    Returns:
        (list of Group, list of notes on the files).
    Raises:
        UserError: a file cannot be read.
    """
    if not paths:
        raise UserError('no result file was given')
    found = []
    for path in _with_next_files(paths):
        for number, result in enumerate(load_results(path), 1):
            config = load_config(first_of(path), result['fingerprint']) if 'fingerprint' in result else {}
            found.append(Reported(method_name(result, config), path, number, result, config))
    found, notes = _newest(found)
    groups = {}
    for one in found:
        groups.setdefault(_data_key(one, assume_same_data), []).append(one)
    return [_group(members) for same in groups.values() for members in _by_checksums(same)], notes


def _with_next_files(paths):
    """Result files, and those that continue them; each once."""
    found = {}
    for path in paths:
        for file in series(path):
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def method_name(result, config):
    """'Hybrid_HPS TTSS', 'LASEM_TF': the model type, and the shared layers where they were asked for."""
    info = result['model_specific_info']
    architecture = info.get('architecture', 'unknown method')
    name = config.get('experiment', {}).get('model_type') or _BY_ARCHITECTURE.get(architecture, architecture)
    shared = info.get('conv_sharing')
    if shared is not None and (name not in MODELS or MODELS[name].pattern == 'asked'):
        name += ' ' + ''.join('TS'[int(one)] for one in shared)
    if 'STL_analysis' in info:
        name += ' (STL analysis)'
    elif 'best_valid_error' in result:
        name += ' (joint)'
    return name


def _newest(found):
    """Of each experiment the entry with most trials, the finished and the later one first;
    and notes on the others."""
    best, notes = {}, []
    for index, one in enumerate(found):
        key = one.result.get('fingerprint') or (one.path, one.number)
        rank = (len(one.trials), not one.result['unfinished'], index)
        if key in best:
            left_out = min((rank, one), best[key], key=lambda pair: pair[0])[1]
            notes.append('%s of %s is left out: the same experiment again'
                         % (left_out.label, _place(left_out)))
        best[key] = max((rank, one), best.get(key, (rank, one)), key=lambda pair: pair[0])
    return [one for rank, one in sorted(best.values(), key=lambda pair: pair[0][2])], notes


def _place(one):
    return '%s, experiment %d' % (one.path, one.number)


def _data_key(one, assume_same_data):
    """What must agree in experiments that are compared."""
    drawn = one.result.get('task_order_rule') == SHUFFLED       # of the seed, trial by trial
    return same_data_key(one, assume_same_data) + (SHUFFLED if drawn else repr(one.orders[0]),
                                                   tuple(one.tasks))


def same_data_key(one, assume_same_data=False):
    """What must agree in experiments that are compared, but for the order of tasks."""
    result = one.result
    data = result.get('data_type')
    if data is None and not assume_same_data:
        data = (one.path, one.number)
    percent, seed = [_number(result.get(name)) for name in ('data_percent', 'seed')]
    return (data, percent, seed, result.get('composition_rule'), result.get('splits_checksum'),
            tuple(np.ravel(result['model_specific_info'].get('image_dimension', ()))))


def _number(value):
    """An int; None for what stands for none: a missing field, -1, MATLAB's []."""
    return int(value) if isinstance(value, (int, float)) and value >= 0 else None


def _by_checksums(members):
    """Parts whose raw data, splits and scaling are the same, as far as that is known."""
    return [part for same in parts(members, origins.data_checksums) for part in parts(same, _preparation)]


def parts(members, fact):
    """Lists of the members of which a fact is the same. Where it is None, not known, members join the only
    other; where there are several others, they stand for themselves.

    Args:
        fact: function of a Reported.
    """
    known = OrderedDict()
    for one in members:
        known.setdefault(fact(one), []).append(one)
    return [members] if len(set(known) - {None}) < 2 else list(known.values())


def _preparation(one):
    """Splits and scaling, as config.json tells; None: it does not."""
    experiment = one.config.get('experiment')
    return None if experiment is None else repr((experiment.get('normalize'),
                                                 experiment.get('data_options', {}).get('split')))


def _group(members):
    notes = []
    if any('data_type' not in one.result for one in members):
        notes.append('A file of the authors\' release does not say on what data it was trained%s.' % (
            '; the same is assumed' if len(members) > 1 else ''))
    computed = [one.path for one in members if one.result['computed_fields']]
    if computed:
        notes.append(
            'Computed from the histories, which LASEM and DARTS write before unchosen layers are rolled '
            'back: %s.'
            % ', '.join(distinct(computed)))
    for one in members:
        if one.result['unfinished']:
            notes.append('%s is not finished: %s so far.' % (one.label, plural(len(one.trials), 'trial')))
    if any(one.orders_differ for one in members):
        notes.append('Trials learn the tasks in different orders. What is said of a task goes by its '
                     'data-set index; means over trials of a task leave out the trials in which the number '
                     'is undefined.')
    members = _told_apart(members)
    notes += origins.notes(members)
    return Group(_title(members[0]), members, notes + _problems(members) + _times(members),
                 _composition(members[0].result))


def _problems(members):
    """Which problem the methods solve; they are named where it is not the same."""
    labels = OrderedDict()
    for one in members:
        evaluated = any(name in one.result for name in WITHOUT_IDENTITY.values())
        text = problem('best_valid_error' not in one.result, evaluated)
        labels.setdefault(text[0].upper() + text[1:], []).append(one.label)
    return ['%s%s.' % (text, ' (%s)' % ', '.join(of_text) if len(labels) > 1 else '')
            for text, of_text in labels.items()]


def _times(members):
    """A note where times say nothing about methods, since trials shared the machine differently."""
    labels = OrderedDict()
    for one in members:
        shares = set(zip(*[np.ravel(one.result.get(name, np.nan)).tolist() for name in ('jobs', 'threads')]))
        text = ' and '.join(distinct(
            '%s at a time with %s' % (plural(int(jobs), 'trial'), plural(int(threads), 'thread'))
            if np.isfinite([jobs, threads]).all() else 'not known' for jobs, threads in sorted(shares)))
        labels.setdefault(text, []).append(one.label)
    return [] if len(labels) < 2 else ['Times are not comparable: %s.' % '; '.join(
        '%s (%s)' % (text, ', '.join(of_text)) for text, of_text in labels.items())]


def _composition(result):
    return compositions.in_words(result['data_type'], result) if 'data_type' in result else ''


def _title(one):
    order = one.orders[0]
    named = 'order of tasks %s' % ('%d to %d' % (order[0], order[-1]) if order
                                   == list(range(order[0], order[0] + len(order)))
                                   and len(order) > 4 else in_words(order))
    if one.result.get('task_order_rule') == SHUFFLED:
        named = 'order of tasks shuffled in each trial'
    return title_of_data(one, plural(len(one.tasks), 'task'), named)


def title_of_data(one, *more):
    """'DIGITS5, seed 0'."""
    percent, seed = [_number(one.result.get(name)) for name in ('data_percent', 'seed')]
    composition = compositions.in_title(one.result)
    return ', '.join([str(one.result.get('data_type', 'data not recorded'))
                      + ('' if percent is None else ' at %d %%' % percent)]
                     + ([composition] if composition else []) + list(more)
                     + ([] if seed is None else ['seed %d' % seed]))


def _told_apart(members):
    """The members with unique labels: what differs in their settings, else their file, else their place in
    it."""
    for more in (_settings_that_differ, lambda same: [os.path.basename(one.path) for one in same],
                 lambda same: ['experiment %d' % one.number for one in same],
                 lambda same: ['no. %d' % number for number in range(1, len(same) + 1)]):
        labels = [one.label for one in members]
        for label in distinct(labels):
            indices = [index for index, one in enumerate(members) if labels[index] == label]
            texts = more([members[index] for index in indices])
            if len(set(texts)) > 1:
                for index, text in zip(indices, texts):
                    members[index] = members[index]._replace(label='%s, %s' % (label, text))
    return members


def _settings_that_differ(members):
    infos = [dict(one.result['model_specific_info']) for one in members]
    names = [name for name in distinct([name for info in infos for name in info])
             if name != 'number_of_trainable_parameters'
             and len({shown_setting(info.get(name)) for info in infos}) > 1][:2]
    return [', '.join('%s %s' % (name, shown_setting(info.get(name))) for name in names) for info in infos]


def shown_setting(value):
    """A setting as text."""
    if isinstance(value, np.ndarray):
        return ' '.join('%g' % one for one in value.ravel()) if value.dtype.kind in 'biuf' else '...'
    return '%g' % value if isinstance(value, float) else str(value)
