"""Where numbers come from: what is recorded, what is refused, and what is only said."""
import json
import os
import shutil
import subprocess
import sys
import time
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest

from classification.report import command as report
from classification.results import origin, trial_record
from classification.results.mat_file import as_stored, entries
from classification.runs import provenance
from tests.support import result_files
from tests.support.commands import MAT, SHORT, experiment_of, is_refused, run_and_listen
from utils.source_digest import ROOT
from utils.tensorflow_version import tensorflow_distribution
from utils.utils import EXIT_USER_ERROR, UserError

ONE = {'versions': {'python': '3.7.16', 'numpy': '1.16.6'}, 'source_modules': ['a', 'b'],
       'source_digests': ['1', '2'],
       'host': 'here', 'device': 'CPU', 'threads': 2, 'git_commit': 'abc', 'uncommitted_changes': False,
       'data_folder': 'Data',
       'data_checksum': '0', 'design_checksum': None, 'numeric_versions': 'numerics 2',
       'started': '2026-11-26T00:00:00Z'}
NEWER = dict(ONE, versions={'python': '3.7.16', 'numpy': '1.21.0'}, host='there')
EDITED = dict(ONE, source_digests=['1', '3'])
ON_GPU = dict(ONE, device='NVIDIA H200', threads=8)
MOVED = dict(ONE, source_modules=['a', 'elsewhere.b'])


def test_two_origins_differ_in_libraries_and_code_and_not_in_host_or_name():
    assert origin.differences(ONE, NEWER) == ({'numpy': ('1.16.6', '1.21.0')}, [])
    assert origin.differences(ONE, EDITED) == ({}, ['b'])
    assert origin.differences(ONE, MOVED) == origin.differences(ONE, dict(ONE, host='there')) == ({}, [])
    assert origin.differences(ONE, origin.UNKNOWN) == ({}, [])


def test_two_origins_differ_in_the_kind_of_device_and_the_threads_of_a_cpu():
    assert origin.differences(ONE, ON_GPU) == ({'device': ('CPU', 'NVIDIA H200')}, [])
    assert origin.differences(ONE, dict(ONE, threads=1)) == ({'threads': (2, 1)}, [])
    same = ({}, [])
    assert origin.differences(ON_GPU, dict(ON_GPU, host='there', threads=1)) == same
    for unknown in (dict(ONE, device=''), dict(ONE, threads=None), {
            name: value for name, value in ONE.items() if name not in ('device', 'threads')}):
        assert origin.differences(unknown, dict(ONE, threads=1)) == same


@pytest.mark.parametrize('trials, said', [
    ([[ONE], [ONE]], ''), ([[ONE], [MOVED]], ''), ([[], [origin.UNKNOWN]], ''),
    ([[ONE], [NEWER]], 'numpy 1.16.6 and 1.21.0'), ([[ONE], [EDITED], [NEWER]],
                                                    'numpy 1.16.6 and 1.21.0; code of b'),
    ([[ONE, NEWER]], 'numpy 1.16.6 and 1.21.0'),
    ([[ONE], [ON_GPU], [dict(ON_GPU, device='NVIDIA L4')]], 'device CPU and NVIDIA H200 and NVIDIA L4'),
    ([[ONE], [dict(ONE, threads=1)], [dict(ONE, threads=4)]], 'threads 2 and 1 and 4'),
    ([[], [ONE]], 'unknown origin of trial 0'), ([[ONE], [origin.UNKNOWN, ONE]],
                                                 'unknown origin of trial 1')])
def test_what_the_trials_of_an_entry_differ_in(trials, said):
    assert origin.mixture(OrderedDict(enumerate(trials))) == said


def test_a_trial_has_a_new_stretch_only_where_something_changed():
    assert origin.continued([], ONE) == origin.continued([ONE], dict(ONE, started='later')) == [ONE]
    for now in (NEWER, ON_GPU, dict(ONE, data_checksum='of more tasks')):
        assert origin.continued([ONE], now) == [ONE, now]
    assert origin.continued([origin.UNKNOWN], ONE) == [origin.UNKNOWN, ONE]
    assert origin.continued([origin.UNKNOWN], origin.UNKNOWN) == [origin.UNKNOWN]


@pytest.mark.parametrize('trials', [[[ONE]], [[ONE], [origin.UNKNOWN, NEWER]], [[ONE, EDITED]] * 5,
                                    [[ONE], [ON_GPU]], [[ONE], [dict(ONE, threads=1)]]])
