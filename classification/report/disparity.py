"""How much a method's final accuracies depend on the order of tasks (Yoon et al., ICLR 2020).

Order-normalised performance disparity (OPD) of a task: the largest minus the smallest of its final test
accuracies over the orders. AOPD is the mean of it over tasks, MOPD the maximum.
"""
import json
from collections import OrderedDict
from typing import Dict, List, NamedTuple

import numpy as np

from classification.experiment.continuing import OF_TASKS
from classification.report.groups import (
    SHUFFLED,
    method_name,
    parts,
    same_data_key,
    shown_setting,
    title_of_data,
)
from classification.report.origins import data_checksums, numeric_versions
from classification.results import origin
from classification.results.summary import distinct
from utils.utils import tasks_in

TITLE = 'order-normalised performance disparity (Yoon et al., ICLR 2020)'
DEFINITION = ('per task, the largest minus the smallest final test accuracy over the orders of tasks in '
              'which it occurs, at least two; AOPD: mean over tasks, MOPD: maximum. Trials of the same '
              'order count with their mean, an order that is the beginning of another one does not '
              'count; trials also differ in their data and draws')


class Disparity(NamedTuple):
    """Of one method on the same data."""
    label: str
    data: str
    orders: int                 # different ones
    trials: int                 # with these orders
    of_tasks: Dict[int, float]  # of the tasks that occur in at least two orders
    files: List[str]

    @property
    def aopd(self):
        """Mean over tasks."""
        return float(np.mean(list(self.of_tasks.values())))

    @property
    def mopd(self):
        """Maximum over tasks."""
        return float(np.max(list(self.of_tasks.values())))


def by_task(orders, accuracies):
    """{task: OPD} of the tasks that occur in at least two different orders, none the beginning of another.

    Args:
        orders: list of orders of tasks, one for each trial.
        accuracies: for each trial, the final accuracy on each of its tasks, by data-set index.
    """
    of_order = OrderedDict()
    for order, values in zip(orders, accuracies):
        of_order.setdefault(tuple(order), []).append(values)
    finals = {}                 # task -> its final accuracy after each order
    for order in whole_orders(of_order):
        values = of_order[order]
        for task, accuracy in zip(tasks_in(order), np.mean(values, axis=0)):
            finals.setdefault(task, []).append(accuracy)
    return OrderedDict((task, float(max(found) - min(found))) for task, found in sorted(finals.items())
                       if len(found) > 1)


def whole_orders(orders):
    """The different orders without those that are the beginning of another one."""
    orders = distinct(map(tuple, orders))
    return [order for order in orders if not any(other != order and other[:len(order)] == order
                                                 for other in orders)]


def disparities(groups):
    """The Disparity of each method that was trained with several orders on the same data: of an experiment
    whose trials have orders of their own, or of all experiments with a given order.

    Args:
        groups: list of groups.Group.
    """
    families = OrderedDict()
    for group in groups:
        for one in group.members:
            if 'final_accuracy' in one.result and 'best_valid_error' not in one.result:
                families.setdefault(_family(one), []).append(one)
    found = [_disparity(members) for family in families.values() for members in _trained_alike(family)]
    return [one for one in found if one.of_tasks]


def _family(one):
    """What is equal in the experiments whose orders are looked at together."""
    info = one.result['model_specific_info']
    settings = sorted((name, shown_setting(value)) for name, value in info.items()
                      if name != 'number_of_trainable_parameters')
    drawn = one.result.get('task_order_rule') == SHUFFLED and (one.path, one.number)
    return method_name(one.result, one.config), repr(settings), same_data_key(one), drawn


def _trained_alike(family):
    """Parts of a family with the same data and, but for the order, the same settings. Where config.json does
    not tell them of all, what the file tells of the training must be the same too."""
    facts = (data_checksums, _settings)
    if not all(one.config.get('experiment') for one in family):
        facts += (_most_epochs, _first_rates, _numeric_versions, _tensorflow)
    found = [family]
    for fact in facts:
        found = [part for members in found for part in parts(members, fact)]
    return found


def _settings(one):
    """What the fingerprint is made of, but for the order of tasks; None: there is no config.json."""
    fields = one.config.get('experiment')
    return None if not fields else json.dumps(
        {name: value for name, value in fields.items() if name not in OF_TASKS + ('order_rule',)},
        sort_keys=True)


def _most_epochs(one):
    """The most epochs that a trial learned at a position: those a task is given, unless early stopping ended
    every position."""
    ends = [np.append(run['task_changed_epoch'], run['num_epoch'] + 1)
            for run in one.result['result_of_each_run'] if 'task_changed_epoch' in run and 'num_epoch' in run]
    return int(max(np.diff(rows).max() for rows in ends)) if ends else None


def _first_rates(one):
    """The learning rates of the first two epochs, which tell how it decays."""
    return tuple('%.9g' % rate for run in one.result['result_of_each_run'][:1]
                 for rate in run.get('history_learning_rate', ())[:2]) or None


def _numeric_versions(one):
    """Of the code, as the origins of the trials tell."""
    return tuple(distinct(pair for stretches in origin.from_entry(one.result).values()
                          for stretch in stretches for pair in numeric_versions(stretch))) or None


def _tensorflow(one):
    """The major version."""
    versions = one.result.get('versions')
    version = versions.get('tensorflow') if isinstance(versions, dict) else None
    return version.split('.')[0] if isinstance(version, str) else None


def _disparity(members):
    orders = [order for one in members for order in one.orders]
    accuracies = [values for one in members for values in one.result['final_accuracy']]
    whole = whole_orders(orders)
    labels = distinct([one.label for one in members])
    label = labels[0] if len(labels) == 1 else method_name(members[0].result, members[0].config)
    return Disparity(label, title_of_data(members[0]), len(whole),
                     sum(tuple(order) in whole for order in orders), by_task(orders, accuracies),
                     distinct([one.path for one in members]))
