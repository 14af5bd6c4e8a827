"""--jobs auto: how many trials at a time and threads of each, by cores, memory and what the experiment began
with."""
import glob
import json
import os
from types import SimpleNamespace

import pytest

import main
from classification.model.method import Method, Setting
from classification.model.registry import METHODS, method_of
from classification.results.mat_file import entries
from classification.runs import side_by_side
from classification.trial.count_parameters import count
from tests.support.commands import QUICK, experiment_of, process, run_and_listen
from tests.support.tiny import make_experiment, make_net
from utils import cores
from utils import utils_env_cl as env

FREE, ONE = 64e9, 1e9


def plan(monkeypatch, ours, missing, *words, free=FREE, begun=None):
    """(jobs, threads, line) on a machine with so many cores and bytes."""
    monkeypatch.setattr(side_by_side, 'cores', lambda: ours)
    monkeypatch.setattr(side_by_side, 'available', lambda: free)
    found = side_by_side.choose(flags_of(*words), side_by_side.stored_threads(begun or {}), missing,
                                lambda: ONE)
    return found.jobs, found.threads, '; '.join(found.lines)


def flags_of(*words):
    return main.parser().parse_args(['--data_type', 'DIGITS5', '--lifelong'] + list(words))


@pytest.mark.parametrize('ours, missing, expected', [
    (1, 5, (1, 1)), (2, 1, (1, 2)), (2, 5, (2, 1)), (8, 5, (5, 1)), (16, 5, (5, 3)), (64, 100, (64, 1)),
    (4, 0, (1, 4))])
def test_cores_are_divided_among_the_trials_to_train(ours, missing, expected, monkeypatch):
    found = plan(monkeypatch, ours, missing)
    assert found[:2] == expected and bool(found[2]) == (expected[0] > 1)


def test_memory_limits_the_trials(monkeypatch):
    assert plan(monkeypatch, 8, 5, free=2.5 * ONE) == (
        2, 4, '2 trials at a time, with 4 threads each (8 cores, memory for 2 trials; --jobs and --threads '
        'say it otherwise)')
    assert plan(monkeypatch, 8, 5, free=0)[:2] == (1, 8)


def test_memory_grows_with_network_tasks_and_images():
    """DIGITS5: 1797 images of 64 bytes; 3 x 3 x 1 x 2 + 32 x 5 + 5 x 3 = 193 weights, 60 bytes each; maps of
    8 x 8 x 2 floats, before and behind the ReLU, of 500 images that are evaluated."""
    net = env.build_net(env.Network(kernels=(3,), channels=(2,), pools=(2,), hidden=(5, 3),
                                    df_knowledge=((1, 1),), df_tensor=((1, 1),)), (8, 8, 1), 'SAME')
    for tasks in (1, 5):
        experiment = experiment_of()._replace(net=net, pattern='S',
                                              class_counts=dict.fromkeys(range(tasks), 2))
        assert side_by_side.memory_of_trial(experiment, flags_of()) == (
            900e6 + 60 * 193 * tasks + 1797 * 64 + 4 * 2 * 500 * 128)


def test_gates_count_with_the_parameters():
    gated, plain = [make_experiment(model, range(3), pattern='SS') for model in ('ChannelGate', 'Hybrid_HPS')]
    values = method_of(gated).values_beside_network()
    assert 3 * values == count(gated, 'SS') - count(plain, 'SS') > 0
    assert side_by_side.parameter_bytes(gated) - side_by_side.parameter_bytes(plain) == (60 + 2 * 12) * values


def test_maps_of_a_batch_by_hand():
    """4 x 4 x 3 = 48 values in the first layer before its pool, 2 x 2 x 4 = 16 in the second; batches of 4
    and of 8."""
    for model, copies in (('STL', (1, 1)), ('Hybrid_HPS', (1, 1)), ('DARTS_HPS', (2, 2)),
                          ('LASEM_HPS', (2, 4)), ('BruteForce_HPS', (1, 1))):
        trained = 3 * 4 * (copies[0] * 48 + copies[1] * 16)
        assert side_by_side.batch_bytes(make_experiment(model)) == 4 * max(trained, 2 * 8 * 48)
    lasem = METHODS['lasemg'].make(Setting(make_net(3), {0: 2}, 'hps', {'groups': (2, 1), 'pattern': None}))
    assert lasem.copies() == [2, 2, 4]      # the patterns are SSS, TTS, SST, TTT