def test_a_result_file_gives_origins_back(tmp_path, trials):
    from classification.results.mat_file import append_entry
    append_entry(str(tmp_path / 'x.mat'), {'train_valid_data_group': list(range(len(trials))), 'origin': [
        origin.as_fields(stretches) for stretches in trials]})
    entry, = entries(str(tmp_path / 'x.mat'))
    back = origin.from_entry(entry)
    assert list(back) == list(range(len(trials)))
    assert origin.mixture(back) == origin.mixture(OrderedDict(enumerate(trials)))
    for cell, stretches in zip(entry['origin'], trials):
        for stored, known in zip(cell, stretches):
            assert set(stored) == set(origin.FIELDS)
            if known:
                assert (stored['host'], stored['threads'].item(), stored['started']) == (
                    known['host'], known['threads'], known['started'])


def test_an_entry_without_origins_is_unknown():
    assert origin.from_entry(as_stored({'train_valid_data_group': [0, 1]})) == {0: [], 1: []}
    assert origin.from_entry(as_stored({'origin': 'x'})) == {}
    assert origin.from_entry(as_stored({'train_valid_data_group': [0], 'origin': [['x']]})) == {
        0: [origin.UNKNOWN]}


# ---- the repository ----

def git(folder, *words):
    subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b', '-C', str(folder)] + list(words),
                   check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def repository(tmp_path):
    """A repository with one committed file: (its folder, the commit)."""
    if shutil.which('git') is None:
        pytest.skip('git is not installed')
    folder = tmp_path / 'repository'
    folder.mkdir()
    (folder / 'a.py').write_text('1\n')
    git(folder, 'init', '-q')
    git(folder, 'add', '.')
    git(folder, 'commit', '-q', '-m', 'x')
    commit = subprocess.check_output(['git', '-C', str(folder), 'rev-parse', 'HEAD']).decode().strip()
    return folder, commit


def test_the_commit_says_whether_files_were_changed_since(repository):
    folder, commit = repository
    assert provenance.git_state(str(folder)) == (commit, False)
    (folder / 'a.py').write_text('2\n')
    assert provenance.git_state(str(folder)) == (commit, True)


def test_the_environment_names_no_other_repository(repository, tmp_path, monkeypatch):
    folder, commit = repository
    other = tmp_path / 'other'
    git(tmp_path, 'clone', '-q', str(folder), str(other))
    git(other, 'commit', '-q', '--allow-empty', '-m', 'y')
    for name in ('GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE', 'GIT_OBJECT_DIRECTORY'):
        monkeypatch.setenv(name, str(other / '.git'))
    assert provenance.git_state(str(folder)) == (commit, False)


def test_a_folder_inside_another_repository_is_not_taken_for_it(repository):
    inside = repository[0] / 'inside'
    inside.mkdir()
    assert provenance.git_state(str(inside)) == ('', None)


@pytest.mark.skipif(os.getuid() != 0, reason='only root can give a folder to somebody else')
def test_a_repository_of_another_user_is_read(repository):
    folder, commit = repository
    for place, folders, files in os.walk(str(folder)):
        for name in ['.'] + files:
            os.chown(os.path.join(place, name), 12345, 12345)
    assert provenance.git_state(str(folder)) == (commit, False)


# ---- a trial and its command ----

@pytest.fixture
def command():
    """(experiment, what its command recorded)."""
    experiment = experiment_of()
    return experiment, json.loads(json.dumps(provenance.of_command(experiment)))


def test_a_trial_records_where_its_numbers_come_from(command):
    experiment, recorded = command
    found = provenance.of_trial(experiment, recorded, 'CPU', 3, 'Data')
    assert set(found) == set(origin.FIELDS) and found['data_checksum'] == experiment.checksums['raw']
    assert (found['device'], found['threads'], found['data_folder']) == ('CPU', 3, 'Data')
    assert found['versions']['numpy'] == np.__version__ and found[
        'numeric_versions'] == 'numerics %d' % experiment.numerics
    assert found['started'].endswith('Z') and 'classification.train' in found['source_modules']
    assert origin.differences(found, recorded) == ({}, [])


@pytest.mark.parametrize('change, says', [
    (lambda it: it['versions'].update(tensorflow='2.13.0'), 'tensorflow is'),
    (lambda it: it['versions'].update(numpy='1.0'), 'numpy is'),
    (lambda it: it['source_digests'].__setitem__(0, 'x'), 'changed; trials of one command need the same')])
def test_a_trial_refuses_other_code_and_libraries_than_its_command_has(command, change, says):
    experiment, recorded = command
    change(recorded)
    with pytest.raises(UserError, match=says):
        provenance.of_trial(experiment, recorded, 'CPU', 1)


def test_a_trial_refuses_another_numeric_version(command, monkeypatch):
    experiment, recorded = command
    monkeypatch.setattr(provenance, 'NUMERICS', experiment.numerics + 1)
    with pytest.raises(UserError, match='experiment changed'):
        provenance.of_trial(experiment, recorded, 'CPU', 1)


