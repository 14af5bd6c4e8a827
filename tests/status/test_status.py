"""python3 -m utils.status: each state of a trial from what is on disk; paths, formats, exit status; only
reads."""
import csv
import io
import json
import os
import re
import subprocess
import sys
import time

import pytest

from classification.results.mat_file import append_entry, entries
from classification.status import command, experiments
from classification.status.experiments import experiments_below
from classification.status.tables import state_text
from classification.status.trials import ago, duration
from tests.support.commands import process
from tests.support.result_files import EARLIER, drawn, record, write, write_published
from tests.support.run_folders import here, run_folder, token, trial

PLACE = {'position': 1, 'task': 3, 'epoch': 12, 'epochs': 25, 'done': 37, 'total': 50, 'valid': 0.91,
         'test': 0.9, 'epoch_seconds': 10.}
MINUTE = 60


def asked(capsys, *options):
    """(exit status, stdout, stderr) of the command line."""
    try:
        status = command.main(list(map(str, options)))
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    return status, said.out, said.err


def only(path):
    """The one experiment below a path."""
    found, = experiments_below([str(path)], pytest.fail)
    return found


def dead():
    """The number of a process that has ended."""
    child = subprocess.Popen(['true'])
    child.wait()
    return child.pid


# ---- a trial ----

def test_a_trial_with_a_record_is_finished_whatever_else_is_there(tmp_path):
    folder = run_folder(tmp_path / 'a', trials=1)
    place = trial(folder, 0, seconds=3., state='running', **PLACE)
    token(place)
    assert only(tmp_path).trials[0].state == 'finished'


@pytest.mark.parametrize('silent, state', [(0, 'running'), (9 * MINUTE, 'running'), (11 * MINUTE, 'stale')])
def test_a_trial_of_another_machine_runs_while_its_file_beats(tmp_path, capsys, silent, state):
    """The number of its process says nothing here."""
    folder = run_folder(tmp_path / 'a', trials=1)
    token(trial(folder, 0, state='running', host='elsewhere', **PLACE), silent, pid=dead())
    assert only(tmp_path).trials[0].state == state
    status, out, _ = asked(capsys, tmp_path)
    line = out.splitlines()[2].strip()
    assert status == (75 if state == 'running' else 1)
    if state == 'running':
        assert line == ('trial 0 running: on elsewhere, task 3 (position 1), epoch 12/25, '
                        'validation accuracy 0.910, test accuracy 0.900, 0:02:10 left')
    else:
        assert line.startswith('trial 0 stale: ') and line.endswith(
            'on elsewhere, no heartbeat for 11 minutes')


def test_a_trial_of_this_machine_whose_process_is_gone_was_interrupted(tmp_path):
    folder = run_folder(tmp_path / 'a', trials=1)
    place = trial(folder, 0, state='running', **PLACE)
    token(place, **here(os.getpid()))
    assert only(tmp_path).trials[0].state == 'running'
    token(place, **here(dead()))
    killed = only(tmp_path)
    assert killed.trials[0].state == killed.state == 'interrupted' and killed.trials[0].facts['epoch'] == 12


def test_a_failed_trial_says_why_and_is_no_interrupted_one(tmp_path, capsys):
    folder = run_folder(tmp_path / 'a')
    trial(folder, 0, state='failed', reason='the loss of task 1 became nan in epoch 2',
          task=1, epoch=1, epochs=5)
    trial(folder, 1, state='interrupted', **PLACE)
    status, out, _ = asked(capsys, tmp_path)
    assert status == 1 and '1 interrupted, 1 failed' in out
    assert 'trial 0 failed: task 1 (position 0), epoch 1/5, the loss of task 1 became nan in epoch 2\n' in out
    (folder / 'trial0' / 'state.json').unlink()
    status, out, _ = asked(capsys, tmp_path)
    assert status == 75 and '1 interrupted, 1 not begun' in out


@pytest.mark.parametrize('content', [
    '', '[]', '{"state": 5, "epoch": "x", "reason": ["y"], "done": true}', '{'])
def test_a_damaged_state_counts_as_none(tmp_path, content):
    folder = run_folder(tmp_path / 'a', trials=1)
    (trial(folder, 0) / 'state.json').write_text(u'%s' % content)
    found, = only(tmp_path).trials
    assert (found.state, found.facts) == ('interrupted', {})


def test_a_checkpoint_alone_is_where_a_trial_will_begin(tmp_path):
    """Of a version that wrote no state.json it is one of a trial that was interrupted."""
    for name, trials, state in (('a', 1, 'not begun'), ('b', None, 'interrupted')):
        folder = run_folder(tmp_path / name / 'x', trials=trials, command='main.py --num_runs 1')
        (trial(folder, 0) / 'checkpoint').write_bytes(b'')
        assert [one.state for one in only(tmp_path / name).trials] == [state]