def test_maps_that_evaluation_keeps_count_in_full():
    """DIGITS5: tasks 0 to 2 have 360, 360 and 363 images; the second layer gives 4 x 4 x 16 values of 4
    bytes."""
    experiment = experiment_of('--num_tasks', '3')
    assert (experiment.pattern, experiment.net.map_sizes[:2]) == ('TTSS', [1024, 256])
    known = sum(part(experiment) for part in (side_by_side.parameter_bytes, side_by_side.batch_bytes))
    known += side_by_side.LIBRARIES + 1797 * 64
    assert side_by_side.memory_of_trial(experiment, flags_of('--num_tasks', '3')) - known == 4 * 256 * 723


def kept(model, images, **more):
    experiment = make_experiment(model, range(len(images)), **more)
    return side_by_side.kept_bytes(experiment, images)


def test_maps_that_are_kept_by_hand():
    """4 x 4 pixels, 3 channels, pooled: 12 values behind the first layer; the second, not pooled, has 4
    channels: 16."""
    assert kept('Hybrid_HPS', [10, 20], pattern='TS') == 4 * 12 * 20      # one of the two is learned
    assert kept('Hybrid_HPS', [10, 20, 30], pattern='TS') == 4 * 12 * 50
    assert kept('Hybrid_TF', [10, 20, 30], depth=3, pattern='TTS') == 4 * 16 * 50
    assert kept('LASEM_HPS', [10, 20, 30], depth=3) == 4 * 16 * 50      # it may choose TTS
    # of two earlier columns the second layer's
    assert kept('ProgNN', [10, 20, 30], depth=3) == 4 * 2 * 16 * 30
    assert kept('ProgNN', [10, 20], depth=3, prognn_lateral_head=True) == 4 * (16 + 16) * 20
    for model, pattern in (('Hybrid_HPS', 'ST'), ('Hybrid_HPS', 'TT'), ('Hybrid_HPS', 'SS'), ('STL', None),
                           ('EWC', None), ('DEN', None), ('SNN', None)):
        assert kept(model, [10, 20], pattern=pattern) == 0
    assert kept('Hybrid_HPS', [10] + [10 ** 9], pattern='TS') == env.ACTIVATION_BYTES


def test_hints_that_a_method_of_a_plug_in_gives_itself_count_with_every_map():
    class Mine(Method):
        def frozen_layers(self, task, phase=0):
            return 1
    assert Mine(Setting(make_net(), {0: 2, 1: 2}, 'hps', {})).most_kept([10, 20]) == (12 + 16) * 20 * 2


def test_images_with_noise_are_kept_once_more():
    experiment = experiment_of()
    for data, expected in (('DIGITS5', 1000), ('STL10_15t', 1000 + 200 + 300)):
        found = side_by_side.image_bytes(experiment._replace(data_type=data), 1000, [200, 300])
        assert found == expected * 64


PEAK = '''
import sys
import numpy as np
from classification.gen_data import Split, Task
from classification.runs import side_by_side
from classification.trial.resources import peak_memory
from tests.support.tiny import make_experiment, make_trial
from utils import utils_env_cl as env

COUNT = 3000
net = env.build_net(env.Network(kernels=(3, 1), channels=(32, 2), pools=(1, 16), hidden=(),
                                df_knowledge=((1, 1),) * 2, df_tensor=((1, 1),) * 2), (32, 32, 1))
experiment = make_experiment('Hybrid_HPS', epochs=1, pattern='TS')._replace(
    data_type='DIGITS5', net=net, evaluation_batch=100)
images = np.zeros((COUNT, 32, 32, 1), np.uint8)
splits = [Split(np.arange(len(rows), dtype=np.int32) % 2, np.ones(1, np.float32), np.zeros(1, np.float32),
                images, rows, None) for rows in np.split(np.arange(COUNT), [8, 16])]
make_trial(experiment, sys.argv[1], task=lambda index: Task(index, 2, *splits, classes=('a', 'b'))).run()
sizes = [COUNT] * 2
print(peak_memory(), side_by_side.LIBRARIES + side_by_side.parameter_bytes(experiment)
      + side_by_side.batch_bytes(experiment) + side_by_side.image_bytes(experiment, COUNT, sizes),
      side_by_side.kept_bytes(experiment, sizes))
'''


def test_the_rule_is_above_the_peak_of_a_trial_that_keeps_maps(tmp_path):
    """3000 images with maps of 131 kB: 393 MB, beside the libraries."""
    child, out, err = process(['-c', PEAK, str(tmp_path)])
    assert child.returncode == 0, err
    peak, without, kept_maps = map(float, out.split())
    assert kept_maps == 3000 * 32 * 32 * 32 * 4 < peak < without + kept_maps