def test_a_trial_knows_the_version_that_its_data_bring(command):
    experiment, recorded = command
    experiment = experiment._replace(numeric_versions={'small classes': 2})
    assert provenance.of_trial(experiment, recorded, 'CPU', 1)['data_checksum'] == experiment.checksums['raw']
    with pytest.raises(UserError, match='experiment changed'):
        provenance.of_trial(experiment._replace(numeric_versions={'small classes': 1}), recorded, 'CPU', 1)


def test_a_trial_refuses_a_command_of_a_version_that_recorded_nothing(command):
    with pytest.raises(UserError, match='is not that of the running command'):
        provenance.of_trial(command[0], None, 'CPU', 1)


def test_an_edit_while_trial_0_runs_is_refused_by_trial_1(tmp_path):
    """The loss of whoever edits a method at night: one entry must not hold the numbers of two codes."""
    house = tmp_path / 'house'
    for name in ('classification', 'utils'):
        shutil.copytree(os.path.join(ROOT, name), str(house / name),
                        ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(os.path.join(ROOT, 'main.py'), str(house))
    run = subprocess.Popen([sys.executable, 'main.py'] + SHORT + ['--num_runs', '2'], cwd=str(house),
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 120
        while not list(
                house.glob(
                    'Result/digits/*/trial0/record.npz')) and run.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        loop = house / 'classification' / 'train.py'
        text = loop.read_text()
        assert 'data.train.size // batch' in text
        loop.write_text(text.replace('data.train.size // batch', 'data.train.size // batch - 1'))
        _, err = run.communicate(timeout=120)
    finally:
        run.kill()
    lines = err.decode().splitlines()
    assert run.returncode == EXIT_USER_ERROR and len(lines) == 2, err
    assert lines[0].startswith('error: trial 1: the code on ') and 'classification.train changed' in lines[0]
    assert lines[1] == '1 trial failed (1); the same command tries them again'
    entry, = entries(str(house / MAT))
    assert entry['train_valid_data_group'].tolist() == [[0]]


# ---- between commands ----

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with an experiment of one trial: its record, and the config.json beside it."""
    place, here = tmp_path_factory.mktemp('trained'), os.getcwd()
    os.chdir(str(place))
    try:
        assert run_and_listen(SHORT + ['--num_runs', '1'])[::2] == (0, '')
    finally:
        os.chdir(here)
    return place


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    """A copy of it as current folder: its run folder, its record."""
    shutil.copytree(str(trained / 'Result'), str(tmp_path / 'Result'))
    monkeypatch.chdir(tmp_path)
    folder = next((tmp_path / 'Result' / 'digits').iterdir())
    return SimpleNamespace(run=folder, record=trial_record.load_record(str(folder / 'trial0' / 'record.npz')))


def with_origin(copy, stretches):
    """Writes the record of trial 0 with other origins (None: as a version before origins did)."""
    trial_record.save_record(str(copy.run / 'trial0' / 'record.npz'),
                        copy.record._replace(origin=stretches and json.dumps(stretches)))


def test_the_entry_and_the_config_hold_the_origin(copy):
    entry, = entries(MAT)
    (found,), = origin.from_entry(entry).values()
    config = json.loads((copy.run / 'config.json').read_text())
    assert found['git_commit'] == config['git_commit'] and config['origin']['source_digests'] == found[
        'source_digests']
    assert dict(entry['versions'], tensorflow_distribution=tensorflow_distribution()[0]) == found[
        'versions'] and found['threads'].item() == 1
    assert json.loads(copy.record.origin)[0]['data_checksum'] == found['data_checksum']
    assert config['origin_of_trial'] == {'0': json.loads(copy.record.origin)}


def test_finished_numbers_of_other_code_are_not_read_as_new_ones(copy, monkeypatch):
    assert run_and_listen(SHORT + ['--num_runs', '1'])[1].splitlines()[0].endswith(
        '(--restart trains it again)')
    now = provenance.of_command(experiment_of('--num_tasks', '2', '--epochs_per_task', '2'))
    edited = dict(now, source_digests=['x'] + now['source_digests'][1:])
    monkeypatch.setattr(provenance, 'of_command', lambda experiment: edited)
    status, out, err = run_and_listen(SHORT + ['--num_runs', '1'])
    assert (status, err) == (0, '') and out.splitlines()[0].endswith(
        'nothing to train (--restart trains it again); its numbers have another origin than they would have '
        'now: code of %s'
        % now['source_modules'][0])


def test_added_trials_of_another_origin_are_said_stored_and_flagged(copy):
    earlier = json.loads(copy.record.origin)[0]
    earlier['versions'] = dict(earlier['versions'], numpy='1.0')
    with_origin(copy, [earlier])
    status, out, err = run_and_listen(SHORT + ['--num_runs', '2'])
    assert (status, err) == (0, '')
    note, = [line for line in out.splitlines() if line.startswith('note: ')]
    assert 'numpy 1.0 and %s' % np.__version__ in note
    assert ('--restart trains all 2 trials again, --restart 0 only the earlier ones, '
            '2 tasks of 2 epochs each') in note
    entry, = entries(MAT)
    found = origin.from_entry(entry)
    assert [found[trial][0]['versions']['numpy'] for trial in (0, 1)] == ['1.0', np.__version__]
    assert origin.mixture(found) == 'numpy 1.0 and %s' % np.__version__

    # one trial again, and nothing is mixed any more
    status, out, err = run_and_listen(SHORT + ['--num_runs', '2', '--restart', '0'])
    assert (status, err) == (0, '') and 'note: ' not in out and '(1 already trained)' in out
    again, = entries(MAT)
    assert origin.mixture(origin.from_entry(again)) == '' and again['run_id'] == entry['run_id']
    assert again['train_valid_data_group'].tolist() == [[0, 1]]
    np.testing.assert_array_equal(again['accuracy_matrix'], entry['accuracy_matrix'])


def test_a_trial_that_does_not_exist_cannot_be_restarted(copy):
    is_refused(SHORT + ['--num_runs', '1', '--restart', '0,3'],
               '--restart 0,3: this experiment has the trials 0')
    for text in ('x', '-1', ''):
        is_refused(SHORT + ['--num_runs', '1', '--restart', text], 'invalid list of trials like 0,2 value: ')
    assert len(entries(MAT)) == 1


# ---- report ----

R = [[0.5, np.nan], [0.5, 0.9]]


def records(*trials):
    """A record per trial, with these stretches; None: of a version that recorded no origin."""
    return [result_files.record(R, trial=number)._replace(origin=stretches and json.dumps(stretches))
            for number, stretches in enumerate(trials)]


def reported(capsys, *options):
    assert report.main(list(options)) == 0
    return capsys.readouterr().out


def test_every_report_marks_an_experiment_of_mixed_origin(tmp_path, capsys):
    path = result_files.write(tmp_path / 'x.mat', 'STL', records([ONE], [ONE]))
    result_files.write(path, 'DEN', records([ONE], [NEWER]))
    result_files.write(path, 'EWC', records(None, [ONE]))
    result_files.write(path, 'SNN', records(None, None))
    text = reported(capsys, path)
    assert 'Note: DEN [mixed origin]: trials of different origins: numpy 1.16.6 and 1.21.0.' in text.split(
        '\n')
    assert 'Note: EWC [mixed origin]: trials of different origins: unknown origin of trial 0.' in text.split(
        '\n')
    assert 'STL [' not in text and 'SNN [' not in text
    assert ('Not all methods were trained with the same libraries: '
            'numpy 1.16.6 (STL, DEN, EWC), 1.21.0 (DEN).') in text
    assert 'mixed origin: trials of different origins: numpy' in reported(capsys, path, '--format', 'csv')
    reported(capsys, path, '--format', 'html', '--out', str(tmp_path / 'out'))
    page = (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')
    assert page.count('>mixed origin</span>') == 4


@pytest.mark.parametrize('other, said', [(ON_GPU, 'device CPU and NVIDIA H200'),
                                         (dict(ONE, threads=1), 'threads 2 and 1')], ids=str)
def test_trials_on_other_devices_are_marked(other, said, tmp_path, capsys):
    path = result_files.write(tmp_path / 'x.mat', 'DEN', records([ONE], [other]))
    assert 'Note: DEN [mixed origin]: trials of different origins: %s.' % said in reported(
        capsys, path).split('\n')


def test_methods_of_one_origin_have_no_note(tmp_path, capsys):
    path = result_files.write(tmp_path / 'x.mat', 'STL', records([ONE]))
    result_files.write(path, 'DEN', records([dict(EDITED, host='there')]))
    text = reported(capsys, path)
    assert 'libraries' not in text and 'mixed' not in text


def test_a_single_restart_does_not_train_what_it_was_not_asked_for(copy):
    assert run_and_listen(SHORT + ['--num_runs', '2'])[0] == 0
    os.remove(str(copy.run / 'trial0' / 'record.npz'))
    is_refused(SHORT + ['--num_runs', '2', '--restart', '1'],
               '--restart 1: the records of trial 0 are no longer in Result/digits/')
    assert entries(MAT)[0]['train_valid_data_group'].tolist() == [[0, 1]]
