"""Whole runs of the command line: lines on the screen, and files out."""
import errno
import glob
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from classification.experiment.experiment import Experiment
from classification.report.command import command_for
from classification.results.mat_file import append_entry, entries
from classification.runs import supervisor, trial_process
from classification.runs.local_pool import LocalPool
from tests.support.command_line import PoolHere
from tests.support.commands import (
    DIGITS,
    MAT,
    ROOT,
    SHORT,
    experiment_of,
    imports_nothing_of_tensorflow,
    is_refused,
    run,
    run_and_listen,
)
from tests.support.result_files import same
from utils import locks
from utils.tensorflow_version import tensorflow_version
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USER_ERROR, STOP_SIGNALS


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A result folder with one experiment of one trial, and what training it said."""
    place, here = tmp_path_factory.mktemp('trained'), os.getcwd()
    handler = signal.getsignal(signal.SIGINT)
    os.chdir(str(place))
    try:
        status, out, err = run_and_listen(SHORT + ['--num_runs', '1', '--gpu', '0', '--savegraph',
                                                   '--tensorboard'])
    finally:
        os.chdir(here)
    assert signal.getsignal(signal.SIGINT) is handler
    return SimpleNamespace(folder=place, status=status, out=out, err=err, entry=entries(str(place / MAT))[0])


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    """A copy of it as current folder: Path."""
    shutil.copytree(str(trained.folder / 'Result'), str(tmp_path / 'Result'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_training(monkeypatch):
    """A trial that is trained fails the test."""
    monkeypatch.setattr(LocalPool, 'start', lambda pool, run_folder,
                        number: pytest.fail('trial %d is trained' % number))


def stored():
    return entries(MAT)


def same_numbers(one, other):
    """Whether two trials' structs agree in everything but time."""
    try:
        same(one, other, 'trial')
    except AssertionError:
        return False
    return True


def test_what_a_run_says(trained):
    assert (trained.status, trained.err) == (0, '')
    lines = trained.out.rstrip().split('\n')
    assert lines[0] == 'Hybrid_HPS on DIGITS5: 2 tasks, 2 epochs each, 1 trial'
    assert lines[1] == 'task-incremental: the task of a test image is known'
    assert lines[2].startswith('working files and log: ' + os.path.join('Result', 'digits', 'Hybrid_HPS-'))
    assert [line for line in lines if 'GPU' in line] == [
        '--gpu 0: this TensorFlow sees no usable GPU; training on the CPU']
    assert lines[-2] == 'Hybrid_HPS over 1 trial in ' + MAT
    assert re.match('metrics, comparisons and plots: PYTHONPATH=.* python3 -m utils.report %s$'
                    % re.escape(MAT), lines[-1])
    assert sum(line.startswith('trial 1 of 1, task ') for line in lines) >= 2
    # of the table
    assert [line.split()[0] for line in lines if re.match('(0|1|mean)  ', line)] == ['0', '1', 'mean']


def test_result_file(trained):
    entry, info = trained.entry, trained.entry['model_specific_info']
    texts = [info[name] for name in ('architecture', 'padding_type', 'hidden_activation')]
    assert texts == ['hybrid_hps_cnn', 'SAME', 'relu']
    for name, expected in [('learning_rate', 1e-3), ('early_stopping_para', [2, 1.5]),
                           ('image_dimension', [8, 8, 1]),
                           ('batch_size', 10), ('hidden_layer', 32), ('channel_sizes', [16, 16, 32, 32]),
                           ('kernel_sizes', [3] * 8), ('pooling_size', [1, 1, 2, 2, 1, 1, 2, 2]),
                           ('conv_sharing', [0, 0, 1, 1]), ('number_of_trainable_parameters', 27236)]:
        np.testing.assert_array_equal(info[name].ravel(), expected, err_msg=name)
    run_struct, = entry['result_of_each_run']
    train, valid, test = [run_struct['history_%s_error' % part] for part in ('train', 'validation', 'test')]
    assert train.shape == valid.shape == test.shape == (5, 3)
    assert not test[:3, 1].any() and test[3:, 1].all() and 0.3 < test[0, 0] < 0.7
    assert run_struct['num_epoch'] == 4 and run_struct['task_changed_epoch'].tolist() == [[1, 3]]
    assert run_struct['LEEP_score_trainset'].shape == (2, 2)
    np.testing.assert_array_equal(entry['best_test_error_each_task'],
                                  run_struct['history_best_test_error'][:, [2, 4]])
    np.testing.assert_array_equal(entry['test_error_at_last_epoch'], test[-1:, :2])
    np.testing.assert_array_equal(entry['accuracy_matrix'][0], [[test[2, 0], np.nan], test[4, :2]])
    assert entry['task_order'].tolist() == [[0, 1]] and entry['train_valid_data_group'].tolist() == [[0]]
    experiment = experiment_of('--num_tasks', '2', '--epochs_per_task', '2')
    assert entry['fingerprint'] == experiment.fingerprint() and len(entry['run_id']) == 32
    assert (entry['data_type'], entry['chosen_config']) == ('DIGITS5', 'TTSS')
    assert entry['seed'] == 0 and entry['schema_version'] == 1
    assert entry['versions']['tensorflow'] == tensorflow_version()
    assert entry['command'].startswith('main.py --data_type DIGITS5 ')


