"""Checkpoints: what was saved comes back, and no moment of a crash, no damage to a file costs more than one
of them."""
import os
import subprocess
import sys

import numpy as np
import pytest

from classification.trial import checkpoint
from classification.trial.state import History
from tests.support.commands import ROOT

META = {'position': 3, 'progress': [0.1 + 0.2, 1 / 3., 0], 'state': {'patterns': {'0': 'ST'}}, 'scores': [],
        'inside': True}
GROUPS = {
    'store': {'conv0/shared/hps/kernel': np.random.RandomState(0).standard_normal((3, 3, 1, 2)).astype(
        np.float32),
              'conv0/task1/own/bias': np.array([np.nan, -0., np.inf], np.float32)},
    'history': {'rows': np.zeros((0, 2, 3)), 'extra/history_net_prior': np.array([[1 / 3., 2 / 3.]]),
                'changed': np.array([1, 2**40])},
    'winner': {'values/a:b': np.array(7.5), 'shared': np.array([True, False]),
               'pixels': np.arange(256, dtype=np.uint8)},
}


def save(path, number):
    """Saves a checkpoint that `number_in` recognises."""
    checkpoint.save(str(path), {'number': number}, {'store': {'a': np.arange(1000.)}})


def load(path):
    """(number of the checkpoint found, None if there is none; the lines that were said)."""
    said = []
    found = checkpoint.load(str(path), said.append)
    return found and found[0]['number'], said


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'checkpoint'


def test_what_was_saved_comes_back(path):
    checkpoint.save(str(path), META, GROUPS)
    meta, groups = checkpoint.load(str(path), pytest.fail)
    assert meta == META
    assert {group: sorted(values) for group, values in groups.items()} == {
        group: sorted(values) for group, values in GROUPS.items()}
    for group, values in GROUPS.items():
        for name, value in values.items():
            back = groups[group][name]
            assert (back.dtype, back.shape, back.tobytes()) == (value.dtype, value.shape,
                                                                value.tobytes()), name


def test_what_several_groups_hold_alike_is_written_once(path):
    state = np.random.RandomState(0)
    kept, zero = state.normal(size=9000), np.zeros(9000)
    groups = {'store': {'a': kept, 'b': zero}, 'before': {'a': kept, 'b': -zero},
              'variables': {'a': kept.copy(), 'b': zero[1:]}}
    checkpoint.save(str(path), {}, groups)
    # a once, b three times: they differ, if only in their sign
    assert os.path.getsize(str(path)) < 8 * 9000 * 4.5
    back = checkpoint.load(str(path), pytest.fail)[1]
    assert {(group, name): value.tobytes() for group, values in back.items() for name,
            value in values.items()} == {
        (group, name): value.tobytes() for group, values in groups.items() for name, value in values.items()}


def test_an_empty_folder_has_no_checkpoint(path):
    assert load(path) == (None, [])


def test_the_one_before_is_kept_as_it_was(path):
    save(path, 1)
    content = path.read_bytes()
    save(path, 2)
    assert (path.parent / 'checkpoint.previous').read_bytes() == content
    assert load(path) == (2, [])
    assert sorted(os.listdir(str(path.parent))) == ['checkpoint', 'checkpoint.previous']


