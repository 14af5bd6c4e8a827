"""The scripts of the paper's tables: every command of theirs is one that main.py accepts; failures, signals,
one alone."""
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import main
from classification.experiment.resolve import resolve
from tests.support import data_files
from tests.support.commands import TABLES, listed_commands

SCRIPTS = os.path.join(os.path.dirname(main.__file__), 'scripts')
# Stands for Python: notes its arguments, then ends as the file says that is named like the command's
# --model_type.
FAKE = '''#!/bin/bash
echo "$*" >> {place}/calls
while [ $# -gt 0 ]; do [ "$1" != --model_type ] || model=$2; shift; done
trap 'echo "$model told to stop" >> {place}/calls; exit 75' TERM
touch {place}/running
[ ! -f {place}/$model ] || . {place}/$model
'''


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    place = tmp_path_factory.mktemp('data')
    data_files.few_images(str(place))
    return str(place)


@pytest.mark.parametrize('script', TABLES)
def test_every_command_is_an_experiment_of_its_own(script, data):
    listed = listed_commands(script, '--data_dir', data, '--num_tasks', '2')
    said = []
    experiments = [resolve(main.parser().parse_args(options), said.append) for options in listed]
    assert not [line for line in said if 'numbers are those of' in line or 'is ignored' in line]
    assert len({one.fingerprint() for one in experiments}) == len(listed)
    assert len({(one.data_type, one.data_percent, one.seed) for one in experiments}) == 1
    assert all(one.lifelong for one in experiments)
    patterns = {one.pattern for one in experiments if one.model_type == 'Hybrid_TF'}
    assert len(patterns) == sum(one.model_type == 'Hybrid_TF' for one in experiments) >= 6
    assert {'STL', 'SNN', 'ProgNN', 'DEN', 'EWC', 'ChannelGate', 'APD', 'Hybrid_HPS', 'Hybrid_DFCNN',
            'LASEM_HPS', 'LASEM_TF',
            'LASEM_DFCNN', 'LASEMG_HPS', 'DARTS_HPS', 'DARTS_DFCNN'} <= {one.model_type
                                                                         for one in experiments}
    for options in listed:
        model = options[options.index('--model_type') + 1]
        assert options[options.index('--save_mat_name') + 1] == '%s_%s.mat' % (script, model)


@pytest.mark.parametrize('begun', ['table_stl10.mat', 'table_stl10/STL-12345678/config.json'])
def test_a_table_that_was_begun_in_one_file_goes_on_there(begun, tmp_path, monkeypatch):
    (tmp_path / 'home' / begun).parent.mkdir(parents=True)
    (tmp_path / 'home' / begun).write_text(u'')
    monkeypatch.setenv('HOME', str(tmp_path))
    for given in (['--result_dir', str(tmp_path / 'home')], ['--result_dir=' + str(tmp_path / 'home')],
                  ['--result_dir', '~/home']):
        names = [options[options.index('--save_mat_name') + 1]
                 for options in listed_commands('table_stl10', *given)]
        assert set(names) == {'table_stl10.mat'} and len(names) > 30
    assert listed_commands('table_stl10', '--save_mat_name',
                           'mine.mat')[0][-2:] == ['--save_mat_name', 'mine.mat']


def test_the_quick_look_runs_on_both_data_sets():
    listed = [main.parser().parse_args(options) for options in listed_commands('quick_look')]
    by_data = {data: [(one.model_type, one.transfer_config) for one in listed if one.data_type == data]
               for data in ('DIGITS5', 'FASHION10')}
    assert by_data['DIGITS5'] == by_data['FASHION10'] and len({model for model, _ in by_data['DIGITS5']}) >= 6


@pytest.fixture
def fake(tmp_path):
    """Function of a script, its arguments and environment: a process that runs it with FAKE for Python."""
    python = tmp_path / 'python'
    python.write_text(FAKE.format(place=tmp_path))
    python.chmod(0o755)

    def start(script, *arguments, **environment):
        return subprocess.Popen([os.path.join(SCRIPTS, script + '.sh')] + list(arguments),
                                stderr=subprocess.PIPE,
                                stdout=subprocess.PIPE, env=dict(os.environ, PYTHON=str(python),
                                                                 **environment))
    return start


def calls(tmp_path):
    path = tmp_path / 'calls'
    return path.read_text().splitlines() if path.exists() else []


def test_a_failed_trial_does_not_stop_a_table_but_a_mistake_does(fake, tmp_path):
    total = len(listed_commands('table_stl10'))
    (tmp_path / 'SNN').write_text('exit 1')
    child = fake('table_stl10', '--gpu', '1')
    _, err = child.communicate()
    assert child.returncode == 1 and len(calls(tmp_path)) == total
    assert all(call.endswith(' --gpu 1') for call in calls(tmp_path))
    assert err.decode(
        'utf-8') == '== 1 of %d commands had trials that failed; the same script tries them again\n' % total
    (tmp_path / 'ProgNN').write_text('exit 2')
    (tmp_path / 'calls').unlink()
    child = fake('table_stl10')
    _, err = child.communicate()
    assert child.returncode == 2 and len(calls(tmp_path)) == 3
    assert err.decode('utf-8') == '== stopped at command 3 (status 2); the same script goes on there\n'


