"""STATUS=1 before a script: which of its commands are finished, and how long the rest will take."""
import json
import os
import re
import subprocess
import sys

import pytest

from classification.runs import side_by_side
from classification.status import batch
from tests.support.commands import ROOT, example
from tests.support.result_files import record, write
from tests.support.run_folders import run_folder, token, trial, write_json
from utils.utils import UserError

COMMON = ['--data_type', 'DIGITS5', '--lifelong', '--num_runs', '2', '--save_mat_name', 'a.mat']


@pytest.fixture
def commands(tmp_path):
    """Function of lists of words behind main.py -> (lines, exit status)."""
    def said(*lists):
        words = [word for number, given in enumerate(lists, 1)
                 for word in [str(len(given)), str(number)] + given]
        text, status = batch.batch_text(b''.join(os.fsencode(word) + b'\0' for word in words))
        return text.splitlines(), status
    return said


def of(tmp_path, *more, **changes):
    common = [changes.get(word, word) for word in COMMON]
    return ['--model_type'] + list(more) + common + ['--result_dir', str(tmp_path)]


def make(tmp_path, words, **more):
    return run_folder(tmp_path / 'a', digits=more.pop('digits'), command='main.py ' + ' '.join(words), **more)


def test_commands_are_found_by_what_they_say_of_the_experiment(tmp_path, commands):
    hps, ewc, stl = [of(tmp_path, *words) for words in (['HPS', '--test_type', '1'], ['EWC'], ['STL'])]
    # --gpu, --jobs, --num_runs and where the data are change no experiment; --seed does
    make(tmp_path, hps + ['--gpu', '0', '--jobs', '2', '--data_dir', 'D', '--num_runs', '1'],
         digits='1' * 8, trials=1, finished=True)
    make(tmp_path, stl + ['--seed', '1'], digits='2' * 8, finished=True)
    lines, status = commands(hps, ewc, stl)
    assert [re.split('  +', line)[2:4] for line in lines[1:4]] == [
        ['1 of 2', '1 not begun'], ['0 of 2', '2 not begun'], ['0 of 2', '2 not begun']]
    assert status == 75 and '3 commands: 1 interrupted, 2 not begun' in lines
    lines, status = commands(hps + ['--num_runs', '1'], stl + ['--seed', '1'])
    assert (lines[-1], status) == ('2 commands: 2 finished', 0)


def test_how_long_the_rest_takes(tmp_path, commands):
    hps, ewc, stl = of(tmp_path, 'HPS'), of(tmp_path, 'EWC'), of(tmp_path, 'STL')
    folder = make(tmp_path, hps, digits='1' * 8)
    trial(folder, 0, seconds=100.)                              # of an earlier version: in the record
    trial(folder, 1, state='interrupted', done=3, total=4)      # a quarter of 100 s is left
    folder = make(tmp_path, ewc, digits='2' * 8)
    trial(folder, 0, seconds=1., state='finished', training_seconds=300.)
    token(trial(folder, 1, state='running', done=1, total=4, epoch_seconds=20.))        # 60 s are left
    lines, status = commands(hps, ewc)
    assert status == 75 and 'left: about 0:01:25 for 2 commands, one command after the other' in lines
    assert lines[-1].startswith('estimated: ')
    # one without a time of its own: two trials of 200 s, the mean of the others; side by side half of it
    assert 'left: about 0:08:05 for 3 commands, one command after the other' in commands(hps, ewc, stl)[0]
    lines, _ = commands(hps, ewc, stl + ['--jobs', '2'])
    assert 'left: about 0:04:45 for 3 commands, one command after the other' in lines
    assert lines[-1].startswith('1 command without a trained trial: ')


