"""Whole trials of every model type against what was written down: no number, name or field moves.

    python -m tests.whole_runs [--only EWC]            what differs from tests/whole_runs/, a line each;
                                                       status 1 if something does
    python -m tests.whole_runs --write [--only EWC]    writes what this code finds there

Three tasks of DIGITS5, four epochs each, on the network of tests/support/command_line.py. One file per
TensorFlow generation.
"""
import argparse
import glob
import json
import os
import sys
import tempfile
import time
from collections import OrderedDict

import numpy as np

from classification.experiment import sizes
from classification.experiment.flags import parser
from classification.experiment.mat_info import info
from classification.experiment.resolve import resolve
from classification.gen_data import load_tasks
from classification.model.registry import MODELS
from classification.results import mat_file, parameter_files
from classification.train import Trial
from classification.trial.context import TrialContext
from tests.support import command_line
from tests.support.tiny import quick_config
from utils.tensorflow_version import tensorflow_version

RECORDED = os.path.join(os.path.dirname(__file__), 'whole_runs', 'tf%s.json'
                        % tensorflow_version().split('.')[0])
COMMON = '--gpu -1 --data_type DIGITS5 --num_clayers 2 --num_tasks 3 --epochs_per_task 4'.split()
LIFELONG = tuple(MODELS) + (
    'APD --apd_mode paper', 'APD --apd_mode paper --task_order_type 1',
    'ChannelGate --channel_gate_mode paper',
    'ProgNN --prognn_lateral_head', 'ProgNN --test_type 1', 'DARTS_HPS --darts_approx_order 2',
    'DARTS_HPS --darts_selection_data valid', 'LASEM_HPS --em_cnt_prior', 'LASEM_HPS --reset_prior',
    'LASEM_HPS --seed 2', 'LASEM_HPS --task_order_type 1', 'LASEM_HPS --early_stopping 1',
    'LASEMG_HPS --layer_groups 2',
    'LASEM_fixed_HPS --em_fix_maxC top1 --em_maxP 0.9', 'Hybrid_HPS --transfer_config top1',
    'Hybrid_TF --test_type 6',
    'Hybrid_DFCNN --test_type 3', 'EWC --test_type 3', 'EWC --test_type 3 --task_order_type 1',
    'STL --leep --mutual_info')
JOINT = ('STL', 'SNN', 'Hybrid_HPS', 'Hybrid_TF', 'Hybrid_DFCNN', 'APD')
CASES = tuple('%s --lifelong' % case for case in LIFELONG) + JOINT      # the words behind --model_type
DIGITS, TOLERANCE = 6, 1e-4          # an accuracy is a count of a few hundred images
MAX_VALUES = 60                    # of an array that are compared
LISTED, ARRAYS, TEXTS = ('info', 'parameter_file', 'entry'), ('extra', 'parameters'), 'texts'


def tasks_in(folder):
    """The three tasks."""
    return load_tasks('DIGITS5', str(folder), num_tasks=3, say=lambda line: None)


def found(case, tasks, folder):
    """What a case gives, as JSON keeps it.

    Args:
        case: one of CASES.
        tasks: what `tasks_in` gave.
        folder: an empty one.
    """
    experiment = resolve(parser().parse_args(COMMON + ['--data_dir', str(folder), '--model_type']
                                             + case.split()),
                         lambda line: None)
    parameters = os.path.join(str(folder), 'parameters')
    trial = Trial(experiment, 0, tasks, TrialContext(str(folder), quick_config(),
                                                     parameter_folder=parameters))
    record = trial.run()
    entry = mat_file.as_stored(sizes.entry_of(experiment, [record], {}))
    facts = OrderedDict([
        ('fingerprint', experiment.fingerprint()), ('info', _texts(info(experiment))),
        ('accuracy', _accuracies(record.accuracy)), ('best_test', _accuracies(record.best_test)),
        ('accuracy_matrix', _accuracies(record.accuracy_matrix)), ('peak', _accuracies(record.peak)),
        ('at_chance', record.at_chance.tolist()), ('task_changed_epoch', record.task_changed_epoch.tolist()),
        ('num_parameters', int(record.num_parameters)),
        ('extra', OrderedDict((name, _array(value)) for name, value in record.extra.items())),
        ('parameters', {'norm': _array(np.sqrt(sum(np.sum(np.square(value, dtype=float))
                                                   for value in trial.store.values())))}),
        ('parameter_file', _texts(_parameter_fields(parameters, trial.store))),
        ('entry', _texts(OrderedDict(sorted(_types(entry)))))])
    return json.loads(json.dumps(facts))


def _texts(fields):
    """['name: value', ...] in the order of the fields."""
    return ['%s: %s' % (name, value if isinstance(value, str) else json.dumps(value)) for name,
            value in fields.items()]


def _accuracies(values):
    """Nested lists; NaN as None."""
    rounded = np.round(np.asarray(values, float), DIGITS)
    return np.where(np.isnan(rounded), None, rounded.astype(object)).tolist()