def test_a_running_trial_without_an_epoch_says_so(tmp_path, capsys):
    folder = run_folder(tmp_path / 'a', trials=1)
    token(trial(folder, 0, state='failed', reason='before', epoch=3, task=1))
    assert 'trial 0 running: on elsewhere, no epoch is done yet\n' in asked(capsys, tmp_path)[1]


# ---- an experiment ----

def test_a_finished_experiment_needs_no_trial_folders(tmp_path, capsys):
    run_folder(tmp_path / 'a', finished=True, trials=3)
    status, out, _ = asked(capsys, tmp_path)
    assert status == 0 and re.search(r'3 of 3 +finished', out)


def test_the_command_of_an_experiment_has_a_heartbeat_of_its_own(tmp_path):
    folder = run_folder(tmp_path / 'a')
    assert only(tmp_path).state == 'not begun'
    token(folder)
    assert only(tmp_path).state == 'running'
    token(folder, 11 * MINUTE)
    assert only(tmp_path).state == 'stale' and state_text(only(tmp_path)) == 'stale, 2 not begun'
    token(folder, **here(dead()))
    assert only(tmp_path).state == 'not begun'
    for number in (0, 1):
        trial(folder, number, seconds=1.)
    unwritten = only(tmp_path)
    assert unwritten.state == 'interrupted' and 'the same command writes their entry' in unwritten.note
    token(folder)
    assert only(tmp_path).state == 'running'


def test_options_are_shown_where_experiments_on_the_same_data_differ(tmp_path):
    run_folder(tmp_path / 'a', digits='1' * 8)
    run_folder(tmp_path / 'a', digits='2' * 8, pattern='SSSS', seed=1)
    run_folder(tmp_path / 'a', 'EWC', '3' * 8, options={'lambda': 5})
    run_folder(tmp_path / 'a', 'STL', '4' * 8, data_type='FASHION5', seed=7)
    shown = {one.fingerprint[0]: one.options for one in experiments_below([str(tmp_path)], pytest.fail)}
    assert shown == {'1': 'seed 0, pattern TTSS', '2': 'seed 1, pattern SSSS', '3': 'seed 0', '4': ''}


def test_a_config_that_cannot_be_read_is_a_failure(tmp_path, capsys):
    folder = run_folder(tmp_path / 'a')
    (folder / 'config.json').write_text(u'{')
    status, out, _ = asked(capsys, tmp_path)
    assert status == 1 and 'config.json cannot be read' in out and 'Hybrid_HPS' in out


def test_a_method_of_a_plug_in_is_shown_without_the_plug_in(tmp_path, capsys):
    run_folder(tmp_path / 'a', 'Mine_HPS', finished=True, data_type='Stripes', plugins=['c0ffee'])
    status, out, _ = asked(capsys, tmp_path)
    assert status == 0 and re.search(r'Mine_HPS +Stripes', out)


# ---- of earlier versions ----

def test_what_an_earlier_version_left(capsys):
    status, out, _ = asked(capsys, EARLIER, '--format', 'json')
    begun, finished = json.loads(out)
    assert status == 75
    assert (begun['method'], begun['state'], begun['finished'], begun['interrupted']) == (
        'LASEM_HPS', 'interrupted', 1, 1)
    assert (finished['method'], finished['state'], finished['finished'], finished['trials']) == (
        'Hybrid_HPS', 'finished', 2, 2)


def test_an_earlier_version_left_its_failures_in_the_log(tmp_path):
    folder = run_folder(tmp_path / 'a', trials=None, command='main.py --num_runs 3 --gpu 0')
    trial(folder, 0)
    lines = ['trial 0 failed: of the command before', 'start: main.py', 'trial 0: resumed',
             'trial 1 failed: the loss of task 0 became nan in epoch 1', 'Traceback',
             'error: trial 2 ended with signal 9', 'error: trial 1 ended with status 1']
    (folder / 'log.txt').write_text(u''.join('2026-11-26 12:00:00 %s\n' % line for line in lines))
    trials = only(tmp_path).trials
    assert [one.state for one in trials] == ['not begun', 'failed', 'failed']
    assert [one.facts.get('reason') for one in trials] == [
        None, 'the loss of task 0 became nan in epoch 1', 'ended with signal 9']


def test_which_trials_an_earlier_version_wanted(tmp_path):
    """It did not say it: those that its command line asks for, and those that have a folder."""
    for name, given, folders, expected in (
            ('a', '--num_runs 5 --num_runs=2 --gpu 0', [], [0, 1]), ('b', '--num_runs 1', [4], [0, 4]),
            ('c', '', [], [0, 1, 2, 3, 4])):
        folder = run_folder(tmp_path / name / 'x', trials=None, command='main.py ' + given)
        for number in folders:
            trial(folder, number)
        assert [one.number for one in only(tmp_path / name).trials] == expected