def test_trials_side_by_side_take_as_long_as_the_longest_of_them(tmp_path, commands):
    hps = of(tmp_path, 'HPS') + ['--jobs', '5']
    folder = make(tmp_path, hps, digits='1' * 8)
    token(trial(folder, 0, state='running', done=1, total=4, epoch_seconds=20.))    # 60 s are left, 80 in all
    trial(folder, 1, state='interrupted', done=3, total=4)
    lines, _ = commands(hps)
    assert 'left: about 0:01:00 for 1 command, one command after the other' in lines
    other = of(tmp_path, 'EWC', DIGITS5='FASHION5')
    trial(make(tmp_path, other, digits='2' * 8), 0, seconds=1., state='finished', training_seconds=1000.)
    # STL on the same data as HPS: two trials of 80 s; of EWC a trial of 1000 s is missing
    lines, _ = commands(hps, other, of(tmp_path, 'STL'))
    assert 'left: about 0:20:20 for 3 commands, one command after the other' in lines


@pytest.mark.parametrize('more, settings, free, expected', [
    # four trials of 100 s each, on 4 cores
    ([], {}, 64e9, '0:01:40'), (['--threads', '2'], {}, 64e9, '0:03:20'),
    ([], {'threads': 2}, 64e9, '0:03:20'), ([], {'threads': None, 'kept_threads': 4}, 64e9, '0:06:40'),
    ([], {'trial_memory_bytes': 1e9}, 2.5e9, '0:03:20'), (['--jobs', '4', '--threads', '4'], {}, 64e9,
                                                          '0:01:40'),
    (['--gpu', '0'], {}, 64e9, '0:06:40')])
def test_trials_at_a_time_go_by_the_rule_of_jobs(more, settings, free, expected, tmp_path, commands,
                                                 monkeypatch):
    monkeypatch.setattr(side_by_side, 'cores', lambda: 4)
    monkeypatch.setattr(side_by_side, 'available', lambda: free)
    words = of(tmp_path, 'HPS') + ['--num_runs', '5'] + more
    folder = make(tmp_path, words, digits='1' * 8, trials=5)
    configured(folder, **settings)
    trial(folder, 0, seconds=1., state='finished', training_seconds=100.)
    lines, _ = commands(words)
    assert 'left: about %s for 1 command, one command after the other' % expected in lines
    # where it was not begun, with the memory of others
    if 'trial_memory_bytes' in settings:
        lines, _ = commands(words, of(tmp_path, 'STL') + ['--num_runs', '5'] + more)
        assert 'left: about 0:07:30 for 2 commands, one command after the other' in lines


def test_a_command_that_runs_has_chosen(tmp_path, commands, monkeypatch):
    """Its trials have taken the memory that the rule would miss."""
    monkeypatch.setattr(side_by_side, 'cores', lambda: 8)
    monkeypatch.setattr(side_by_side, 'available', lambda: 0)
    words = of(tmp_path, 'HPS') + ['--num_runs', '4']
    folder = make(tmp_path, words, digits='1' * 8, trials=4)
    configured(folder, jobs=2, trial_memory_bytes=1e9)
    token(trial(folder, 0, state='running', done=1, total=4, epoch_seconds=20.))    # 60 s are left, 80 in all
    assert 'left: about 0:02:30 for 1 command, one command after the other' in commands(words)[0]


def configured(folder, **settings):
    """Gives a run folder's config.json these settings."""
    config = json.loads((folder / 'config.json').read_text())
    write_json(folder / 'config.json', dict(config, settings=settings))


def test_what_only_the_result_file_knows(tmp_path, commands):
    stl = of(tmp_path, 'STL')
    write(tmp_path / 'a.mat', 'STL', [record([[.9]], trial=0, seconds=50.)],
          command='main.py ' + ' '.join(stl))
    lines, status = commands(stl)
    assert status == 75 and 'left: about 0:00:50 for 1 command, one command after the other' in lines


def test_a_failed_trial_of_a_command(tmp_path, commands):
    stl = of(tmp_path, 'STL')
    trial(make(tmp_path, stl, digits='1' * 8), 1, state='failed', reason='the loss became nan')
    lines, status = commands(stl)
    assert status == 1 and '    trial 1 failed: the loss became nan' in lines
    assert 'left: not known; no trial is trained yet' in lines