ANALYSES = ['--saveparam', '--leep', '--mutual_info']


def test_analyses_of_a_finished_experiment_are_not_left_out(trained, copy):
    """Another experiment: trained by itself, to the same accuracies, with its parameter files and fields."""
    status, out, err = run_and_listen(SHORT + ['--num_runs', '1'] + ANALYSES)
    assert (status, err) == (0, '') and 'parameter files: %s\n' % os.path.join('Result', 'params',
                                                                               'digits5_100p_HPS_t10') in out
    first, more = stored()
    assert more['fingerprint'] != first['fingerprint'] == trained.entry['fingerprint']
    np.testing.assert_array_equal(more['accuracy_matrix'], first['accuracy_matrix'])
    one, other = [entry['result_of_each_run'][0] for entry in (first, more)]
    np.testing.assert_array_equal(one['history_train_error'], other['history_train_error'])
    assert set(other) - set(one) == {'mutual_info_input', 'mutual_info_output'} and other[
        'mutual_info_input'].shape == (2, 4)
    assert not one['LEEP_score_testset'].any() and np.count_nonzero(other['LEEP_score_testset']) == 1
    assert more['parameter_folder'] == os.path.join('params', 'digits5_100p_HPS_t10')
    names = ['final_model_parameter.mat', 'model_parameter_taskC0_task0.mat',
             'model_parameter_taskC1_task1.mat']
    assert sorted(os.listdir(os.path.join('Result', more['parameter_folder'], 'run0'))) == names
    assert 'nothing to train' in run_and_listen(SHORT + ['--num_runs', '1'] + ANALYSES)[1]
    assert os.listdir(os.path.join('Result', 'params')) == ['digits5_100p_HPS_t10']


def test_the_folder_of_parameter_files_is_remembered(folder, pretended):
    pretended.statuses[0] = EXIT_INTERRUPTED
    assert run(SHORT + ['--num_runs', '2', '--saveparam']) == EXIT_INTERRUPTED
    # another one: a folder of its own
    assert run(SHORT + ['--num_runs', '1', '--saveparam', '--seed', '1']) == EXIT_INTERRUPTED
    pretended.statuses.clear()
    for options in (['--num_runs', '2'], ['--num_runs', '1', '--seed', '1'], ['--num_runs', '3']):
        assert run_and_listen(SHORT + options + ['--saveparam'])[0] == 0
    assert sorted(os.listdir(os.path.join('Result', 'params'))) == ['digits5_100p_HPS_t10',
                                                                    'digits5_100p_HPS_t10a']
    assert [entry['parameter_folder'] for entry in stored()] == [
        os.path.join('params', name) for name in ('digits5_100p_HPS_t10', 'digits5_100p_HPS_t10a')]


def test_a_folder_of_parameter_files_that_cannot_be(folder):
    (folder / 'Result').mkdir()
    (folder / 'Result' / 'params').write_text(u'a file')
    is_refused(SHORT + ['--saveparam'], 'Result/params cannot be written')


def test_a_file_that_is_no_parameter_file(folder):
    (folder / 'Result').mkdir()
    append_entry(MAT, {'fingerprint': 'x' * 64})
    (folder / 'text.mat').write_text(u'text')
    tensors = SHORT + ['--model_type', 'TF', '--tensorfactor_param_path']
    is_refused(tensors + ['digits.mat'], 'Result/digits.mat is not a parameter file that --saveparam wrote')
    is_refused(tensors + ['text.mat'], 'text.mat is not a MATLAB file of version 5')


