"""What files, table and report say of test images whose task nobody tells: numbers by hand."""
import csv
import io
from collections import OrderedDict

import numpy as np
import pytest

from classification.report import command as report
from classification.report.groups import read_groups
from classification.report.statistics import compare
from classification.results.mat_file import LONGEST_FIELD, entries
from classification.results.read_results import load_results
from classification.results.summary import WITHOUT_IDENTITY, summary
from classification.results.texts import problem, table
from tests.support.result_files import info, record, write

NAN = np.nan


def trial(number, last, right, R=((0.75, NAN), (0.5, 1.))):
    """A trial that knew no task; `last` and `right`: the rows after its last position."""
    first = np.full((len(R) - 1, len(last)), NAN)
    return record(R, trial=number, extra=OrderedDict(zip(WITHOUT_IDENTITY, (
        np.vstack([first, [last]]), np.vstack([first, [right]])))))


TRIALS = [trial(0, [0.25, 0.5], [0.5, 0.75]), trial(1, [0.5, 0.75], [0.5, 1.])]


@pytest.mark.parametrize('trials', [1, 2, 5])
@pytest.mark.parametrize('tasks', [1, 3])
def test_shapes_follow_trials_and_tasks(trials, tasks, tmp_path):
    values = np.linspace(0.25, 0.5, tasks)
    R = np.where(np.tri(tasks) > 0, 0.75, NAN)
    path = write(tmp_path / 'x.mat', 'STL', [trial(number, values, values, R) for number in range(trials)])
    entry, = entries(path)
    result, = load_results(path)
    for of_trial, of_entry in WITHOUT_IDENTITY.items():
        assert [entry[of_entry + kind].shape for kind in ('', '_mean', '_std')] == (
            [(trials, tasks)] + [(1, tasks)] * 2)
        assert [result[of_entry + kind].shape for kind in ('', '_mean', '_std')] == (
            [(trials, tasks)] + [(tasks,)] * 2)
        assert np.isnan(result[of_entry + '_std']).all() == (trials == 1)
        for run in result['result_of_each_run']:
            assert run[of_trial].shape == (tasks, tasks) and run[of_trial][-1].tolist() == values.tolist()
        assert max(len(of_trial), len(of_entry + '_mean')) <= LONGEST_FIELD


def test_means_and_deviations_by_hand(tmp_path):
    result, = load_results(write(tmp_path / 'x.mat', 'STL', TRIALS))
    assert result['final_accuracy_no_identity'].tolist() == [[0.25, 0.5], [0.5, 0.75]]
    assert result['final_accuracy_no_identity_mean'].tolist() == [0.375, 0.625]
    np.testing.assert_allclose(result['final_accuracy_no_identity_std'], [0.03125 ** 0.5] * 2, rtol=1e-12)
    assert result['final_right_task_chosen_mean'].tolist() == [0.5, 0.875]


def test_the_table_at_the_end():
    lines = table(summary(info('STL'), TRIALS, (0, 1)), (0, 1)).split('\n')
    shown = [[cell.strip() for cell in line.split('  ') if cell.strip()][-2:] for line in lines[1:5]]
    assert shown == [['final, task not known', 'right task chosen'], ['0.3750 (0.1768)', '0.5000 (0.0000)'],
                     ['0.6250 (0.1768)', '0.8750 (0.1768)'], ['0.5000 (0.1768)', '0.6875 (0.0884)']]


def test_which_problem_is_solved():
    assert problem(True, False) == 'task-incremental: the task of a test image is known'
    assert problem(True, True) == ('task-incremental: the task of a test image is known; '
                                   'also evaluated without it')
    assert problem(False, False) == 'multi-task: the task of a test image is known'


# ---- the report ----

@pytest.fixture
def two(tmp_path):
    """STL, of which each task is known, and HPS."""
    path = write(tmp_path / 'x.mat', 'STL',
                 [record([[0.75, NAN], [0.75, 1.]], trial=number) for number in (0, 1)])
    return write(path, 'Hybrid_HPS', TRIALS, pattern='TTSS')


def made(path, kind, capsys):
    assert report.main([path, '--format', kind]) == 0
    return capsys.readouterr().out


def test_the_report_shows_both_where_they_are(two, capsys):
    (group,), _ = read_groups([two])
    comparison = compare(group)
    summaries = comparison.rows[1].summaries
    np.testing.assert_allclose(summaries['no_identity'], (0.5, 0.03125 ** 0.5, 2), rtol=1e-12)
    np.testing.assert_allclose(summaries['right_task'][:1], 0.6875)
    assert comparison.rows[0].summaries['no_identity'].n == 0
    lines = made(two, 'text', capsys).split('\n')
    place = [line.split(':')[0] for line in lines].index('final average test accuracy, task not known')
    assert lines[place + 2].split()[:4] == ['STL', '-', '-', '0']
    assert lines[place + 3].split()[1:5] == ['TTSS', '0.5000', '0.1768', '2']
    assert sum(line.startswith('right task chosen: share of test images') for line in lines) == 1
    rows = list(csv.DictReader(io.StringIO(made(two, 'csv', capsys))))
    assert [row['mean'] for row in rows if row['metric'] == 'right task chosen'] == ['', '0.6875']
    out = made(two, 'latex', capsys)
    assert r'Hybrid\_HPS TTSS & 0.5000 (0.1768) & 0.6875 (0.0884) & 2 \\' in out
    assert out.count(r'\begin{table}') == out.count(r'\end{table}') == 7


def test_the_report_says_which_problem_is_solved(two, tmp_path, capsys):
    known = 'Task-incremental: the task of a test image is known'
    lines = made(two, 'text', capsys).split('\n')
    assert [line for line in lines if 'of a test image is known' in line] == [
        'Note: %s (STL).' % known, 'Note: %s; also evaluated without it (Hybrid_HPS TTSS).' % known]
    one = write(tmp_path / 'one.mat', 'EWC', TRIALS)
    assert 'Note: %s; also evaluated without it.\n' % known in made(one, 'text', capsys)


def test_the_page(two, tmp_path):
    assert report.main([two, '--format', 'html', '--out', str(tmp_path / 'out')]) == 0
    content = (tmp_path / 'out' / 'report.html').read_text()
    # defined, and heading two columns
    assert content.count('final average test accuracy, task not known') == 3
    assert content.count('also evaluated without it (Hybrid_HPS TTSS)') == 1
    alone = write(tmp_path / 'known.mat', 'STL', [record([[0.75]])])
    assert report.main([alone, '--format', 'html', '--out', str(tmp_path / 'out')]) == 0
    assert 'task not known' not in (tmp_path / 'out' / 'report.html').read_text()
