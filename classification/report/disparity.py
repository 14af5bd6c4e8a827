"""How much a method's final accuracies depend on the order of tasks (Yoon et al., ICLR 2020).

Order-normalised performance disparity (OPD) of a task: the largest minus the smallest of its final test
accuracies over the orders. AOPD is the mean of it over tasks, MOPD the maximum.
"""
from collections import OrderedDict
from typing import Dict, List, NamedTuple

import numpy as np

from classification.report.groups import (
    SHUFFLED,
    checksums_key,
    method_name,
    same_data_key,
    shown_setting,
    title_of_data,
)
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
    found = [_disparity(members) for members in families.values()]
    return [one for one in found if one.of_tasks]


def _family(one):
    """What is equal in the experiments whose orders are looked at together."""
    info = one.result['model_specific_info']
    settings = sorted((name, shown_setting(value)) for name, value in info.items()
                      if name != 'number_of_trainable_parameters')
    drawn = one.result.get('task_order_rule') == SHUFFLED and (one.path, one.number)
    return (method_name(one.result, one.config), repr(settings), same_data_key(one), checksums_key(one),
            drawn)


def _disparity(members):
    orders = [order for one in members for order in one.orders]
    accuracies = [values for one in members for values in one.result['final_accuracy']]
    whole = whole_orders(orders)
    labels = distinct([one.label for one in members])
    label = labels[0] if len(labels) == 1 else method_name(members[0].result, members[0].config)
    return Disparity(label, title_of_data(members[0]), len(whole),
                     sum(tuple(order) in whole for order in orders), by_task(orders, accuracies),
                     distinct([one.path for one in members]))