def _array(value):
    """Type, shape and values; of a large array some values."""
    value = np.asarray(value)
    flat = value.ravel()[::-(-value.size // MAX_VALUES) or 1]
    return {'type': value.dtype.kind, 'shape': list(value.shape),
            'values': [float('%.*g' % (DIGITS, one)) for one in flat] if value.dtype.kind == 'f'
            else flat.tolist()}


def _parameter_fields(folder, store):
    """dict field -> its labels in layer order, of the last task's parameter file, which holds the store bit
    for bit."""
    path = max(glob.glob(os.path.join(folder, 'run0', 'model_parameter_*.mat')))
    read = parameter_files.load(path).store
    assert set(read) == set(store) and all(read[name].tobytes() == store[name].tobytes()
                                           for name in store), path
    labels, values = (mat_file.read(path)[name] for name in ('names', 'parameter'))
    assert list(labels) == list(values)
    return OrderedDict((field, ' | '.join(_leaves(labels[field]))) for field in labels)


def _leaves(cell):
    """The texts of nested cells."""
    return [cell] if isinstance(cell, str) else [leaf for part in cell for leaf in _leaves(part)]


def _types(value, name=''):
    """Yields (field, 'float64 1x3') for each field of an entry of a result file;
    of structs in a cell the first's."""
    if isinstance(value, dict):
        for key in value:
            for pair in _types(value[key], '%s.%s' % (name, key) if name else key):
                yield pair
    elif isinstance(value, list) and isinstance(value[0], dict):
        for pair in _types(value[0], '%s{%d}' % (name, len(value))):
            yield pair
    else:
        yield name, ('char' if isinstance(value, str) else 'cell %d' % len(value) if isinstance(value, list)
                     else '%s %s' % (value.dtype, 'x'.join(map(str, value.shape))))


def recorded():
    """dict case -> what `found` gave when it was written down."""
    with open(RECORDED) as stream:
        content = json.load(stream, object_pairs_hook=OrderedDict)
    texts = content.pop(TEXTS)
    for facts in content.values():
        facts.update((name, [texts[number] for number in facts[name]]) for name in LISTED)
    return content


def write(facts):
    """Writes dict case -> facts, a line per case; each text of their lists once, on the last line."""
    numbers, lines = OrderedDict(), []
    for case in facts:
        listed = [(name, [numbers.setdefault(text, len(numbers)) for text in facts[case][name]])
                  for name in LISTED]
        lines.append((case, OrderedDict(facts[case], **dict(listed))))
    lines.append((TEXTS, list(numbers)))
    with open(RECORDED, 'w') as stream:
        stream.write('{\n%s\n}\n' % ',\n'.join('%s: %s' % (json.dumps(name),
                                                           json.dumps(line, separators=(',', ':')))
                                               for name, line in lines))


def differences(now, before):
    """Yields a line for each difference between two of what `found` gave."""
    for name in now:
        if name in LISTED:
            for word, one, other in (('missing', before, now), ('new', now, before)):
                for text in one[name]:
                    if text not in other[name]:
                        yield '%s: %s: %s' % (name, word, text)
            if now[name] != before[name] and sorted(now[name]) == sorted(before[name]):
                yield '%s: another order: %s' % (name, ', '.join(text.split(':')[0] for text in now[name]))
        elif name in ARRAYS:
            for field in sorted(set(now[name]) | set(before[name])):
                if (field in now[name]) != (field in before[name]):
                    yield '%s: %s: %s' % (name, 'new' if field in now[name] else 'missing', field)
                elif not _close(now[name][field], before[name][field]):
                    yield '%s: %s: %s instead of %s' % (name, field, json.dumps(now[name][field]),
                                                        json.dumps(before[name][field]))
        elif now[name] != before[name]:
            yield '%s: %s' % (name, _first_difference(now[name], before[name]))


def _close(one, other):
    """Whether two arrays are the same; numbers that are no counts may differ in their last digits between
    processors."""
    if one['type'] != 'f' or (one['type'], one['shape']) != (other['type'], other['shape']):
        return one == other
    return np.allclose(one['values'], other['values'], rtol=TOLERANCE, atol=TOLERANCE / 1000, equal_nan=True)


def _first_difference(now, before):
    """'3 instead of 2', with the place in nested lists."""
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        row = next(row for row in range(len(now)) if now[row] != before[row])
        return '[%d] %s' % (row, _first_difference(now[row], before[row]))
    return '%s instead of %s' % (json.dumps(now), json.dumps(before))


def main():
    """Exit status."""
    arguments = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    arguments.add_argument('--write', action='store_true', help='write down what this code finds')
    arguments.add_argument('--only', default='', metavar='TEXT', help='only the cases whose options begin so')
    flags = arguments.parse_args()
    command_line.change()
    before = recorded() if os.path.exists(RECORDED) else {}
    chosen, facts, failed = [case for case in CASES if case.startswith(flags.only)], {}, 0
    with tempfile.TemporaryDirectory() as data:
        tasks = tasks_in(data)
    for case in chosen:
        began = time.time()
        with tempfile.TemporaryDirectory() as folder:
            facts[case] = found(case, tasks, folder)
        lines = []
        if not flags.write:
            lines = list(differences(facts[case], before[case])) if case in before else [
                'it is not written down']
        failed += bool(lines)
        print('%-60s %5.1f s %s' % (case, time.time() - began, ''.join('\n  ' + line for line in lines)))
        sys.stdout.flush()
    if flags.write:
        write(OrderedDict((case, facts.get(case) or before[case]) for case in CASES if case in facts
                          or case in before))
    else:
        print('== %d of %d as written down' % (len(chosen) - failed, len(chosen)))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
