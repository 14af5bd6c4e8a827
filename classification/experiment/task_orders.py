"""The orders of tasks that --task_order and --task_order_type ask for."""
from classification.experiment.experiment import SAME_SHUFFLED, SHUFFLED
from utils.utils import UserError


def by_type(num_tasks, order_type):
    """0: each task once; 1: the first half of the tasks, then all; 2: all tasks twice.

    Raises:
        UserError: another type.
    """
    orders = {0: (), 1: range(num_tasks // 2), 2: range(num_tasks)}
    if order_type not in orders:
        raise UserError(
            '--task_order_type %d is not known; choose 0 (each task once), 1 (the first half, then all) or 2 '
            '(all tasks twice)' % order_type)
    return tuple(orders[order_type]) + tuple(range(num_tasks))


def asked(flags, num_tasks, model):
    """The order in which the tasks are learned.

    Args:
        flags: namespace of main.py's parser.
        num_tasks: tasks of the experiment.
        model: declare.Model.
    Returns:
        (order, rule): fields task_order and order_rule of the Experiment.
    Raises:
        UserError: it is no order, or does not go with the other flags.
    """
    text = flags.task_order
    if flags.same_order and text != SHUFFLED:
        raise UserError('--same_order is about orders that are drawn; add --task_order shuffled, or leave it '
                        'away')
    if text is None:
        return by_type(num_tasks, flags.task_order_type), ''
    _check_others(flags)
    if text == SHUFFLED:
        return tuple(range(num_tasks)), SAME_SHUFFLED if flags.same_order else SHUFFLED
    order = _numbers(text)
    unknown = [task for task in order if not 0 <= task < num_tasks]
    if unknown:
        raise UserError('--task_order %s: there is no task %d; the tasks are 0 to %d'
                        % (text, unknown[0], num_tasks - 1))
    if len(set(order)) < len(order) and not model.method.revisits:
        raise UserError('--task_order %s: %s learns each task once; name each task once' % (text, model.name))
    return order, ''


def _check_others(flags):
    if flags.task_order_type:
        raise UserError('--task_order and --task_order_type both say the order of tasks; leave one of them '
                        'away')
    if flags.stl_analysis:
        raise UserError('--task_order has no meaning for --stl_analysis, which learns one task; leave one of '
                        'them away')
    if not flags.lifelong:
        raise UserError('--task_order is about tasks that come one after the other; add --lifelong')


def _numbers(text):
    try:
        return tuple(int(number) for number in text.split(','))
    except ValueError:
        raise UserError('--task_order %s: numbers of tasks like 3,1,0,2 are needed, or shuffled'
                        % (text or '""')) from None