WARNINGS = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU]


@pytest.mark.parametrize('number', WARNINGS + [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize('script, more', [('table_cifar100', {}),
                                          ('slurm_array', {'SLURM_ARRAY_TASK_ID': '2'})])
def test_a_signal_reaches_the_running_command_and_stops_the_table(script, more, number, fake, tmp_path):
    """What Slurm's time limit ends is queued again, what somebody cancels is not."""
    (tmp_path / 'SNN').write_text('while true; do sleep 0.05; done')
    (tmp_path / 'scontrol').write_text('#!/bin/bash\necho "scontrol $*" >> %s/calls\n' % tmp_path)
    (tmp_path / 'scontrol').chmod(0o755)
    arguments = [] if script != 'slurm_array' else [os.path.join(SCRIPTS, 'table_cifar100.sh')]
    child = fake(script, *arguments, SLURM_ARRAY_JOB_ID='7', PATH='%s:%s' % (tmp_path, os.environ['PATH']),
                 **more)
    deadline = time.monotonic() + 20
    while not any('SNN' in call for call in calls(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)         # until it listens for signals
    child.send_signal(number)
    assert child.wait() == 75
    models = [call.split()[2] if call.startswith('main.py') else call for call in calls(tmp_path)]
    assert models == (['SNN', 'SNN told to stop'] + ['scontrol requeue 7_2'] * (number in WARNINGS) if more
                      else ['STL', 'SNN', 'SNN told to stop'])


@pytest.mark.parametrize('number', [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_before_the_command_of_an_array_element_stops_the_element(number, fake, tmp_path):
    (tmp_path / 'scontrol').write_text('#!/bin/bash\necho "scontrol $*" >> %s/calls\n' % tmp_path)
    (tmp_path / 'scontrol').chmod(0o755)
    (tmp_path / 'signal').write_text(       # sent once, when the last trap has been set
        u'trap \'[[ $BASH_COMMAND != trap*TERM* ]] || { trap "trap - DEBUG; kill -%d $$" DEBUG; }\''
        u' DEBUG\n' % number)
    child = fake('slurm_array', os.path.join(SCRIPTS, 'table_cifar100.sh'), SLURM_ARRAY_TASK_ID='2',
                 SLURM_ARRAY_JOB_ID='7', BASH_ENV=str(tmp_path / 'signal'),
                 PATH='%s:%s' % (tmp_path, os.environ['PATH']))
    _, err = child.communicate()
    assert (child.returncode, err) == (75, b'')
    assert calls(tmp_path) == ['scontrol requeue 7_2'] * (number == signal.SIGUSR1)


def test_one_command_alone(fake, tmp_path):
    child = fake('table_officehome', ONLY='4')
    assert child.wait() == 0
    call, = calls(tmp_path)
    assert call.split()[1:] == listed_commands('table_officehome')[3]
    child = fake('table_officehome', ONLY='43')
    _, err = child.communicate()
    assert child.returncode == 2 and err.decode(
        'utf-8') == 'error: ONLY=43: this script has the commands 1 to 42\n'
    assert len(calls(tmp_path)) == 1


@pytest.mark.parametrize('asked', ['LIST', 'STATUS'])
def test_one_command_alone_is_listed_and_watched(asked, tmp_path):
    def out(only):
        child = subprocess.Popen([os.path.join(SCRIPTS, 'table_stl10.sh'), '--result_dir', str(tmp_path)],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=dict(os.environ, PYTHON=sys.executable, ONLY=only, **{asked: '1'}))
        said, error = child.communicate()
        return child.returncode, said.decode('utf-8'), error.decode('utf-8')
    status, said, _ = out('4')
    assert status == (0 if asked == 'LIST' else 75) and re.findall(r'(?m)^\d+', said)[:2] == ['4', '1'][
        :1 if asked == 'LIST' else 2] and 'DEN' in said
    assert out('43')[::2] == (2, 'error: ONLY=43: this script has the commands 1 to 36\n')


def test_each_combination_of_a_grid_can_be_an_element(fake, tmp_path):
    grid = ['--grid', 'learning_rate=1e-3,1e-4', '--grid', 'transfer_config=all',
            '--grid=transfer_config=top1']
    listed = listed_commands('table_stl10', *grid)
    assert len(listed) == 4 * len(listed_commands('table_stl10'))
    assert [words[-2:] for words in listed[:4]] == [
        ['--grid_element', str(number)] for number in (1, 2, 3, 4)]
    child = fake('table_stl10', *grid, ONLY='7')
    assert child.wait() == 0
    call, = calls(tmp_path)
    assert call.split()[1:] == listed[6] and '--model_type SNN' in call and call.endswith('--grid_element 3')
    (tmp_path / 'calls').unlink()
    (tmp_path / 'SNN').write_text('exit 2')             # without ONLY a command trains them all, and chooses
    child = fake('table_stl10', *grid)
    _, err = child.communicate()
    assert [call.endswith('=top1') for call in calls(tmp_path)] == [True, True]
    assert err.decode('utf-8') == '== stopped at command 5-8 (status 2); the same script goes on there\n'