DAMAGES = {
    'empty': lambda content: b'',
    'cut in the header': lambda content: content[:40],
    'cut in the middle': lambda content: content[:len(content) // 2],
    'one byte short': lambda content: content[:-1],
    'longer': lambda content: content + b'\0',
    'zeros at the end': lambda content: content[:-512] + b'\0' * 512,
    'another file': lambda content: b'PK\x03\x04' + content[4:],
}


def flipped(share):
    """One bit flipped at this share of the file."""
    def damage(content):
        place = int(share * (len(content) - 1))
        return content[:place] + bytes([content[place] ^ 4]) + content[place + 1:]
    return damage


DAMAGES.update(('bit flipped at %.3f' % share, flipped(share))
               for share in (0, 0.004, 0.01, 0.1, 0.5, 0.9, 1))


@pytest.mark.parametrize('damage', sorted(DAMAGES))
def test_a_damaged_one_is_passed_over_for_the_one_before(path, damage):
    save(path, 1)
    save(path, 2)
    content = path.read_bytes()
    path.write_bytes(DAMAGES[damage](content))
    assert path.read_bytes() != content
    number, said = load(path)
    assert number == 1
    assert len(said) == 1 and '%s is damaged' % path in said[0] and 'the one before' in said[
        0] and '\n' not in said[0]


def test_without_a_good_one_the_trial_starts_anew(path):
    save(path, 1)
    path.write_bytes(b'')
    number, said = load(path)
    assert number is None and len(said) == 1 and '%s is damaged' % path in said[0] and 'starts anew' in said[
        0]
    save(path, 1)
    save(path, 2)
    for one in (path, path.parent / 'checkpoint.previous'):
        one.write_bytes(one.read_bytes()[:-7])
    number, said = load(path)
    assert number is None and len(said) == 2 and [line for line in said if 'starts anew' in line] == said[1:]


def test_a_damaged_one_never_takes_the_place_of_a_good_one(path):
    save(path, 1)
    save(path, 2)
    path.write_bytes(b'damaged')
    assert load(path)[0] == 1
    assert load(path) == (1, [])        # said once
    save(path, 3)
    path.write_bytes(b'damaged')
    assert load(path)[0] == 1


# Saves number 1, 2 and 3; dies in the third save just before the n-th of the calls that touch the disk.
KILLED = """
import builtins, os, signal, sys
import numpy as np
from classification.trial import checkpoint
from classification.trial.state import History
left = [10 ** 6]
def counted(call):
    def count(*args, **named):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **named)
    return count
for module, name in ((os, 'replace'), (os, 'fsync'), (os, 'open'), (os, 'fdopen'), (builtins, 'open')):
    setattr(module, name, counted(getattr(module, name)))
for number in (1, 2, 3):
    if number == 3:
        left[0] = int(sys.argv[2])
    checkpoint.save(sys.argv[1], {'number': number}, {'store': {'a': np.arange(1000.)}})
print(int(sys.argv[2]) - left[0])
"""


def test_a_kill_at_any_moment_of_a_save_leaves_a_good_checkpoint(path):
    found = []
    for calls in range(20):
        child = subprocess.Popen([sys.executable, '-c', KILLED, str(path), str(calls)], cwd=ROOT,
                                 stdout=subprocess.PIPE)
        finished = child.communicate()[0]
        found.append(load(path))
        if finished:
            break
        assert child.returncode == -9
    assert int(finished) == calls >= 4          # each call that the save makes was once the one it died at
    assert found == [(2, [])] * calls + [(3, [])]
    save(path, 4)
    assert load(path) == (4, [])


def test_killed_saves_do_not_fill_the_disk(path):
    for _ in range(2):
        child = subprocess.Popen([sys.executable, '-c', KILLED, str(path), '1'], cwd=ROOT,
                                 stdout=subprocess.PIPE)
        assert child.communicate()[0] == b'' and child.returncode == -9
    assert len(os.listdir(str(path.parent))) <= 3       # the newest, the one before, the unfinished one
    save(path, 4)
    assert sorted(os.listdir(str(path.parent))) == ['checkpoint', 'checkpoint.previous']


def test_removed(path):
    save(path, 1)
    save(path, 2)
    path.write_bytes(b'damaged')
    load(path)
    save(path, 3)
    (path.parent / 'checkpoint.new').write_bytes(b'a killed save left it')
    (path.parent / 'record.npz').write_bytes(b'stays')
    checkpoint.remove(str(path))
    assert os.listdir(str(path.parent)) == ['record.npz']
    checkpoint.remove(str(path))


def test_objects_are_refused(path):
    with pytest.raises(AssertionError):
        checkpoint.save(str(path), {}, {'store': {'a': np.array([None])}})
    assert os.listdir(str(path.parent)) == []


def test_a_history_is_stored_under_the_names_that_checkpoints_always_had():
    history = History(2, 2)
    history.start_task()
    history.accuracies.append(np.full((2, 3), 0.25))
    history.best_test.append(0.5)
    history.accuracy_matrix.append([0.5, np.nan])
    history.peak[1], history.at_chance[1] = 0.75, True
    history.add_method_rows({'prior': np.ones(4)})
    history.losses, history.confusion[0, 1] = [0.25], np.array([[3, 1], [0, 300]])
    history.add('training_seconds', 1.5)
    history.add('kept_parameters', 7)
    history.predictions[0, 1] = np.array([1, 1, 1])
    history.answers = history.final_answers = {1: np.array([0, 1, 1])}
    arrays = history.arrays()
    assert {name: value.tolist() for name, value in arrays.items()
            if name not in ('final', 'leep', 'matrix')} == {
        'loss': [0.25], 'confusion': [3, 1, 0, 300], 'confusion_parts': [[0, 1, 2, 2]],
        'answers': [0, 1, 1], 'answers_parts': [[1, 3]], 'final_answers': [0, 1, 1],
        'final_answers_parts': [[1, 3]],
        'predictions': [1, 1, 1], 'predictions_parts': [[0, 1, 3]], 'training_seconds': [1.5],
        'evaluation_seconds': [0.], 'trainable_parameters': [0.], 'kept_parameters': [7.],
        'state_bytes': [0.], 'rows': [[[0.25] * 3] * 2], 'best_test': [0.5], 'changed': [1], 'seconds': [0.],
        'peak_tasks': [1], 'peak': [0.75], 'at_chance_tasks': [1], 'at_chance': [True],
        'extra/prior': [[1.] * 4], 'without_task_identity': []}
    assert {'final', 'leep', 'matrix'} <= set(arrays)
    again = History.from_arrays(2, arrays)
    assert again.first_epochs == [1] and list(again.method_rows) == ['prior'] and len(again.accuracies) == 1
    assert again.accuracy_matrix[0][0] == 0.5 and again.peak == {1: 0.75} and again.at_chance == {1: True}
