"""What is recorded stays what it was: some of the whole trials of whole_runs.py; `make test-all` runs all of
them."""
import copy

import pytest

from tests import whole_runs
from tests.support import command_line

FAST = ('EWC --test_type 3 --lifelong', 'Hybrid_HPS --transfer_config top1 --lifelong',
        'LASEM_HPS --seed 2 --lifelong', 'DARTS_HPS --lifelong', 'STL')


@pytest.fixture(scope='module')
def tasks(tmp_path_factory):
    return whole_runs.tasks_in(tmp_path_factory.mktemp('data'))


@pytest.mark.parametrize('case', FAST)
def test_a_whole_trial_gives_what_was_written_down(case, tasks, tmp_path, monkeypatch):
    command_line.change(monkeypatch.setitem)
    lines = whole_runs.differences(whole_runs.found(case, tasks, tmp_path), whole_runs.recorded()[case])
    assert [line for line in lines if not line.startswith(('entry: new: ', 'extra: new: '))] == []


def _changed(change):
    """The lines about a case of which a copy was changed."""
    before = whole_runs.recorded()['LASEM_HPS --lifelong']
    now = copy.deepcopy(before)
    change(now)
    return list(whole_runs.differences(now, before))


@pytest.mark.parametrize('change, line', [
    (lambda now: now.update(fingerprint='f'), 'fingerprint: "f" instead of '),
    (lambda now: now['accuracy'][2][0].__setitem__(1, 0.125), 'accuracy: [2] [0] [1] 0.125 instead of '),
    (lambda now: now['peak'].pop(), 'peak: ['),
    (lambda now: now['info'].append('more: 1'), 'info: new: more: 1'),
    (lambda now: now['entry'].remove('task_order: int64 1x3'), 'entry: missing: task_order: int64 1x3'),
    (lambda now: now['info'].reverse(), 'info: another order: '),
    (lambda now: now['extra'].pop('conv_sharing'), 'extra: missing: conv_sharing'),
    (lambda now: now['extra'].update(more=[]), 'extra: new: more'),
    (lambda now: now['extra']['history_net_prior']['values'].__setitem__(3, 0.9),
     'extra: history_net_prior: ')])
def test_each_difference_is_a_line(change, line):
    (found,) = _changed(change)
    assert found.startswith(line)


def test_last_digits_of_a_methods_own_numbers_may_differ():
    def nudge(now):
        values = now['extra']['history_net_prior']['values']
        values[:] = [value * (1 + 1e-6) for value in values]
    assert _changed(nudge) == []
