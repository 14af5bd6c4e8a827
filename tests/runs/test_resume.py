"""A trial that was interrupted, or killed, and taken up again equals one that was left alone, bit for bit."""
import json
import os
import signal
import socket
from collections import Counter

import pytest

import main
from classification.experiment.resolve import resolve
from classification.runs import provenance, trial_process, trial_state
from tests.support import command_line
from tests.support.commands import (
    QUICK,
    SECONDS,
    Run,
    freeze,
    gone,
    inside,
    place_of,
    resumptions,
    start,
    waited_for,
)
from tests.support.result_files import same_result, same_trial
from tests.support.tiny import make_experiment, train, train_with_stops
from utils import utils_env_cl as env

# ---- in one process: stopped after every epoch ----

# of every selection one at least; the network has one layer; choices: what makes the case a hard one
CASES = [
    ('SNN', dict(order=(0, 1))),
    ('APD', dict(order=(0, 1), early_stopping=2, pattern='S')),
    ('APD', dict(order=(0, 1, 0), pattern='S', **dict(env.APD_PAPER, apd_mode='paper',
                                                      apd_consolidate_every=2))),
    ('ChannelGate', dict(order=(0, 1), early_stopping=2, **dict(env.CHANNEL_GATE['published_code'],
                                                                channel_gate_mode='published_code'))),
    ('ChannelGate', dict(order=(0, 1, 0), **dict(env.CHANNEL_GATE['paper'], channel_gate_mode='paper',
                                                 channel_gate_sparsity_start=0.5))),
    # a roll-back to before the stops
    ('LASEM_HPS', dict(order=(0, 1, 0), lr=0.03, seed=0, choices='ST')),
    ('LASEM_APD', dict(order=(0,), early_stopping=2, em_cnt_prior=True)),
    ('LASEMG_DFCNN', dict(order=(0,), reset_prior=True)),
    ('LASEM_fixed_TF', dict(order=(0,), favoured='S')),
    ('DARTS_HPS', dict(order=(0, 1, 0), darts_selection_data='valid')),
    # its columns' maps are kept
    ('ProgNN', dict(order=(0, 1, 0), depth=3, dim_reduction_scale=1.)),
    ('ProgNN', dict(order=(0, 1, 0), dim_reduction_scale=1., prognn_lateral_head=True)),
    ('EWC', dict(order=(0, 1, 0), fisher_multiplier=10., **env.EWC)),
    # the first alternative wins
    ('BruteForce_HPS', dict(order=(0, 1, 0), early_stopping=2, lr=0.02, choices='SS')),
    # two epochs of stage B, one of others
    ('DEN', dict(order=(0, 1), epochs=5)),
]


@pytest.mark.parametrize('model_type, settings', CASES, ids=[
    '-'.join([model_type] + [settings[name] for name in ('apd_mode', 'channel_gate_mode') if name in settings]
             + ['lateral_head'] * ('prognn_lateral_head' in settings))
    for model_type, settings in CASES])
def test_stopped_after_every_epoch(model_type, settings, tmp_path):
    settings = dict(settings)
    choices = settings.pop('choices', None)
    experiment = make_experiment(model_type, **dict({'depth': 1}, **settings))
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    trial, record = train(experiment, tmp_path / 'calm')
    stopped_trial, stopped_record, log = train_with_stops(experiment, tmp_path / 'stopped')
    same_trial(trial, record, stopped_trial, stopped_record)
    if choices:
        assert ''.join(trial.method.pattern_of(task) for task in experiment.tasks) == choices
    phases = [[experiment.training.epochs] for _ in experiment.task_order]
    if model_type.startswith('BruteForce'):
        phases[1] *= 2
    elif model_type == 'DEN':
        phases[1] = record.extra['den_stage_epochs'][1]
        assert phases[1].tolist() == [1, 2, 1, 1] and record.extra['den_split'][1].any()
    assert resumptions(log) == [(position, epoch) for position, of_position in enumerate(phases)
                                for epochs in of_position for epoch in range(1, epochs + 1)]


def test_damaged_checkpoints_cost_time_and_no_numbers(tmp_path):
    experiment = make_experiment('Hybrid_HPS', (0,), epochs=4, depth=1)
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    newest, before = [str(tmp_path / 'stopped' / name) for name in ('checkpoint', 'checkpoint.previous')]
    damaged = {2: [newest], 5: [newest, before]}        # after which stop: the last checkpoint, then both
    stops = []

    def damage():
        stops.append(None)
        for path in damaged.get(len(stops), ()):
            with open(path, 'r+b') as stream:
                stream.truncate(os.path.getsize(path) - 1)

    stopped_trial, stopped_record, log = train_with_stops(experiment, tmp_path / 'stopped', damage)
    same_trial(*(train(experiment, tmp_path / 'calm') + (stopped_trial, stopped_record)))
    # The second epoch was lost and repeated; after the fourth, everything was.
    assert resumptions(log) == [(0, epoch) for epoch in (1, 1, 2, 3, 1, 2, 3, 4)]
    assert [line.split('; ')[-1] for line in log if 'damaged' in line] == [
        'the one before it is used', 'the one before it is used', 'the trial starts anew']


