"""--jobs auto: how many trials at a time and threads of each, by cores, memory and what the experiment began
with."""
import json
import os
from types import SimpleNamespace

import pytest

import main
from classification.results.mat_file import entries
from classification.runs import side_by_side
from tests.support.commands import QUICK, experiment_of, run_and_listen
from utils import cores
from utils import utils_env_cl as env

FREE = 64e9


def plan(monkeypatch, ours, missing, *words, free=FREE, begun=None):
    """(jobs, threads, line) on a machine with so many cores and bytes."""
    monkeypatch.setattr(side_by_side, 'cores', lambda: ours)
    monkeypatch.setattr(side_by_side, 'available', lambda: free)
    flags = main.parser().parse_args(['--data_type', 'DIGITS5', '--lifelong'] + list(words))
    return tuple(side_by_side.choose(flags, experiment_of(), begun or {}, missing))


@pytest.mark.parametrize('ours, missing, expected', [
    (1, 5, (1, 1)), (2, 1, (1, 2)), (2, 5, (2, 1)), (8, 5, (5, 1)), (16, 5, (5, 3)), (64, 100, (64, 1)),
    (4, 0, (1, 4))])
def test_cores_are_divided_among_the_trials_to_train(ours, missing, expected, monkeypatch):
    found = plan(monkeypatch, ours, missing)
    assert found[:2] == expected and bool(found[2]) == (expected[0] > 1)


def test_memory_limits_the_trials(monkeypatch):
    one = side_by_side.memory_of_trial(experiment_of(), 'Data')
    assert plan(monkeypatch, 8, 5, free=2.5 * one) == (
        2, 4, '2 trials at a time, with 4 threads each (8 cores, memory for 2 trials; --jobs and --threads '
        'say it otherwise)')
    assert plan(monkeypatch, 8, 5, free=0)[:2] == (1, 8)


def test_memory_grows_with_network_tasks_and_images():
    """DIGITS5: 1797 images of 64 bytes; 3 x 3 x 1 x 2 + 32 x 5 + 5 x 3 = 193 weights, 60 bytes each."""
    net = env.build_net(env.Network(kernels=(3,), channels=(2,), pools=(2,), hidden=(5, 3),
                                    df_knowledge=((1, 1),), df_tensor=((1, 1),)), (8, 8, 1), 'SAME')
    for tasks in (1, 5):
        experiment = experiment_of()._replace(net=net, class_counts=dict.fromkeys(range(tasks), 2))
        assert side_by_side.memory_of_trial(experiment, 'Data') == 900e6 + 60 * 193 * tasks + 1797 * 64


@pytest.mark.parametrize('words, expected', [
    (['--jobs', '3'], (3, 2)), (['--jobs', '8', '--threads', '2'], (8, 2)), (['--threads', '4'], (2, 4)),
    (['--threads', '16'], (1, 16)), (['--gpu', '0'], (1, 8)), (['--gpu', '0,1', '--jobs', '2'], (2, 4)),
    (['--jobs', 'auto'], (5, 1)), (['--scheduler', 'tcp://x:1'], (1, None)),
    (['--scheduler', 'tcp://x:1', '--threads', '3'], (1, 3))])
def test_what_is_asked_for_wins(words, expected, monkeypatch):
    assert plan(monkeypatch, 8, 5, *words)[:2] == expected


@pytest.mark.parametrize('stored, words, expected', [
    (4, [], (2, 4)), (8, [], (1, 8)), (4, ['--jobs', '3'], (3, 4)), (4, ['--threads', '1'], (5, 1)),
    (None, [], (5, 1)), ('4', [], (5, 1)), (0, [], (5, 1))])
def test_an_experiment_keeps_its_threads(stored, words, expected, monkeypatch):
    assert plan(monkeypatch, 8, 5, *words, begun={'settings': {'threads': stored}})[:2] == expected


@pytest.mark.parametrize('text', ['none', '1.5', ''])
def test_what_is_no_number_of_trials_is_one_line(text):
    status, out, err = run_and_listen(['--data_type', 'DIGITS5', '--jobs', text])
    assert ((status, out, err.count('\n')) == (2, '', 1)
            and 'argument --jobs: %s: a number, or auto, is needed' % text in err)


def test_trials_that_are_added_have_the_threads_of_the_first(tmp_path, monkeypatch, train_here):
    """And each says with how many others it trained."""
    monkeypatch.chdir(tmp_path)
    words = [word for word in QUICK if word not in ('--threads', '1', '--num_runs')] + [
        '--num_runs', '1', '--model_type', 'STL', '--num_tasks', '1', '--epochs_per_task', '1',
        '--save_mat_name', 'x.mat']
    monkeypatch.setattr(side_by_side, 'cores', lambda: 1)
    assert run_and_listen(words)[0] == 0
    monkeypatch.setattr(side_by_side, 'cores', lambda: 4)
    status, out, err = run_and_listen(words + ['--num_runs', '3'])
    assert (status, err) == (0, '')
    assert '2 trials at a time, with 1 thread each (4 cores; --jobs and --threads say it otherwise)' in out
    entry, = entries('Result/x.mat')
    assert entry['jobs'].tolist() == [[1, 2, 2]] and entry['threads'].tolist() == [[1, 1, 1]]
    folder, = [os.path.join('Result', 'x', name) for name in os.listdir('Result/x')]
    with open(os.path.join(folder, 'config.json')) as stream:
        assert json.load(stream)['settings']['threads'] == 1


# ---- memory of control groups ----

def test_what_is_free_is_what_the_machine_and_all_groups_leave(monkeypatch):
    monkeypatch.setattr(side_by_side.psutil, 'virtual_memory',
                        lambda: SimpleNamespace(available=500, total=900, free=7))
    for left, expected in (([600, 400], 400), ([600], 500), ([], 500)):
        monkeypatch.setattr(side_by_side, 'memory', lambda: iter(left))
        assert side_by_side.available() == expected


def test_memory_that_control_groups_leave(tmp_path, monkeypatch):
    for name, limit, taken in (('inner', '1000', '400'), ('outer', 'max', '900')):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'memory.max').write_text(limit + '\n')
        (folder / 'memory.current').write_text(taken + '\n')
    (tmp_path / 'inner' / 'memory.stat').write_text('anon 300\ninactive_file 90\nactive_file 10\n')
    (tmp_path / 'first').mkdir()
    (tmp_path / 'first' / 'memory.limit_in_bytes').write_text('500')
    (tmp_path / 'first' / 'memory.usage_in_bytes').write_text('700')
    monkeypatch.setattr(cores, '_groups', lambda process, controller: [
        str(tmp_path / name) for name in ('inner', 'outer', 'first', 'none')])
    (tmp_path / 'first' / 'memory.stat').write_text('inactive_file 5\ntotal_inactive_file 300\n')
    assert list(cores.memory()) == [690, 100]       # what was read of files is given back