def test_a_command_whose_flags_are_no_longer_known_is_passed_over(tmp_path, commands, capfd):
    stl = of(tmp_path, 'STL')
    make(tmp_path, stl + ['--of_long_ago', '3'], digits='1' * 8, finished=True)
    assert commands(stl)[1] == 75 and capfd.readouterr() == ('', '')


@pytest.mark.parametrize('number', ['0', '-1', '100001'])
def test_an_impossible_number_of_trials_is_one_line(number, tmp_path, commands):
    with pytest.raises(UserError, match='--num_runs %s: at least 1 and at most 100000 is needed' % number):
        commands(of(tmp_path, 'STL') + ['--num_runs', number])


def test_a_script_says_it_without_training(tmp_path):
    def said(*options):
        child = subprocess.Popen([os.path.join(ROOT, 'scripts', 'table_officehome.sh'), '--result_dir',
                                  str(tmp_path)] + list(options),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=dict(os.environ, STATUS='1', PYTHON=sys.executable))
        out, err = child.communicate()
        return child.returncode, out.decode('utf-8'), err.decode('utf-8')
    status, out, err = said('--num_runs', '3', '--plugin', example('lwf'))
    assert (status, err) == (75, '') and '42 commands: 42 not begun' in out and out.count('0 of 3') == 42
    assert 'model_type ProgNN, test_type 1 ' in out and os.listdir(str(tmp_path)) == []
    status, out, err = said('--wrong', '1')
    assert (status, out) == (2, '') and err.count('\n') == 1 and '--wrong' in err


def test_each_combination_of_a_grid_is_a_command(tmp_path, commands):
    given = of(tmp_path, 'EWC') + ['--grid', 'fisher_multiplier=1,10', '--grid', 'learning_rate=0.1,0.2']
    make(tmp_path, of(tmp_path, 'EWC') + ['--set', 'fisher_multiplier=10', '--learning_rate', '0.1'],
         digits='1' * 8, finished=True)
    lines, status = commands(given, of(tmp_path, 'STL'))
    assert [line.split()[0] for line in lines[1:6]] == ['1', '2', '3', '4', '2']  # as the script numbers them
    assert [number for number, line in enumerate(lines[1:5]) if '2 of 2' in line] == [2]
    assert 'fisher_multiplier=10' in lines[3] and 'learning_rate 0.1' in lines[3] and status == 75
    lines, _ = commands(given + ['--grid_element', '3'])
    assert '1 command: 1 finished' in lines
    # others choose; the chosen one is not known before
    given = given[:-2] + ['--grid_runs', '3', '--grid_seed', '4']
    lines, _ = commands(given)
    assert [re.split('  +', line)[2] for line in lines[1:4]] == ['0 of 3', '0 of 3', '0 of 2']
    assert 'the chosen one' in lines[3]
    # two were chosen in turn: the one that is further
    for digits, factor in (('2', '1'), ('3', '10')):
        folder = make(tmp_path, of(tmp_path, 'EWC') + ['--set', 'fisher_multiplier=' + factor],
                      digits=digits * 8)
        for number in range(int(digits) - 2):
            trial(folder, number, seconds=9.)
    lines, _ = commands(given)
    assert '1 of 2' in lines[3] and 'fisher_multiplier=10' in lines[3]


def test_of_two_experiments_of_the_same_words_that_counts_which_moved_last(tmp_path, commands):
    """The data, or the code's tables, changed meanwhile."""
    stl = of(tmp_path, 'STL')
    for digits, finished in (('1', True), ('2', False), ('3', True)):
        folder = make(tmp_path, stl, digits=digits * 8, finished=finished)
        os.utime(str(folder / 'config.json'), (1e9 + (digits == '2'),) * 2)
    assert commands(stl)[1] == 75
    os.utime(str(folder / 'config.json'), (2e9,) * 2)
    assert commands(stl)[1] == 0
