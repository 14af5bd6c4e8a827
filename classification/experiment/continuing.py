"""Which experiment another one continues: the same in everything, with a beginning of its tasks."""
import json

from classification import gen_data
from classification.model.registry import MODELS

# What two experiments of which one continues the other need not have in common, beside their checksums.
OF_TASKS = ('task_order', 'class_counts')


def more_can_come(experiment):
    """Whether a longer experiment may continue this one some day: there are more tasks, or may be."""
    dataset = gen_data.DATASETS[experiment.data_type]
    grows = dataset.source.grows or dataset.origin is not None
    return _never(_fields(experiment)) is None and (
        grows or len(experiment.tasks) < dataset.num_tasks)


def is_shorter(experiment, earlier):
    """Whether another experiment is this one with fewer tasks, at least by what it is told.

    Args:
        earlier: the other one's fields, as config.json has them.
    """
    mine = _fields(experiment)
    return set(OF_TASKS) <= set(earlier) and _common(mine) == _common(earlier) and _length(earlier) < _length(
        mine)


def reason_against(experiment, earlier):
    """Why an experiment does not continue a shorter one, in words; None: it does.

    Args:
        earlier: fields of an experiment of which `is_shorter` is true.
    """
    mine = _fields(experiment)
    order, before = mine['task_order'], earlier['task_order']
    if _never(mine):
        return _never(mine)
    if order[:len(before)] != before:
        return 'its order of tasks, %s, is no beginning of %s' % tuple(
            ' '.join(map(str, tasks)) for tasks in (before, order))
    returning = [task for task in set(before) if before.count(task) == 1 < order.count(task)]
    if returning and MODELS[experiment.model_type].method.looks_ahead:
        return '%s needs to know that task %d returns when it learns it first' % (
            experiment.model_type, min(returning))
    numbers = sorted(earlier['class_counts'], key=lambda task: (len(task), task))
    changed = [task for task in numbers if mine['class_counts'].get(task) != earlier['class_counts'][task]]
    here, there = [fields['checksums'].get('tasks', []) for fields in (mine, earlier)]
    changed += [number for number, checksum in enumerate(there) if here[number:number + 1] != [checksum]]
    if changed:
        return 'the images of its task %s are others now' % changed[0]
    return None


def _fields(experiment):
    return json.loads(experiment.to_json())


def _never(fields):
    """Why such an experiment can never be continued; None: it can."""
    if not fields['lifelong']:
        return 'joint training learns all tasks together'
    if 'stl_analysis' in fields['analyses']:
        return 'the STL analysis learns one task'
    if fields.get('order_rule'):
        return 'the order of each trial is drawn anew from the number of tasks'
    return None


def _length(fields):
    return len(fields['class_counts']), len(fields['task_order'])


def _common(fields):
    """What must be equal in two experiments of which one continues the other."""
    kept = {name: value for name, value in fields.items() if name not in OF_TASKS}
    if 'tasks' in kept.get('checksums', {}):
        kept['checksums'] = {name: value for name, value in kept['checksums'].items()
                             if name not in ('raw', 'tasks')}
    if 'stl_analysis' in kept.get('analyses', {}):       # its epochs grow with the number of tasks
        kept['training'] = {name: value for name, value in kept['training'].items() if name != 'epochs'}
    return kept
