"""A task that ends no better than guessing: the rule, the line with the numbers, what is recorded, what
reports say."""
import csv
import io
from collections import OrderedDict

import numpy as np
import pytest

from classification.report import command as report
from classification.report import marks
from classification.results import metrics
from classification.results.mat_file import append_entry, entries
from classification.results.read_results import load_results
from classification.results.summary import summary
from classification.results.texts import table
from classification.results.trial_record import TRAIN, load_record, save_record
from classification.trial import checkpoint
from tests.support import tiny
from tests.support.result_files import info, record, write
from tests.support.tiny import SIZES, accuracies, make_experiment, make_joint, train, train_with_stops

NAN = np.nan
MAXIMA = (SIZES['train'] + 1) // 2      # of two classes that take turns


# ---- the rule ----

@pytest.mark.parametrize('right, class_counts, at_chance', [
    (0, [5, 5], True), (5, [5, 5], True),
    (12, [8, 8], True),         # 12 of 16 or more: 2517 of 65536 ways
    (13, [8, 8], True),         # 697 of 65536: 1.06 %
    (14, [8, 8], False),        # 137 of 65536: 0.21 %
    (8, [4, 3, 3], True),       # of 10 at 0.4 each: 0.0123
    (9, [4, 3, 3], False),      # 0.0017
    (109, [109, 109], True), (126, [109, 109], True), (127, [109, 109], False),      # 1.23 %, 0.88 %
    (9, [9, 1], True),          # the most frequent class alone
    # all are right, however few
    (10, [9, 1], False), (3, [2, 1], False), (1, [1], False), (4, [4], False),
    (3, [4], True),
], ids=str)
def test_what_counts_as_chance(right, class_counts, at_chance):
    assert metrics.at_chance(right, class_counts) is at_chance


# ---- trials ----

def listen(experiment, folder):
    """(record, what it logged about chance, what it told the user) of a trial."""
    logged, told = [], []
    trial = tiny.make_trial(experiment, folder, logged.append,
                              send=lambda **what: told.append(what.get('note')))
    return trial.run(), [line for line in logged if 'chance' in line], [note for note in told if note]


LINE = 'trial 0: task %d%s ends at chance: %d of %d training images are right; always answering the most ' \
       'frequent class gives %d'


@pytest.mark.parametrize('model_type, order', [('SNN', (0, 1, 0)), ('DEN', (0, 1))])
def test_a_network_that_cannot_learn_says_so(model_type, order, tmp_path):
    record, logged, told = listen(make_experiment(model_type, order, 1, lr=0., depth=1, seed=6), tmp_path)
    ends = np.append(record.task_changed_epoch[1:], len(record.accuracy)) - 1
    rights = [int(round(record.accuracy[end, task, TRAIN] * SIZES['train'])) for end,
              task in zip(ends, order)]
    assert max(rights) <= MAXIMA + 5
    assert logged == told == [LINE % (task, ' (position %d)' % position, right, SIZES['train'], MAXIMA)
                              for position, (task, right) in enumerate(zip(order, rights))]
    assert record.at_chance.dtype == bool and record.at_chance.tolist() == [True, True]


def test_tasks_that_are_trained_together_are_judged_at_the_end(tmp_path):
    record, logged, told = listen(make_joint('Hybrid_HPS', (0, 1), 1, lr=0.), tmp_path)
    rights = [int(round(accuracy * SIZES['train'])) for accuracy in record.accuracy[-1, :, TRAIN]]
    assert rights[0] <= MAXIMA + 5 and rights[1] > MAXIMA + 15      # by luck of its initial values
    assert logged == told == [LINE % (0, '', rights[0], SIZES['train'], MAXIMA)]
    assert record.at_chance.tolist() == [True, False]


def test_a_network_that_learns_says_nothing(tmp_path):
    record, logged, told = listen(make_experiment('SNN', (0, 1), 3, lr=0.03, depth=1), tmp_path)
    assert (record.at_chance.tolist(), logged, told) == ([False, False], [], [])


@pytest.fixture
def judged(monkeypatch):
    """List of the numbers of right answers that were judged;
    the first and every third is said to be chance."""
    seen = []

    def judge(right, class_counts):
        assert list(class_counts) == [MAXIMA, SIZES['train'] - MAXIMA]
        seen.append(right)
        return len(seen) % 3 == 1
    monkeypatch.setattr(metrics, 'at_chance', judge)
    return seen


@pytest.mark.parametrize('model_type, options', [
    ('LASEM_HPS', dict(lr=0.03, seed=0)), ('BruteForce_HPS', {}), ('STL', dict(early_stopping=1))],
    ids=['LASEM_HPS', 'BruteForce_HPS', 'STL, early stopping'])
def test_the_parameters_that_are_handed_on_are_judged(model_type, options, judged, handed_on, tmp_path):
    experiment = make_experiment(model_type, (0, 1, 0), depth=1, **dict(dict(epochs=2), **options))
    record = train(experiment, tmp_path)[1]
    assert judged == [int(round(accuracies(experiment, store, state, [task])[task][TRAIN] * SIZES['train']))
                      for task, (store, state) in zip((0, 1, 0), handed_on)]
    # not what the third position, of task 0 again, ends with
    assert record.at_chance.tolist() == [True, False]


def test_a_trial_that_is_stopped_everywhere_knows_it_too(judged, tmp_path):
    record = train_with_stops(make_experiment('SNN', (0, 1, 0), 2, depth=1), tmp_path)[1]
    assert len(judged) == 3 and record.at_chance.tolist() == [True, False]