# ---- only the result file is left ----

def test_the_result_file_knows_what_was_deleted(tmp_path, capsys):
    path = write(tmp_path / 'a.mat', 'LASEM_HPS', [drawn('LASEM_HPS'), drawn('LASEM_HPS', trial=1)])
    write(path, 'Hybrid_HPS', [record([[.9]])], pattern='TTSS', fingerprint='1' * 64)
    run_folder(tmp_path / 'a', digits='1' * 8, trials=1)
    for asked_for in (tmp_path, tmp_path / 'a', path):
        status, out, _ = asked(capsys, asked_for)
        assert status == 75 and re.search(r'Hybrid_HPS +DIGITS5 +- +0 of 1', out)
        assert re.search(r'LASEM_HPS +DIGITS5 +- +2 of 2 +finished', out) and '2 experiments' in out


def test_a_result_file_of_the_authors_release_and_one_that_is_none(tmp_path, capsys):
    write_published(tmp_path / 'published.mat')
    (tmp_path / 'odd.mat').write_bytes(b'x' * 300)
    status, out, err = asked(capsys, tmp_path)
    assert status == 0 and re.search(r'Hybrid_HPS TTSS +\? +- +2 of 2 +finished', out)
    assert err.startswith('note: ') and 'odd.mat' in err and err.count('\n') == 1


def test_entries_without_a_fingerprint_are_experiments_of_their_own(tmp_path, capsys):
    path = str(tmp_path / 'published.mat')
    write_published(path)
    append_entry(path, entries(path)[0])
    assert '2 experiments: 2 finished\n' in asked(capsys, path)[1]


def test_a_compressed_result_file_is_read_too(tmp_path, capsys):
    from scipy.io import loadmat, savemat
    path = write(tmp_path / 'a.mat', 'STL', [record([[.9]])])
    savemat(path, {'training_summary': loadmat(path)['training_summary']}, do_compression=True)
    status, out, err = asked(capsys, tmp_path)
    assert (status, err) == (0, '') and re.search(r'STL.* +DIGITS5 +- +1 of 1 +finished', out)


@pytest.mark.parametrize('name', ['epoch', 'position', 'task', 'done', 'valid', 'test', 'epoch_seconds'])
@pytest.mark.parametrize('value', ['NaN', 'Infinity', '1' + '0' * 400])
def test_a_number_that_is_none_costs_no_other(name, value, tmp_path, capsys):
    place = trial(run_folder(tmp_path / 'a', trials=1), 0, state='running', **dict(PLACE, **{name: 'X'}))
    token(place)
    path = place / 'state.json'
    path.write_text(path.read_text().replace('"X"', u'%s' % value))
    status, out, err = asked(capsys, tmp_path)
    assert (status, err) == (75, '') and 'trial 0 running: on elsewhere' in out
    json.loads(asked(capsys, tmp_path, '--format', 'json')[1], parse_constant=pytest.fail)


def test_half_a_sign_in_a_file_is_shown(tmp_path, capsys):
    trial(run_folder(tmp_path / 'a', trials=1), 0, state='failed', reason=u'\ud800!')
    assert r'failed: \ud800!' in asked(capsys, tmp_path)[1]


@pytest.mark.parametrize('change', [
    {'data_type': []}, {'model_type': {}}, {'task_order': None}, {'analyses': 5}, {'checksums': None},
    {'class_counts': [2]}, {'data_options': 'x'}])
def test_a_damaged_config_costs_no_other(change, tmp_path, capsys):
    run_folder(tmp_path / 'a', digits='1' * 8, finished=True)
    folder = run_folder(tmp_path / 'a', digits='2' * 8, **change)
    status, out, err = asked(capsys, tmp_path)
    assert (status, err) == (1, '') and '2 experiments: 1 finished, 1 failed' in out
    assert '%s cannot be read' % (folder / 'config.json') in out


# ---- paths, formats, the terminal ----