@pytest.mark.parametrize('words, expected', [
    (['--jobs', '3'], (3, 2)), (['--jobs', '8', '--threads', '2'], (5, 2)), (['--threads', '4'], (2, 4)),
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


@pytest.mark.parametrize('asked, stored, said', [
    ('2', 4, 'note: --threads 2: this experiment was begun with 4 threads per trial; the last bits of '
             'numbers may differ'), ('4', 4, ''), ('2', None, '')])
def test_other_threads_than_before_are_said(asked, stored, said, monkeypatch):
    for more in (['--jobs', '1'], ['--scheduler', 'tcp://x:1']):
        assert plan(monkeypatch, 8, 1, '--threads', asked, *more,
                    begun={'settings': {'threads': stored}})[2] == said


def test_no_more_trials_train_at_a_time_than_there_are(monkeypatch):
    """Threads are those of --jobs as it was asked for: more trials may come."""
    assert plan(monkeypatch, 8, 1, '--jobs', '4')[:2] == (1, 2)
    assert plan(monkeypatch, 8, 3, '--jobs', '4', '--gpu', '0,1')[:2] == (3, 2)
    assert plan(monkeypatch, 8, 0, '--jobs', '4')[:2] == (1, 2)


@pytest.mark.parametrize('text', ['none', '1.5', ''])
def test_what_is_no_number_of_trials_is_one_line(text):
    status, out, err = run_and_listen(['--data_type', 'DIGITS5', '--jobs', text])
    assert ((status, out, err.count('\n')) == (2, '', 1)
            and 'argument --jobs: %s: a number, or auto, is needed' % text in err)


# Of 1 task and 1 trial.
STL = [word for word in QUICK if word not in ('--threads', '1', '--num_runs')] + [
    '--num_runs', '1', '--model_type', 'STL', '--num_tasks', '1', '--epochs_per_task', '1',
    '--save_mat_name', 'x.mat']


def settings_in(folder='Result'):
    """[settings of config.json] of the experiments of x.mat, the one with fewer tasks first."""
    configs = [json.load(open(path)) for path in glob.glob(os.path.join(folder, 'x', '*', 'config.json'))]
    return [config['settings'] for config in sorted(
        configs, key=lambda config: len(config['experiment']['task_order']))]


def test_trials_that_are_added_have_the_threads_of_the_first(tmp_path, monkeypatch, train_here):
    """And each says with how many others it trained."""
    monkeypatch.chdir(tmp_path)
    words = STL
    monkeypatch.setattr(side_by_side, 'cores', lambda: 1)
    assert run_and_listen(words)[0] == 0
    monkeypatch.setattr(side_by_side, 'cores', lambda: 4)
    status, out, err = run_and_listen(words + ['--num_runs', '3'])
    assert (status, err) == (0, '')
    assert '2 trials at a time, with 1 thread each (4 cores; --jobs and --threads say it otherwise)' in out
    entry, = entries('Result/x.mat')
    assert entry['jobs'].tolist() == [[1, 2, 2]] and entry['threads'].tolist() == [[1, 1, 1]]
    settings, = settings_in()
    assert settings['threads'] == settings['kept_threads'] == 1
    assert settings['trial_memory_bytes'] > side_by_side.LIBRARIES


def test_trials_that_go_on_have_the_threads_of_the_shorter_experiment(tmp_path, monkeypatch, train_here):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(side_by_side, 'cores', lambda: 2)
    assert run_and_listen(STL)[0] == 0
    more = STL + ['--num_tasks', '2', '--num_runs', '2']
    status, out, err = run_and_listen(more)
    assert (status, err) == (0, '') and 'trial 0: 1 task taken over from' in out and 'at a time' not in out
    short, long_ = entries('Result/x.mat')
    assert short['threads'].tolist() == [[2]] and long_['threads'].tolist() == [[2, 2]]
    # none is continued
    assert run_and_listen(more + ['--restart'])[0] == 0
    assert [settings['threads'] for settings in settings_in()] == [2, 1]


def test_a_cluster_leaves_the_threads_that_the_experiment_keeps(tmp_path, monkeypatch, train_here):
    """What a worker's machine has is nothing to a later command here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(side_by_side, 'cores', lambda: 2)
    assert run_and_listen(STL)[0] == 0
    assert run_and_listen(STL + ['--scheduler', 'tcp://x:1', '--num_runs', '2'])[0] == 0
    settings, = settings_in()
    assert (settings['threads'], settings['kept_threads']) == (None, 2)
    assert run_and_listen(STL + ['--num_runs', '4'])[0] == 0
    settings, = settings_in()
    assert (settings['threads'], settings['kept_threads'], settings['jobs']) == (2, 2, 1)


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