def test_what_a_checkpoint_of_before_does_not_know_is_not_claimed(tmp_path, monkeypatch):
    """Task 0 was learned before; that it is learned once more does not tell."""
    save = checkpoint.save

    def save_as_before(path, meta, groups):
        if meta['position'] <= 1:
            for name in ('at_chance', 'at_chance_tasks'):
                del groups['history'][name]
        save(path, meta, groups)
    monkeypatch.setattr(checkpoint, 'save', save_as_before)
    record = train_with_stops(make_experiment('SNN', (0, 1, 0), 1, depth=1), tmp_path)[1]
    assert record.at_chance is None and len(record.accuracy_matrix) == 3


# ---- files ----

R = [[0.5, NAN], [0.5, 0.9]]


def judged_records(*at_chance):
    return [record(R, trial=trial)._replace(at_chance=None if row is None else np.array(row))
            for trial, row in enumerate(at_chance)]


def test_a_record_keeps_it(tmp_path):
    path = str(tmp_path / 'record.npz')
    for written in judged_records([True, False], None):
        save_record(path, written)
        read = load_record(path).at_chance
        assert read is None if written.at_chance is None else (read.dtype, read.tolist()) == (
            bool, [True, False])


@pytest.mark.parametrize('rows', [[[True]], [[True, False]], [[True], [False]],
                                  [[True, False], [False, False]]], ids=str)
def test_the_field_is_logical_trials_by_tasks(rows, tmp_path):
    path, tasks = str(tmp_path / 'x.mat'), len(rows[0])
    records = [record(np.array(R)[:tasks, :tasks], trial=trial)._replace(at_chance=np.array(row))
               for trial, row in enumerate(rows)]
    append_entry(path, summary(info('STL'), records, range(tasks)))
    for stored in (entries(path)[0]['at_chance'], load_results(path)[0]['at_chance']):
        assert (stored.dtype, stored.tolist()) == (bool, rows)


def test_an_entry_with_an_unknown_trial_has_no_field():
    assert 'at_chance' not in summary(info('STL'), judged_records([True, False], None), (0, 1))


NAMED = '2 of 4 tasks over all trials ended with a training accuracy not above that of always answering ' \
        'the most frequent class (trial 0: task 0; trial 1: task 1)'


def test_the_table_at_the_end_of_a_run_names_the_tasks():
    dead, alive = [summary(info('STL'), judged_records(*rows), (0, 1)) for rows in (
        ([True, False], [False, True]), ([False, False], [False, False]))]
    assert table(dead, (0, 1)).split('\n')[-1] == 'at chance: ' + NAMED and 'chance' not in table(
        alive, (0, 1))
    three = summary(info('STL'), judged_records([True, True]), (1, 0))
    assert table(three, (1, 0)).endswith('(trial 0: tasks 0, 1)')


# ---- report ----

@pytest.fixture
def marked(tmp_path):
    """A file with STL, and DEN, of which two tasks ended at chance."""
    path = write(tmp_path / 'x.mat', 'STL', judged_records([False, False], [False, False]))
    return write(path, 'DEN', judged_records([True, False], [False, True]))


def said(capsys, *options):
    assert report.main(list(options)) == 0
    return capsys.readouterr().out


def test_every_format_marks_the_method(marked, tmp_path, capsys):
    text = said(capsys, marked)
    assert 'Note: DEN [at chance]: %s.' % NAMED in text.split('\n')
    assert text.count('  DEN [at chance]  ') == 10 and 'STL [' not in text      # in the table of every metric
    latex = said(capsys, marked, '--format', 'latex')
    assert latex.count('\nDEN [at chance] & ') == 5 and latex.count('DEN [at chance]: ' + NAMED) == 3
    rows = list(csv.DictReader(io.StringIO(said(capsys, marked, '--format', 'csv'))))
    assert {(row['method'], row['marks']) for row in rows} == {('STL', ''), ('DEN', 'at chance: ' + NAMED)}
    said(capsys, marked, '--format', 'html', '--out', str(tmp_path / 'out'))
    page = (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')
    assert page.count('>DEN<br><span class="mark" title="%s">at chance</span></td>' % NAMED) == 2
    assert ('<p class="note">DEN [at chance]: %s.</p>' % NAMED in page
            and '<tr><th>at chance</th><td>%s' % NAMED in page)


def test_marks_stand_side_by_side(marked, capsys, monkeypatch):
    more = [('of two versions', lambda one: 'trials 0 & 1' if one.label == 'DEN' else None)]
    monkeypatch.setattr(marks, 'MARKS', OrderedDict(list(marks.MARKS.items()) + more))
    text = said(capsys, marked)
    assert text.count('  DEN [at chance, of two versions]  ') == 10
    assert 'Note: DEN [of two versions]: trials 0 & 1.' in text.split('\n')
    assert said(capsys, marked, '--format',
                'csv').count('(trial 0: task 0; trial 1: task 1); of two versions: trials 0 & 1') == 10


def test_plots_of_methods_are_marked(marked):
    from classification.report import figures, plots
    from classification.report.groups import read_groups
    from classification.report.statistics import compare
    group, = read_groups([marked])[0]
    for name, _, figure in plots.plots_of_group(compare(group)):
        labels = [label.get_text() for label in (
            figure.axes[0].get_legend().get_texts() if name == 'parameters'
            else figure.axes[0].get_yticklabels())]
        assert labels[-1] == 'DEN\n[at chance]' and 'STL' in labels[:1] or labels == ['DEN\n[at chance]']
        figures.close(figure)