def test_paths(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = run_folder(tmp_path / 'Result' / 'a', digits='1' * 8, finished=True)
    run_folder(tmp_path / 'Result' / 'b', digits='2' * 8, finished=True)
    assert asked(capsys)[1].count('Hybrid_HPS') == 2
    assert asked(capsys, 'Result/a')[1].count('Hybrid_HPS') == 1
    assert asked(capsys, 'Result/a', 'Result/', 'Result/b/')[1].count('Hybrid_HPS') == 2
    assert asked(capsys, folder)[1].count('Hybrid_HPS') == 1


@pytest.mark.parametrize('options, says', [
    (['nowhere'], 'nowhere does not exist'), (['.'], '. holds no experiment'),
    (['--watch', '5', 'a'], '--watch 5: standard output is no terminal'), (['--watch', '0'], 'at least 1'),
    (['--format', 'yaml'], 'invalid choice'), ([''], 'PATH: a path is needed'),
    (['notes.txt'], 'notes.txt is no such folder or file; a result folder'),
    (['--watch', '9' * 20], 'at least 1 and at most 86400 is needed')])
def test_a_mistake_is_one_line_and_status_2(options, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'notes.txt').write_text(u'')
    status, out, err = asked(capsys, *options)
    assert (status, out, err.count('\n')) == (2, '', 1) and err.startswith('error: ') and says in err


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path, capsys, monkeypatch):
    def scandir(path):
        raise PermissionError(13, 'Permission denied', path)
    monkeypatch.setattr(experiments.os, 'scandir', scandir)
    status, out, err = asked(capsys, tmp_path)
    assert (status, out) == (2, '') and err == (
        'error: %s: Permission denied; a folder that can be read is needed\n' % tmp_path)


def test_csv_and_json_say_the_same(tmp_path, capsys):
    folder = run_folder(tmp_path / 'a', trials=3)
    token(trial(folder, 0, state='running', **PLACE))
    trial(folder, 1, state='failed', reason='a "reason", with\nmarks', test=float('nan'))
    status, out, _ = asked(capsys, tmp_path, '--format', 'csv')
    row, = csv.DictReader(io.StringIO(u'%s' % out))
    assert status == 1 and (row['running'], row['failed'], row['not_begun'], row['seconds_left']) == (
        '1', '1', '1', '130.0')
    found, = json.loads(asked(capsys, tmp_path, '--format', 'json')[1], parse_constant=pytest.fail)
    assert {name: '' if found[name] is None else str(found[name]) for name in row if name != 'details'} == {
        name: value for name, value in row.items() if name != 'details'}
    running, failed, waiting = found['trials_in_detail']
    assert (running['epoch'], running['host'], running['seconds_left']) == (12, 'elsewhere', 130.)
    assert (failed['reason'], failed['test'], waiting['state']) == (
        'a "reason", with\nmarks', None, 'not begun')


def test_times_for_people():
    assert [ago(time.time() - seconds) for seconds in (-500, 5, 125, 2 * 3600 + 60, 3 * 86400 + 60)] == [
        '0 s ago', '5 s ago', '2 min ago', '2 h ago', '3 d ago']
    assert [duration(seconds) for seconds in (7, 190.5, 3 * 3600 + 125)] == ['0:00:07', '0:03:10', '3:02:05']


def test_trials_side_by_side_end_with_the_last_of_them(tmp_path, capsys):
    folder = run_folder(tmp_path / 'a', trials=2)
    for number, done in enumerate((37, 40)):
        token(trial(folder, number, state='running', **dict(PLACE, done=done, valid=float('inf'))))
    found, = json.loads(asked(capsys, tmp_path, '--format', 'json')[1], parse_constant=pytest.fail)
    assert (found['seconds_left'] == 130.
            and [one['seconds_left'] for one in found['trials_in_detail']] == [130., 100.])


def test_many_trials_are_not_all_shown(tmp_path, capsys):
    folder = run_folder(tmp_path / 'a', trials=23)
    for number in range(22):
        trial(folder, number, state='interrupted', **PLACE)
    out = asked(capsys, tmp_path)[1]
    assert out.count(' interrupted: ') == 20 and '    and 2 trials more\n' in out


def test_watching_shows_it_again(tmp_path, capsys, monkeypatch):
    run_folder(tmp_path / 'a', finished=True)
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt
    monkeypatch.setattr(command.time, 'sleep', sleep)
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    with pytest.raises(KeyboardInterrupt):
        command.main([str(tmp_path), '--watch', '3'])
    assert capsys.readouterr().out.count(command.CLEAR) == 2 and pauses == [3, 3]


def test_it_only_reads_and_needs_no_tensorflow(tmp_path):
    folder = run_folder(tmp_path / 'Result' / 'a')
    token(trial(folder, 0, state='running', **PLACE))
    trial(folder, 1, seconds=1.)
    write(tmp_path / 'Result' / 'b.mat', 'STL', [record([[.9]])])

    def seen():
        return {os.path.join(where, name): os.stat(os.path.join(where, name)).st_mtime_ns
                for where, folders, files in os.walk(str(tmp_path)) for name in folders + files}
    before = seen()
    child, out, err = process(['-X', 'importtime', '-m', 'utils.status', str(tmp_path / 'Result')])
    assert child.returncode == 75 and '2 experiments: 1 finished, 1 running' in out
    imported = set(re.findall(r'import time:.*\| +(\w+)', err))
    assert 'numpy' in imported and not imported & {'tensorflow', 'scipy', 'matplotlib'}
    assert seen() == before