def test_run_folder(trained):
    experiment = experiment_of('--num_tasks', '2', '--epochs_per_task', '2')
    result = trained.folder / 'Result'
    assert not [name for name in os.listdir(str(result)) if name.startswith('temp_')]
    place = result / 'digits' / ('Hybrid_HPS-' + experiment.fingerprint()[:8])
    config = json.loads((place / 'config.json').read_text())
    assert Experiment.from_json(json.dumps(config['experiment'])) == experiment
    assert config['finished'] and config['run_id'] == trained.entry['run_id']
    assert config['fingerprint'] == experiment.fingerprint()
    assert config['settings']['threads'] == 1 and config['host']['cores'] and config['versions']['tensorflow']
    log = (place / 'log.txt').read_text()
    for line in ('start: main.py --data_type DIGITS5 ',
                 'trial 0: learned task 0 (position 0): test accuracy ',
                 'trial 0: learned task 1 (position 1)', 'trial 0: finished'):
        assert re.search(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d %s' % re.escape(line), log, re.MULTILINE), line
    matrix = [line.split(',') for line in (place / 'trial0' / 'accuracy_matrix.csv').read_text().split()]
    assert matrix[0] == ['after_position', 'task_of_position_0', 'task_of_position_1']
    np.testing.assert_array_equal(np.array(matrix[1:], float)[:, 1:], trained.entry['accuracy_matrix'][0])
    history = (place / 'trial0' / 'history.csv').read_text().split()
    assert history[0] == 'task_trained,epoch,task_evaluated,split,accuracy' and len(history) == 1 + 3 * (
        3 * 1 + 2 * 2)
    value = trained.entry['result_of_each_run'][0]['history_validation_error'][4, 0]
    assert '1,4,0,valid,%r' % float(value) in history
    # the state of the end, from which more tasks can go on, and nothing beside it
    assert [path.name for path in (place / 'trial0').glob('checkpoint*')] == ['checkpoint']
    for task in ('task0', 'task1'):
        events, = os.listdir(str(result / 'graphs' / 'hybrid_hps_cnn' / 'run0' / place.name / task))
        assert events.startswith('events.out.tfevents')
    assert len(list((place / 'trial0').glob('events.out.tfevents.*'))) == 1
    assert 'to watch it: tensorboard --logdir %s\n' % (place.relative_to(trained.folder)) in trained.out


def test_finished_experiment_is_said_to_be_finished(copy, no_training):
    content = (copy / 'Result' / 'digits.mat').read_bytes()
    said = '%s already holds this experiment with 1 trial; nothing to train (--restart trains it again)\n' \
           'metrics, comparisons and plots: %s\n' % (MAT, command_for(MAT))
    assert run_and_listen(SHORT + ['--num_runs', '1']) == (0, said, '')
    shutil.rmtree(str(copy / 'Result' / 'digits'))
    assert imports_nothing_of_tensorflow(SHORT + ['--num_runs', '1']) == (0, said)
    assert (copy / 'Result' / 'digits.mat').read_bytes() == content and not (
        copy / 'Result' / 'digits').exists()


def test_a_finished_experiment_writes_nothing_for_tensorboard_and_says_so(copy, no_training):
    before = sorted(str(path) for path in copy.rglob('*'))
    status, out, err = run_and_listen(SHORT + ['--num_runs', '1', '--savegraph', '--tensorboard'])
    assert (status, err, sorted(str(path) for path in copy.rglob('*'))) == (0, '', before)
    assert 'note: --savegraph writes no graphs: nothing is trained\n' in out
    assert 'note: --tensorboard writes no accuracies: nothing is trained\n' in out


def test_more_trials_and_a_second_experiment(trained, copy):
    """One trial is there; another experiment is appended; then the first is given a second trial."""
    assert run_and_listen(SHORT + ['--num_runs', '1', '--seed', '1', '--quiet'])[::2] == (0, '')
    first, other = stored()
    assert first['run_id'] == trained.entry['run_id'] != other['run_id']
    assert not same_numbers(first['result_of_each_run'][0], other['result_of_each_run'][0])

    status, out, err = run_and_listen(SHORT + ['--num_runs', '2', '--quiet'])
    assert (status, err) == (0, '') and out.startswith('mean (std) over 2 trials')
    assert 'epoch' not in out and out.endswith('Hybrid_HPS over 2 trials in %s\n' % MAT)
    longer, unchanged = stored()
    assert unchanged['run_id'] == other['run_id'] and longer['run_id'] == trained.entry['run_id']
    old, new = longer['result_of_each_run']
    assert same_numbers(old, trained.entry['result_of_each_run'][0])
    assert old['training_time'] == trained.entry['training_time']
    assert not same_numbers(old, new)
    assert longer['train_valid_data_group'].tolist() == [[0, 1]] and longer['accuracy_matrix'].shape == (
        2, 2, 2)
    times = longer['training_time'].ravel()
    assert times.shape == (2,) and np.isclose(longer['training_time_stddev'], abs(times[0] - times[1])
                                              / 2 ** 0.5)


def test_a_deleted_result_file_is_rebuilt(trained, copy, no_training):
    os.remove(MAT)
    status, out, err = run_and_listen(SHORT + ['--num_runs', '1'])
    assert (status, err) == (0, '') and '(1 already trained)' in out
    entry, = stored()
    np.testing.assert_equal({name: value for name, value in entry.items() if name != 'command'},
                            {name: value for name, value in trained.entry.items() if name != 'command'})


# ---- whole runs with trials that only pretend ----

@pytest.fixture
def pretended(trained, monkeypatch):
    """Trials that take their record from `trained` instead of training;
    `statuses` says which end otherwise."""
    record, = trained.folder.glob('Result/digits/*/trial0/record.npz')
    statuses, trials = {}, []

    def train(run_folder, number):
        trials.append(number)
        if statuses.get(number, 0) == 0:
            with np.load(str(record)) as content:
                arrays = dict(content, trial=np.array(number))
            place = os.path.join(run_folder, 'trial%d' % number)
            np.savez(os.path.join(place, 'unfinished.npz'), **arrays)
            # the parent reads it
            os.replace(os.path.join(place, 'unfinished.npz'), os.path.join(place, 'record.npz'))
        return statuses.get(number, 0)
    monkeypatch.setattr(supervisor, 'choose_pool', lambda flags, trials, say: PoolHere(train))
    return SimpleNamespace(statuses=statuses, trials=trials)


def test_a_failed_trial_does_not_cost_the_others(folder, pretended):
    pretended.statuses[1] = EXIT_FAILED
    status, _, err = run_and_listen(SHORT + ['--num_runs', '3'])
    said, end = err.splitlines()
    assert status == EXIT_FAILED and said.startswith(
        'error: trial 1: pretended (the others go on; details in Result')
    assert end == '1 trial failed (1); the same command tries them again'
    assert stored()[0]['train_valid_data_group'].tolist() == [[0, 2]]
    pretended.statuses.clear()
    del pretended.trials[:]
    status, out, _ = run_and_listen(SHORT + ['--num_runs', '2', '--savegraph', '--tensorboard'])
    assert status == 0 and pretended.trials == [1]
    assert ('note: --savegraph writes no graphs: trial 0 is already trained\n' in out
            and '--tensorboard writes' not in out)
    entry, = stored()      # the third trial is not lost though only two were asked for now
    assert entry['train_valid_data_group'].tolist() == [[0, 1, 2]]


def test_a_trial_whose_folder_cannot_be_made_does_not_cost_the_others(folder, pretended, monkeypatch):
    make = os.makedirs

    def make_but_trial_0(path, *mode, **options):
        if os.path.basename(path) == 'trial0':
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        make(path, *mode, **options)
    with monkeypatch.context() as patch:
        patch.setattr(os, 'makedirs', make_but_trial_0)
        status, _, err = run_and_listen(SHORT + ['--num_runs', '3'])
    said, end = err.splitlines()
    assert status == EXIT_FAILED and said.startswith('error: trial 0: it could not start: Result')
    assert said.endswith('trial0: No space left on device')
    assert end == '1 trial failed (0); the same command tries them again'
    assert stored()[0]['train_valid_data_group'].tolist() == [[1, 2]]
    del pretended.trials[:]
    assert run_and_listen(SHORT + ['--num_runs', '3'])[0] == 0 and pretended.trials == [0]


def test_an_interrupted_run_goes_on(folder, pretended):
    pretended.statuses[1] = EXIT_INTERRUPTED
    status, _, err = run_and_listen(SHORT + ['--num_runs', '3'])
    assert status == EXIT_INTERRUPTED and err == 'interrupted; the same command resumes it\n'
    assert sorted(name for name in os.listdir('Result') if not name.startswith('.')) == [
        'digits', 'temp_digits.mat']
    pretended.statuses.clear()
    del pretended.trials[:]
    assert run_and_listen(SHORT + ['--num_runs', '3'])[0] == 0 and pretended.trials == [1, 2]
    assert sorted(name for name in os.listdir('Result') if not name.startswith('.')) == [
        'digits', 'digits.mat']


def test_restart_trains_again_and_appends(copy, pretended, trained):
    assert run_and_listen(SHORT + ['--num_runs', '1', '--restart'])[::2] == (0, '') and pretended.trials == [
        0]
    first, again = stored()
    assert first['run_id'] == trained.entry['run_id'] != again['run_id']
    assert first['fingerprint'] == again['fingerprint']
    assert run_and_listen(SHORT + ['--num_runs', '2'])[0] == 0 and pretended.trials == [0, 1]
    first, longer = stored()
    assert longer['run_id'] == again['run_id'] and longer['train_valid_data_group'].tolist() == [[0, 1]]
    assert first['train_valid_data_group'].tolist() == [[0]]


def test_an_interrupted_restart_goes_on_and_appends(copy, pretended, trained):
    pretended.statuses[0] = EXIT_INTERRUPTED
    status, _, err = run_and_listen(SHORT + ['--num_runs', '1', '--restart'])
    assert (status == EXIT_INTERRUPTED
            and err == 'interrupted; the same command without --restart resumes it\n')
    assert len(stored()) == 1
    pretended.statuses.clear()
    assert run_and_listen(SHORT + ['--num_runs', '1'])[0] == 0 and pretended.trials == [0, 0]
    first, again = stored()
    assert first['run_id'] == trained.entry['run_id'] != again['run_id']
    assert 'nothing to train' in run_and_listen(SHORT + ['--num_runs', '1'])[1] and len(stored()) == 2


def test_a_restart_that_failed_keeps_what_it_stored_though_fewer_are_asked_for(copy, pretended, trained):
    pretended.statuses[1] = EXIT_FAILED
    assert run_and_listen(SHORT + ['--num_runs', '3', '--restart'])[0] == EXIT_FAILED
    first, again = stored()
    assert again['train_valid_data_group'].tolist() == [[0, 2]]
    pretended.statuses.clear()
    assert run_and_listen(SHORT + ['--num_runs', '2'])[0] == 0
    first, again = stored()
    assert first['run_id'] == trained.entry['run_id']
    assert again['train_valid_data_group'].tolist() == [[0, 1, 2]]


def test_other_experiments_under_the_same_name_are_mentioned(folder, pretended):
    pretended.statuses[0] = EXIT_INTERRUPTED
    assert run_and_listen(SHORT + ['--num_runs', '1', '--seed', '1'])[0] == EXIT_INTERRUPTED
    pretended.statuses.clear()
    damaged = folder / 'Result' / 'digits' / 'damaged'
    damaged.mkdir()
    (damaged / 'config.json').write_text(u'{')
    status, out, _ = run_and_listen(SHORT + ['--num_runs', '1'])
    assert status == 0 and out.startswith(
        'note: %s also has an unfinished experiment with other settings: seed 1 instead of '
        '0\n' % os.path.join('Result', 'digits'))
    assert run_and_listen(SHORT + ['--num_runs', '1', '--seed', '1'])[0] == 0
    assert [entry['seed'].item() for entry in stored()] == [0, 1]


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Replaces main.py in the children by a script: function of its text."""
    def replace(text):
        path = tmp_path / 'child.py'
        path.write_text(u'import json, os, signal, sys, time\n'
                        u'tell = lambda **what: print(json.dumps(what), flush=True)\n' + text)
        monkeypatch.setattr(supervisor, 'MAIN', str(path))
    return replace


def test_what_every_trial_says_is_said_once(folder, child):
    child(u"tell(note='devices ' + os.environ['CUDA_VISIBLE_DEVICES'])\ntell(failed='no "
          u"reason')\nsys.exit(1)\n")
    status, out, err = run_and_listen(SHORT + ['--num_runs', '2'])
    assert status == EXIT_FAILED and out.count('devices -1\n') == 1 and 'Result/digits.mat' not in out
    assert ['error: trial %d: no reason (the others go on;' % number in err
            for number in (0, 1)] == [True, True]
    assert err.endswith('2 trials failed (0, 1); the same command tries them again\n') and err.count(
        '\n') == 3
    assert not os.path.exists(MAT)


def test_a_refused_gpu_is_named_once_and_recorded(folder, child):
    child(u"tell(device={'name': 'card %s' % sys.argv[3]})\ntell(error='the GPU computes "
          u"wrongly')\nsys.exit(2)\n")
    status, _, err = run_and_listen(SHORT + ['--num_runs', '3'])
    assert status == EXIT_USER_ERROR and err == (
        'error: trial 0: the GPU computes wrongly\n3 trials failed (0, 1, 2); the same command tries them '
        'again\n')
    path, = glob.glob(os.path.join('Result', 'digits', '*', 'config.json'))
    first = config_of(path)
    assert first['gpu_of_trial'] == {str(number): {'name': 'card %d' % number} for number in range(3)}
    child(u"tell(device={'name': 'another'})\nsys.exit(1)\n")
    run_and_listen(SHORT + ['--num_runs', '1'])
    second = config_of(path)
    assert second['gpu_of_trial'] == dict(first['gpu_of_trial'], **{'0': {'name': 'another'}})
    assert second['run_id'] == first['run_id']


def config_of(path):
    with open(path) as stream:
        return json.load(stream)


def test_a_killed_trial_gets_one_line(folder, child):
    child(u'os.kill(os.getpid(), signal.SIGKILL)\n')
    status, _, err = run_and_listen(SHORT + ['--num_runs', '1'])
    assert status == EXIT_FAILED and err.startswith(
        'error: trial 0 ended with signal 9; the same command resumes it')


def test_words_that_are_no_message_of_a_trial_are_passed_over(folder, child):
    child(u"print('a library speaks')\nprint(7, flush=True)\ntell(failed='no reason')\n"
          u"print('cut off', end='', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    status, _, err = run_and_listen(SHORT + ['--num_runs', '1'])
    assert status == EXIT_FAILED and err.startswith('error: trial 0: no reason (') and err.count('\n') == 2


@pytest.mark.parametrize('number', STOP_SIGNALS)
def test_a_signal_stops_the_trial_and_starts_no_other(folder, child, number):
    child(u'signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n'
          u'os.kill(os.getppid(), %d)\ntime.sleep(60)\n' % number)
    status, _, err = run_and_listen(SHORT + ['--num_runs', '2'])
    assert (status, err) == (EXIT_INTERRUPTED, 'interrupted; the same command resumes it\n')
    run_folder, = (folder / 'Result' / 'digits').iterdir()
    assert [path.name for path in run_folder.glob('trial*')] == ['trial0']


def test_a_hangup_that_is_ignored_stays_ignored(folder, child):
    """As `nohup` does it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        child(u"os.kill(os.getppid(), signal.SIGHUP)\ntime.sleep(0.2)\n"
              u"tell(failed='HUP %s' % signal.getsignal(signal.SIGHUP))\nsys.exit(1)\n")
        status, _, err = run_and_listen(SHORT + ['--num_runs', '1'])
        assert status == EXIT_FAILED and 'trial 0: HUP %s (' % signal.SIG_IGN in err
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_trial_takes_every_signal_that_asks_it_to_stop(tmp_path):
    """The handlers are those of the process of a trial, without TensorFlow."""
    program = (
        'import os, signal, sys\nfrom classification.runs import trial_process\nfrom utils.utils import '
        'STOP_SIGNALS\n'
               'signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1:] else signal.SIG_DFL)\n'
               'stop = trial_process.Stop()\nfor number in STOP_SIGNALS:\n'
               '    stop.asked = False\n    os.kill(os.getpid(), number)\n    print(int(stop()), end="")\n')
    for words, asked in (([], '111111'), (['nohup'], '110111')):
        child = subprocess.Popen([sys.executable, '-c', program] + words, cwd=ROOT, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        assert (child.stdout.read().decode(), child.wait()) == (asked, 0)
        child.stdin.close()


# ---- one experiment twice at once ----

def test_the_second_of_two_runs_waits_aloud_and_then_names_the_first(folder, monkeypatch):
    monkeypatch.setattr(trial_process, 'LOCK_SECONDS', 0.4)
    monkeypatch.setattr(locks, 'SILENT_SECONDS', 0.2)
    run_folder = os.path.join('Result', 'digits', experiment_of(*SHORT[len(DIGITS):]).folder_name())
    os.makedirs(run_folder)
    lock = trial_process.hold(run_folder, 'this experiment', pytest.fail)
    status, out, err = run_and_listen(SHORT)
    who = 'process %d on %s holds %s' % (os.getpid(), platform.node(), run_folder)
    assert (status, err) == (2, 'error: this experiment is already running: %s\n' % who)
    assert out == who + '; waiting up to 0 seconds\n'
    lock.release()
    assert trial_process.hold(run_folder, 'this experiment', pytest.fail).still_mine()
