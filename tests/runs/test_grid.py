"""--grid: what is trained, which combination is chosen and why, what is said and stored; mistakes.

Most trials are made up: by them the best on validation data is the worst on test data.
"""
import contextlib
import io
import json
import os
from collections import OrderedDict

import numpy as np
import pytest

import main
from classification import gen_data, train_grid
from classification.experiment import grid, sizes
from classification.experiment.resolve import resolve
from classification.report import command, groups, page
from classification.results import choice, mat_parts
from classification.results.mat_file import append_entry, entries, read
from classification.results.summary import summary
from classification.results.trial_record import VALID, save_record
from classification.runs import supervisor
from tests.support import command_line, tiny
from tests.support.commands import is_refused, run_and_listen
from tests.support.result_files import info, record, write
from utils import runtime, source_digest
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED, UserError

EWC = ['--data_type', 'DIGITS5', '--num_clayers', '2', '--lifelong', '--threads', '1', '--model_type', 'EWC',
       '--num_tasks', '2', '--epochs_per_task', '3', '--save_mat_name', 'x.mat']
FACTORS, RATES = ['1', '100', '1e4'], ['1e-2', '5e-2']
GRID = ['--grid', 'fisher_multiplier=' + ','.join(FACTORS), '--grid', 'learning_rate=' + ','.join(RATES)]
SMALL = EWC + GRID[:2] + ['--num_runs', '2']


@pytest.fixture
def here(folder, monkeypatch, train_here):
    """An empty folder, the small network, trials in this process; the code's digests, which take time, are
    left out."""
    monkeypatch.setattr(source_digest.Source, 'digests', lambda *arguments: OrderedDict())
    return folder


class MadeUp(object):
    """Trains nothing: a trial gets these validation accuracies."""

    def __init__(self):
        self.trained = []            # (factor, seed, trial)
        self.statuses = {}           # factor -> exit status of its trials
        self.levels = {1: .7, 100: .8, 1e4: .6}
        self.of_last_epoch = True    # False: the record lacks what earlier versions did not write

    def accuracy(self, factor, seed, number):
        """(valid, test) of both tasks after the last position."""
        valid = self.levels[factor] + .01 * number + .001 * seed
        return valid, 1 - valid

    def __call__(self, run_folder, number):
        with open(os.path.join(run_folder, 'config.json')) as stream:
            experiment = json.load(stream)['experiment']
        factor, seed = experiment['options']['fisher_multiplier'], experiment['seed']
        self.trained.append((factor, seed, number))
        if self.statuses.get(factor):
            return self.statuses[factor]
        valid, test = self.accuracy(factor, seed, number)
        made, of_valid = [record([[one, np.nan], [one, one]], trial=number) for one in (test, valid)]
        made.accuracy[..., VALID] = of_valid.accuracy[..., VALID]
        save_record(os.path.join(run_folder, 'trial%d' % number, 'record.npz'),
                    made._replace(final_valid=np.array([valid, valid]) if self.of_last_epoch else None))
        return 0


@pytest.fixture
def made(here, monkeypatch):
    train = MadeUp()
    monkeypatch.setattr(supervisor, 'choose_pool', lambda flags, trials, say: command_line.PoolHere(train))
    return train


def test_accuracies_of_trials_that_learn_the_tasks_in_different_orders(tmp_path):
    """By hand: the peak of a task is looked for while its own trial learned it."""
    R, orders = [[.6, np.nan], [.5, .9]], [[0, 1], [1, 0]]
    records = [record([row if order[0] == 0 else row[::-1] for row in R], trial=number, order=order,
                      own_order=True)
               for number, order in enumerate(orders)]
    write(tmp_path / 'x.mat', 'Hybrid_HPS', records, orders[0], 'S' * 2)
    entry, = entries(str(tmp_path / 'x.mat'))
    assert entry['task_order'].tolist() == orders
    for numbers in ([0, 1], [1, 0], [1]):
        peak, last = [choice.accuracies(entry, measure, numbers).last_epoch for measure in ('peak', 'final')]
        np.testing.assert_allclose(peak, [.75] * len(numbers))          # (.6 + .9) / 2
        np.testing.assert_allclose(last, [.7] * len(numbers))           # (.5 + .9) / 2