# ---- child processes, killed ----

LEARN = QUICK + ['--model_type', 'HPS', '--transfer_config', 'top1', '--num_tasks', '2', '--epochs_per_task',
                 '6']


@pytest.fixture
def calm(tmp_path):
    """Function that gives the Run that nobody disturbed; it is trained while the test goes on."""
    calm = Run(tmp_path / 'calm', LEARN)
    process = start(['-m', 'tests.support.command_line', command_line.ONE_PROCESS] + calm.options,
                    tmp_path / 'calm.txt')

    def result():
        assert process.wait(SECONDS) == 0, (tmp_path / 'calm.txt').read_text()
        assert resumptions(calm.log()) == []
        return calm
    yield result
    if process.poll() is None:
        process.kill()
        process.wait()


def test_killed_at_every_stage(calm, tmp_path, monkeypatch, capfd):
    stages = Counter()
    with Run(tmp_path / 'run', LEARN).start() as run:
        # Before there is a checkpoint: both. But first, the same experiment at the same time.
        child = run.child()
        freeze(child)
        command_line.change(monkeypatch.setitem)
        monkeypatch.setattr(trial_process, 'LOCK_SECONDS', 0.1)
        assert main.main(run.options + ['--quiet']) == 2
        said = capfd.readouterr().err
        assert said.count('\n') == 1 and 'already running' in said
        assert 'process %d on %s' % (run.parent.pid, socket.gethostname()) in said
        assert not os.path.exists(run.checkpoint)
        run.kill(child)
        stages['before the first checkpoint'] += 1

        # The child only: its trial has failed.
        child, meta = run.start().child_stopped_when(inside(0))
        child.kill()
        assert run.wait() == 1
        error, = run.errors()
        assert 'trial 0 ended with signal 9; the same command resumes it' in error
        assert '1 trial failed (0)' in run.said and not (tmp_path / 'run' / 'found.mat').exists()
        stages['inside task %d' % meta['position']] += 1

        # The parent only: the child ends by itself, with a checkpoint.
        child, killed_at = run.start().child_stopped_when(inside(1))
        assert resumptions(run.log()) == [place_of(meta)]
        run.parent.kill()
        assert run.wait() == -signal.SIGKILL
        child.resume()
        waited_for(lambda: gone(child))
        left = run.last_checkpoint()
        assert killed_at['global_epoch'] < left['global_epoch'] <= killed_at['global_epoch'] + 2 and left[
            'inside']
        stages['inside task %d' % killed_at['position']] += 1

        assert run.start().wait() == 0 and run.errors() == []
        assert resumptions(run.log())[1:] == [place_of(left)]
        same_result(run, calm())
        assert sorted(os.listdir(os.path.dirname(run.checkpoint))) == [
            '.lock', 'accuracy_matrix.csv', 'checkpoint', 'epochs.csv', 'history.csv', 'record.npz',
            'splits.npz', 'state.json']
    print('kills: %s' % ', '.join('%s: %d' % stage for stage in sorted(stages.items())))
    assert set(stages) == {'before the first checkpoint', 'inside task 0', 'inside task 1'}


def test_a_loss_that_is_no_number_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    command_line.change(monkeypatch.setitem)
    monkeypatch.setitem(env.TRAINING, 'digits5', env.TRAINING['digits5']._replace(lr=1e30))
    options = QUICK + ['--model_type', 'STL', '--num_tasks', '1', '--epochs_per_task', '1']
    experiment = resolve(main.parser().parse_args(options), pytest.fail)
    settings = dict(data_dir='', gpu=[-1], gpu_memory_fraction=None, threads=1, jobs=1, checkpoint_minutes=0,
                    graph_folder=None, parameter_folder=None, tensorfactor_file=None, tensorboard=False)
    (tmp_path / 'trial0').mkdir()
    (tmp_path / trial_process.CONFIG).write_text(
        json.dumps({'experiment': json.loads(experiment.to_json()), 'settings': settings,
                    'origin': provenance.of_command(experiment)}))
    assert trial_process.run_trial_process(str(tmp_path), 0, stop=lambda: False) == 1
    told, = capsys.readouterr().out.splitlines()
    assert json.loads(told) == {'failed': 'the loss of task 0 became nan in epoch 1'}
    assert 'trial 0 failed: the loss of task 0 became nan in epoch 1\n' in (
        tmp_path / trial_process.LOG).read_text()
    assert not (tmp_path / 'trial0' / trial_process.RECORD).exists()
    left = trial_state.read(str(tmp_path / 'trial0'))
    assert (left['state'], left['reason']) == ('failed', 'the loss of task 0 became nan in epoch 1')
