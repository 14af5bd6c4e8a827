"""The orders of tasks that --task_order asks for."""
from classification.experiment.experiment import SAME_SHUFFLED, SHUFFLED
from utils.utils import UserError


def asked(flags, num_tasks, model):
    """What --task_order says.

    Args:
        flags: namespace of main.py's parser.
        num_tasks: tasks of the experiment.
        model: declare.Model.
    Returns:
        (order, rule): fields task_order and order_rule of the Experiment; None without the flag.
    Raises:
        UserError: it is no order, or does not go with the other flags.
    """
    text = flags.task_order
    if flags.same_order and text != SHUFFLED:
        raise UserError('--same_order is about orders that are drawn; add --task_order shuffled, or leave it '
                        'away')
    if text is None:
        return None
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