def chosen_rows(out):
    """The marked rows of the tables that were printed."""
    return [line.split()[:-2] for line in out.splitlines() if line.endswith('<- chosen')]


def chosen_entries(path='Result/x.mat'):
    return [entry for entry in entries(path) if 'grid' in entry]


def reported(*options):
    """What the report says."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert command.main(['Result/x.mat'] + list(options)) == 0
    return out.getvalue()


def factor_of(entry):
    return entry['model_specific_info']['fisher_multiplier'].item()


# ---- trained in earnest ----

def trained_grid(*words):
    """The chosen row of the table."""
    status, out, err = run_and_listen(EWC + ['--num_runs', '1'] + list(words))
    assert (status, err) == (0, '')
    row, = chosen_rows(out)
    return row


def test_the_chosen_row_is_that_chosen_by_hand_whatever_the_test_labels(here, monkeypatch):
    config = tiny.quick_config()
    monkeypatch.setattr(runtime, 'session_config', lambda *arguments, **more: config)
    row = trained_grid(*GRID)
    found = entries('Result/x.mat')
    assert [(factor_of(entry), entry['model_specific_info']['learning_rate'].item()) for entry in found] == [
        (float(factor), float(rate)) for factor in FACTORS for rate in RATES]
    # EWC hands on the last epoch: the last number of the last row is the mean over the tasks
    by_hand = [entry['result_of_each_run'][0]['history_validation_error'][-1, -1] for entry in found]
    best = int(np.argmax(by_hand))
    assert len(set(by_hand)) > 2 and best % 2 == 1          # the second rate learns
    assert row == [str(best + 1), FACTORS[best // 2], RATES[1], '%.4f' % by_hand[best], '-']
    assert [place for place, entry in enumerate(found) if 'grid' in entry] == [best]

    load = gen_data.load_tasks

    def with_other_test_labels(*arguments, **more):
        return [task._replace(test=task.test._replace(labels=1 - task.test.labels))
                for task in load(*arguments, **more)]
    monkeypatch.setattr(gen_data, 'load_tasks', with_other_test_labels)
    again = trained_grid(*(GRID[:2] + ['--learning_rate', RATES[1], '--result_dir', 'Other']))
    assert again == [str(best // 2 + 1), FACTORS[best // 2], '%.4f' % by_hand[best], '-']
    for one, other in zip(found[1::2], entries('Other/x.mat')):
        one, other = [entry['result_of_each_run'][0] for entry in (one, other)]
        np.testing.assert_array_equal(one['history_validation_error'], other['history_validation_error'])
        assert (one['history_test_error'] != other['history_test_error']).any()


# ---- what is chosen, said and stored ----

def test_what_is_said_and_stored_of_a_choice(made, monkeypatch):
    status, out, err = run_and_listen(SMALL)
    assert (status, err) == (0, '') and len(made.trained) == 6
    assert out.endswith('''\
validation accuracy after the last task, mean over tasks (2 trials with seed 0)
     fisher_multiplier  mean    sample std
  1  1                  0.7050  0.0071
  2  100                0.8050  0.0071      <- chosen
  3  1e4                0.6050  0.0071
''')
    entry, = chosen_entries()
    stored, = entry['grid']
    assert factor_of(entry) == 100 and stored['options'] == ['fisher_multiplier']
    assert stored['values'] == [[factor] for factor in FACTORS]
    assert stored['fingerprints'] == [one['fingerprint'] for one in entries('Result/x.mat')]
    np.testing.assert_allclose(stored['validation_accuracy'], [[.7, .71], [.8, .81], [.6, .61]])
    np.testing.assert_allclose(stored['validation_mean'], [[.705, .805, .605]])
    np.testing.assert_allclose(stored['validation_std'], [[.01 / 2 ** .5] * 3])
    assert stored['measure'] == 'final' and [stored[name].item() for name in (
        'chosen', 'trials', 'seed', 'reported_apart')] == [2, 2, 0, False]

    for kind in ('text', 'csv', 'latex'):
        report = reported('--format', kind)
        assert 'on validation data: fisher' + (r'\_' if kind == 'latex' else '_') in report and (
            'validation accuracy after the last task, mean over tasks: 0.8050; ' in report)
    assert ('chosen: chosen among 3 on validation data: fisher_multiplier 100, '
            'of fisher_multiplier 1, 100, 1e4; ') in reported('--format', 'csv')
    one, = [one for one in groups.read_groups(['Result/x.mat'])[0][0].members if 'grid' in one.result]
    assert 'chosen among 3 on validation data' in ''.join(page._facts(one))
    for name in ('chosen', 'trials', 'seed'):       # of another program
        assert choice.choices_of({'grid': [stored, dict(stored, **{name: np.array([[np.inf]])})]}) == [stored]


def test_the_same_command_again_trains_and_changes_nothing(made):
    out = run_and_listen(SMALL)[1]
    del made.trained[:]
    before = read('Result/x.mat')
    with open('Result/x.mat', 'rb') as stream:
        content = stream.read()
    status, again, err = run_and_listen(SMALL)
    assert (status, err, made.trained) == (0, '', []) and chosen_rows(again) == chosen_rows(out)
    with open('Result/x.mat', 'rb') as stream:
        assert stream.read() == content
    assert before['training_summary'][1]['grid']


def test_each_is_the_experiment_that_is_typed_by_hand(made):
    by_hand = EWC + ['--num_runs', '3', '--set', 'fisher_multiplier=100']
    assert run_and_listen(by_hand)[0] == 0          # before the grid, with a trial more
    earlier, = entries('Result/x.mat')
    assert run_and_listen(SMALL)[0] == 0
    assert made.trained == [(100, 0, 0), (100, 0, 1), (100, 0, 2), (1, 0, 0), (1, 0, 1),
                            (1e4, 0, 0), (1e4, 0, 1)]
    entry, = chosen_entries()
    assert entry['fingerprint'] == earlier['fingerprint'] and len(entries('Result/x.mat')) == 3
    stored = entry.pop('grid')[0]
    np.testing.assert_allclose(stored['validation_mean'], [[.705, .805, .605]])     # of the two that all have
    assert {name: repr(value) for name, value in entry.items()} == {
        name: repr(value) for name, value in earlier.items()}
    # more trials by hand: the entry still says how it was chosen
    assert run_and_listen(by_hand[:-4] + ['--num_runs', '4', '--set', 'fisher_multiplier=100'])[0] == 0
    entry, = chosen_entries()
    assert entry['train_valid_data_group'].size == 4 and entry['grid'][0]['trials'].item() == 2


def test_peak_and_final_differ_and_of_equal_ones_the_first_is_chosen(made, monkeypatch):
    made.levels = {1: .7, 100: .7, 1e4: .6}
    assert chosen_rows(run_and_listen(SMALL)[1])[0][1] == '1'
    for entry in entries('Result/x.mat'):
        if factor_of(entry) == 1e4:         # a better epoch while the first task was learned
            entry['result_of_each_run'][0]['history_validation_error'][2, 0] = 1.
            append_entry('Result/x.mat', entry, replace=True)
    status, out, _ = run_and_listen(SMALL + ['--grid_measure', 'peak'])
    assert chosen_rows(out) == [['3', '1e4', '%.4f' % ((1. + .6 + .61 * 2) / 4), '%.4f' % (
        abs((1. + .6) / 2 - .61) / 2 ** .5)]]
    entry, = chosen_entries()               # the same experiments: the last choice holds
    assert factor_of(entry) == 1e4 and entry['grid'][0]['measure'] == 'peak'


def test_trials_that_choose_apart_from_those_that_are_reported(made):
    apart = ['--grid_runs', '2', '--grid_seed', '7']
    status, out, err = run_and_listen(SMALL + apart + ['--num_runs', '3'])
    assert (status, err) == (0, '')
    assert made.trained == [(factor, 7, number) for factor in (1, 100, 1e4) for number in range(2)] + [
        (100, 0, number) for number in range(3)]
    entry, = chosen_entries()
    assert (factor_of(entry), entry['seed'].item(), entry['train_valid_data_group'].size) == (100, 0, 3)
    stored, = entry['grid']
    assert [stored[name].item() for name in ('trials', 'seed', 'reported_apart')] == [2, 7, True]
    del made.trained[:]
    again = run_and_listen(SMALL + apart + ['--num_runs', '3'])[1]
    assert made.trained == [] and chosen_rows(again) == chosen_rows(out)
    assert '2 trials with seed 7 chose, and are not among those reported' in reported()
    # an experiment can be chosen twice: in a finer grid around it
    status, out, _ = run_and_listen(EWC + ['--grid', 'fisher_multiplier=100,1', '--num_runs', '2'])
    assert [len(one['grid']) for one in chosen_entries()] == [2]


def test_where_a_trial_that_is_reported_fails_the_entry_of_before_is_not_the_chosen_one(made, monkeypatch):
    assert run_and_listen(EWC + ['--num_runs', '2', '--set', 'fisher_multiplier=100'])[0] == 0
    train = made.__call__
    monkeypatch.setattr(supervisor, 'choose_pool', lambda flags, trials, say: command_line.PoolHere(
        lambda folder, number: EXIT_FAILED if number == 2 else train(folder, number)))
    status, out, _ = run_and_listen(SMALL + ['--grid_runs', '2', '--grid_seed', '7', '--num_runs', '3'])
    assert status == EXIT_FAILED and chosen_rows(out)[0][1] == '100' and not chosen_entries()


def test_where_an_earlier_version_trained_the_last_epoch_is_compared(made):
    made.of_last_epoch = False
    assert run_and_listen(EWC + ['--num_runs', '2', '--set', 'fisher_multiplier=1'])[0] == 0
    made.of_last_epoch = True
    status, out, _ = run_and_listen(SMALL)
    assert status == 0 and chosen_rows(out)[0][1] == '100' and 'note: an earlier version trained' in out


def test_a_new_choice_takes_the_place_of_that_among_the_same_experiments():
    def made(letters, accuracy=.5):
        return choice.Choice([choice.Tried(OrderedDict(x=letter), letter, [accuracy]) for letter in letters],
                             choice.FINAL, 1, 0, False)
    before = [choice.struct(made(letters)) for letters in ('ab', 'cd', 'ef')]
    after = choice.updated(before, made('dc', .6), here=True)
    assert [one['fingerprints'] for one in after] == [['a', 'b'], ['d', 'c'], ['e', 'f']]
    assert choice.updated(before, made('dc'), here=False) == [before[0], before[2]]
    assert [one['fingerprints'] for one in choice.updated(before, made('abc'), here=True)][3:] == [
        ['a', 'b', 'c']]
    # what another program wrote under this name
    for others in ([{'size': np.ones((1, 1))}], [3.], {'size': 4}, 'text'):
        assert choice.choices_of({'grid': others}) == []
    assert choice.choices_of({'grid': [{'size': 3}] + before}) == before


def test_a_choice_in_words():
    tried = [choice.Tried(OrderedDict([('a', a), ('b', b)]), a + b, [accuracy]) for a, b, accuracy in (
        ('1', '4', .5), ('2', '4', .7), ('1', '3', .6), ('2', '3', .4))]
    assert choice.in_words(choice.struct(choice.Choice(tried, choice.FINAL, 1, 5, False))) == (
        'chosen among 4 on validation data: a 2, b 4, of a 1, 2; b 4, 3; validation accuracy after the last '
        'task, mean over tasks: 0.7000; 1 trial with seed 5 chose, those reported among them')


# ---- failures and interruptions ----

def test_a_combination_that_fails_costs_no_other_and_nothing_is_chosen(made):
    made.statuses[1] = EXIT_FAILED
    status, out, err = run_and_listen(SMALL)
    assert status == EXIT_FAILED and not chosen_rows(out) and not chosen_entries()
    assert err.splitlines()[-1] == (
        'error: nothing is chosen: 1 of 3 combinations (fisher_multiplier 1) failed; the same command tries '
        'it again, and without such values it chooses among the others')
    assert {factor for factor, _, _ in made.trained} == {1, 100, 1e4}
    made.statuses.clear()
    del made.trained[:]
    status, out, err = run_and_listen(SMALL)
    assert (status, err) == (0, '') and made.trained == [(1, 0, 0), (1, 0, 1)] and chosen_rows(out)


def test_a_combination_that_is_refused_and_others_that_are_not(made, monkeypatch):
    run = train_grid.run_experiment

    def refusing(experiment, *arguments):
        if experiment.options['fisher_multiplier'] == 100:
            raise UserError('the disk is full')
        return run(experiment, *arguments)
    monkeypatch.setattr(train_grid, 'run_experiment', refusing)
    status, out, err = run_and_listen(SMALL)
    assert status == EXIT_FAILED and not chosen_rows(out) and len(made.trained) == 4
    assert err.splitlines()[0] == 'error: the disk is full'
    assert err.splitlines()[1].startswith(
        'error: nothing is chosen: 1 of 3 combinations (fisher_multiplier 100) failed')


@pytest.mark.parametrize('left', [[], [0], [1, 2]])
def test_an_entry_that_another_command_replaced_meanwhile_is_not_compared(left, made, monkeypatch):
    """The newest entry of an experiment counts, and it has other trials now, or there is none."""
    train = made.__call__

    def replacing(run_folder, number):
        if made.trained[-1:] == [(1e4, 0, 0)]:         # the last trial begins
            first, second = entries('Result/x.mat')
            if left:
                trials = [record([[.7, np.nan], [.7, .7]], trial=trial) for trial in left]
                append_entry('Result/x.mat', dict(first, run_id='another', train_valid_data_group=left,
                                                  result_of_each_run=summary(info(), trials, (0, 1))[
                                                      'result_of_each_run']))
            else:
                os.remove('Result/x.mat')
                append_entry('Result/x.mat', second)
        return train(run_folder, number)
    monkeypatch.setattr(supervisor, 'choose_pool',
                        lambda flags, trials, say: command_line.PoolHere(replacing))
    status, out, err = run_and_listen(SMALL)
    assert status == EXIT_FAILED and not chosen_rows(out) and not chosen_entries()
    assert err == ('error: nothing is chosen: 1 of 3 combinations (fisher_multiplier 1) are no longer in '
                   'Result/x.mat; the same command trains it\n')


def test_an_interrupted_grid_goes_on(made):
    made.statuses[100] = EXIT_INTERRUPTED
    status, out, err = run_and_listen(SMALL)
    assert status == EXIT_INTERRUPTED and err == 'interrupted; the same command resumes it\n'
    assert made.trained == [(1, 0, 0), (1, 0, 1), (100, 0, 0)] and not chosen_rows(out)
    made.statuses.clear()
    del made.trained[:]
    status, out, err = run_and_listen(SMALL)
    assert (status, err) == (0, '') and made.trained == [
        (100, 0, 0), (100, 0, 1), (1e4, 0, 0), (1e4, 0, 1)] and chosen_rows(out)[0][1] == '100'


def test_elements_side_by_side_and_the_choice_afterwards(made):
    for element in ('3', '1', '2'):
        status, out, err = run_and_listen(SMALL + ['--grid_element', element])
        assert (status, err) == (0, '') and not chosen_rows(out) and not chosen_entries()
    assert [factor for factor, _, _ in made.trained] == [1e4, 1e4, 1, 1, 100, 100]
    status, out, err = run_and_listen(SMALL)
    assert (status, err, len(made.trained)) == (0, '', 6) and chosen_rows(out)[0][1] == '100'


def test_a_dry_run_lists_the_combinations(made):
    status, out, err = run_and_listen(SMALL + GRID[2:] + ['--dry_run'])
    lines = out.splitlines()
    assert (status, err) == (0, '') and lines[0] == (
        '6 combinations, each an experiment of 2 trials with seed 0:')
    assert [line.split()[2:] for line in lines[2:8]] == [
        [factor, rate] for factor in FACTORS for rate in RATES]
    shown = run_and_listen(SMALL + GRID[2:] + ['--dry_run', '--grid_element', '4'])[1].splitlines()
    assert shown[0] == 'EWC on DIGITS5, fingerprint ' + lines[5].split()[1]
    assert os.listdir('.') == []


# ---- mistakes ----

MISTAKES = [
    ('--grid fisher_multiplier', '--grid fisher_multiplier: NAME=V1,V2,... is needed'),
    ('--grid fisher_multiplier=1', '--grid: 1 combination; 2 to 1000 are needed'),
    ('--grid batch_size=%s --grid lr_decay=%s' % ((','.join(map(str, range(1, 41))),) * 2),
     '1600 combinations'),
    ('--grid fisher_multiplier=1,1.0', '--grid fisher_multiplier: 1 and 1.0 are the same value'),
    ('--grid fisher_multiplier=1,', '--grid fisher_multiplier=: a finite number'),
    ('--grid fisher_multiplier=1,x', '--grid fisher_multiplier=x: a finite number of at least 0 is needed; '
     'values that hold a comma'),
    ('--grid fisher_multiplier=1,2 --grid fisher_multiplier=3',
     '--grid fisher_multiplier=1,2: a finite number'),
    ('--grid fisher_multiplyer=1,2', 'did you mean fisher_multiplier'),
    ('--grid seed=1,2', '--grid seed: no option of the method, the data set or the schedule has this name; '
     'there are fisher_multiplier, '),
    ('--grid num_tasks=1,2', '--grid num_tasks: no option'), ('--grid jobs=1,2', '--grid jobs: no option'),
    ('--grid em_maxP=0.1,0.2', '--grid em_maxP: no option'),
    ('--grid fisher_multiplier=1,2 --set fisher_multiplier=3',
     '--grid fisher_multiplier: it is given by --set too'),
    ('--model_type LASEMG_HPS --grid groups=1,1 --grid groups=2 --layer_groups 2',
     '--grid groups: it is given by --layer_groups too'),
    ('--grid learning_rate=1,2 --learning_rate 3',
     '--grid learning_rate: it is given by --learning_rate too'),
    ('--grid test_type=1,2 --test_type=0', '--grid test_type: it is given by --test_type too'),
    ('--grid learning_rate=1,x', '--grid learning_rate=x: a number is needed'),
    ('--grid batch_size=4,5.5', '--grid batch_size=5.5: a whole number is needed'),
    ('--grid learning_rate=0.1,-1', '--learning_rate -1: a finite number above 0'),
    ('--grid transfer_config=all,top1', '--transfer_config has no meaning for EWC'),
    ('--grid ewc_mode=separate,separate',
     'are the same value; leave one of them away; values that hold a comma'),
    ('--grid_runs 2', '--grid_runs is a setting of --grid; add --grid'),
    ('--grid_element 2', '--grid_element is a setting of --grid; add --grid'),
    ('--grid ewc_gamma=0.1,0.2 --grid_runs 2', '--grid_runs and --grid_seed: give both, or none of them'),
    ('--grid ewc_gamma=0.1,0.2 --grid_runs 2 --grid_seed 0',
     '--grid_seed 0: the trials that are reported have this'),
    ('--grid ewc_gamma=0.1,0.2 --grid_runs 0', '--grid_runs'),
    ('--grid ewc_gamma=0.1,0.2 --grid_seed -1', '--grid_seed'),
    ('--grid ewc_gamma=0.1,0.2 --grid_element 3', '--grid_element 3: there are the combinations 1 to 2'),
    ('--grid ewc_gamma=0.1,0.2 --restart', '--restart trains one experiment again'),
    ('--grid ewc_gamma=0.1,0.2 --grid_measure test', '--grid_measure'),
    ('--grid ewc_gamma=0.1,0.2 --model_type EWCC', 'did you mean EWC?'),
    ('--grid ewc_gamma=0.1,0.2 --save_mat_name params.mat', 'not "params"'),
]


@pytest.mark.parametrize('options, says', MISTAKES)
def test_a_mistake_gets_one_line(options, says, made):
    is_refused(EWC + options.split(), says)
    assert os.listdir('.') == [] and made.trained == []


def test_two_combinations_that_are_the_same_experiment(made):
    status, _, err = run_and_listen(EWC + '--grid test_type=0,1 --set fisher_multiplier=3'.split())
    assert status == 2 and err == (
        'error: --grid: test_type 0 and test_type 1 are the same experiment; leave one of them away\n')
    assert os.listdir('.') == []


def test_an_entry_that_is_too_large_is_refused_before_anything_is_trained(made, monkeypatch):
    options = [EWC[:-4] + ['--num_runs', '2', '--epochs_per_task', epochs] for epochs in ('1', '50')]
    small, large = [sizes.entry_bytes(resolve(main.parser().parse_args(words), lambda line: None), 2)
                    for words in options]
    monkeypatch.setattr(mat_parts, 'MAX_BYTES', (small + large) // 2)
    is_refused(EWC[:-4] + ['--num_runs', '2', '--grid', 'epochs_per_task=1,50'], 'ask for fewer trials')
    assert os.listdir('.') == [] and made.trained == []


def test_a_result_folder_that_cannot_be_written_is_named_once(made):
    with open('Result', 'w'):
        pass
    status, _, err = run_and_listen(SMALL + ['--quiet'])
    assert status == 2 and err.count('\n') == 1 and '--result_dir Result cannot be written' in err


def test_a_value_with_a_comma_is_given_by_itself():
    words = ['--model_type', 'LASEMG_HPS', '--data_type', 'DIGITS5', '--lifelong',
             '--grid', 'layer_groups=2,2', '--grid=learning_rate=-1e-3,1', '--quiet',
             '--grid', 'layer_groups=1,3']
    parser = main.parser()
    name, = [option.name for option in grid._options(parser.parse_args(words)).values()
             if option.flag == 'layer_groups']
    words = [word.replace('layer_groups', name) for word in words]
    found = grid.combinations(parser.parse_args(words), words, parser)
    assert [list(one.values.values()) for one in found] == [
        ['2,2', '-1e-3'], ['2,2', '1'], ['1,3', '-1e-3'], ['1,3', '1']]
    assert found[0].argv == words[:5] + ['--quiet', '--set', name + '=2,2', '--learning_rate=-1e-3']
    assert [one.flags.learning_rate for one in found[:2]] == [-1e-3, 1.]


def test_options_of_the_data_set_can_be_chosen():
    flags = main.parser().parse_args(['--model_type', 'STL', '--data_type', 'Images'])
    assert 'scaling' in grid._options(flags)
    flags.data_type = 'DIGITS5'
    assert 'scaling' not in grid._options(flags)
