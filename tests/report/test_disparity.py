"""Order-normalised performance disparity against numbers worked out by hand; what the report says of
orders."""
import csv
import io
import json

import numpy as np
import pytest

from classification.report import command, disparity, figures, plots
from classification.report.groups import read_groups
from classification.results.mat_file import append_entry, entries
from classification.results.metrics import mean_and_std_where_defined
from classification.results.read_results import test_curves as curves_of
from tests.support.result_files import FIRST, ORDERS, SECOND, drawn, permuted_trials, record, write

SHUFFLED = dict(task_order_rule='shuffled')


def disparities(*paths):
    return disparity.disparities(read_groups(list(paths))[0])


def explicit(path, R, order, **more):
    """Appends an experiment of two trials with this order; the second one is worse by 0.2."""
    trials = [record(np.array(R) - 0.2 * trial, trial=trial, order=order) for trial in range(2)]
    more = dict(dict(fingerprint='%-64s' % (order,), run_id=str(order)), **more)
    return write(path, more.pop('model', 'Hybrid_HPS'), trials, order, **more)


def test_by_hand_over_trials(tmp_path):
    one, = disparities(write(tmp_path / 'x.mat', 'STL', permuted_trials(), (0, 1, 2), **SHUFFLED))
    # finals 0.7, 0.5, 0.95 and 0.7, 0.8, 0.5
    np.testing.assert_allclose([one.of_tasks[task] for task in range(3)], [0., 0.3, 0.45])
    np.testing.assert_allclose((one.aopd, one.mopd), (0.25, 0.45))
    assert (one.orders, one.trials, one.label) == (2, 2, 'STL')


def test_by_hand_over_experiments(tmp_path):
    path = tmp_path / 'x.mat'
    for R, order in zip((FIRST, SECOND), ORDERS):
        explicit(path, R, order)
    one, = disparities(str(path))        # of the means over trials
    np.testing.assert_allclose([one.of_tasks[task] for task in range(3)], [0., 0.3, 0.45])
    assert (one.orders, one.trials) == (2, 4)


def test_only_tasks_of_two_orders_count(tmp_path):
    path = explicit(tmp_path / 'x.mat', FIRST, ORDERS[0])
    explicit(path, [[np.nan, 0.9], [0.4, 0.6]], (3, 1))
    one, = disparities(path)
    assert list(one.of_tasks) == [1] and one.of_tasks[1] == pytest.approx(0.1)


def test_an_order_that_another_continues_does_not_count(tmp_path):
    path = explicit(tmp_path / 'x.mat', FIRST, ORDERS[0])
    explicit(path, [[0.9, np.nan], [0.4, 0.6]], (1, 2))
    assert disparities(path) == []
    explicit(path, SECOND, ORDERS[1])
    one, = disparities(path)
    np.testing.assert_allclose([one.of_tasks[task] for task in range(3)], [0., 0.3, 0.45])
    assert (one.orders, one.trials) == (2, 4)


def test_trials_of_the_same_order_count_with_their_mean(tmp_path):
    more = record(np.array(FIRST) - [0.2, 0.4, 0.], trial=2, order=ORDERS[0], own_order=True)
    one, = disparities(write(tmp_path / 'x.mat', 'STL', permuted_trials() + [more], (0, 1, 2), **SHUFFLED))
    # finals 0.6, 0.3, 0.95 and 0.7, 0.8, 0.5
    np.testing.assert_allclose([one.of_tasks[task] for task in range(3)], [0.1, 0.5, 0.45])
    assert (one.orders, one.trials) == (2, 3)


def test_orders_that_are_drawn_and_those_that_were_given_stand_for_themselves(tmp_path):
    path = write(tmp_path / 'x.mat', 'Hybrid_HPS', permuted_trials(), (0, 1, 2), **SHUFFLED)
    for number, order in enumerate(((0, 1, 2), (1, 0, 2))):
        one = disparities(explicit(path, FIRST, order))
        assert [(found.orders, found.trials) for found in one] == [(2, 2), (2, 4)][:number + 1]


def in_two_orders(tmp_path, **more):
    """Path of a file with an experiment of each of two orders."""
    for R, order in zip((FIRST, SECOND), ORDERS):
        path = explicit(tmp_path / 'x.mat', R, order, **more)
    return path


@pytest.mark.parametrize('name, found', [('learning_rate', 0), ('number_of_trainable_parameters', 1)])
def test_settings_must_agree_but_not_how_large_the_networks_became(name, found, tmp_path):
    path = in_two_orders(tmp_path)
    entry = entries(path)[1]
    entry['model_specific_info'][name] = 3 * entry['model_specific_info'][name]
    append_entry(path, entry, replace=True)
    assert len(entries(path)) == 2 and len(disparities(path)) == found


def test_raw_data_must_agree(tmp_path):
    path = in_two_orders(tmp_path, config=True)
    config = sorted((tmp_path / 'x').glob('*/config.json'))[0]
    assert len(disparities(path)) == 1
    config.write_text(config.read_text().replace('c0ffee', 'c0c0a0'))
    assert disparities(path) == []


EXPERIMENT = {'task_order': [0, 1], 'training': {'lr': 1e-3, 'lr_decay': 0.004, 'epochs': 4}, 'tensorflow': 2,
              'numerics': 2, 'numeric_versions': {'small classes': 2}, 'early_stopping': 5}


@pytest.mark.parametrize('change, found', [
    ({'task_order': [1, 0], 'order_rule': 'shuffled, same in all trials'}, 1),
    ({'training': dict(EXPERIMENT['training'], epochs=6)}, 0),
    ({'training': dict(EXPERIMENT['training'], lr_decay=0.5)}, 0), ({'tensorflow': 1}, 0),
    ({'numerics': 1}, 0), ({'numeric_versions': {}}, 0)], ids=str)
def test_what_the_fingerprint_is_made_of_must_agree_but_not_the_order(change, found, tmp_path):
    path = in_two_orders(tmp_path, config=True)
    for config, more in zip(sorted((tmp_path / 'x').glob('*/config.json')), ({}, change)):
        told = json.loads(config.read_text())
        told['experiment'].update(EXPERIMENT, **more)
        config.write_text(json.dumps(told))
    assert len(disparities(path)) == found


def trained(path, R, order, epochs=4, decay=0.004, tensorflow='2.21.0', numerics=2):
    """Appends an experiment of one trial whose file alone tells how it was trained."""
    rates = 1e-3 / (1 + decay * np.arange(epochs * len(order)))
    made_by = {'versions': {}, 'source_modules': ['a'], 'source_digests': ['1'], 'data_checksum': 'c0ffee',
               'numeric_versions': 'numerics %d' % numerics}
    trial = record(R, order=order, epochs=epochs)._replace(loss=rates, learning_rate=rates,
                                                           origin=json.dumps([made_by]))
    return write(path, 'STL', [trial], order, fingerprint='%-64s' % (order,), run_id=str(order),
                 versions={'tensorflow': tensorflow})


@pytest.mark.parametrize('change, found', [
    ({}, 1), ({'tensorflow': '2.13.0'}, 1), ({'epochs': 6}, 0), ({'decay': 0.5}, 0),
    ({'tensorflow': '1.14.0'}, 0), ({'numerics': 1}, 0)], ids=str)
def test_a_file_alone_tells_schedules_apart(change, found, tmp_path):
    path = trained(tmp_path / 'x.mat', FIRST, ORDERS[0])
    assert len(disparities(trained(path, SECOND, ORDERS[1], **change))) == found


def test_early_stopping_makes_no_other_schedule_of_a_file(tmp_path):
    """Positions end earlier; what counts is the most epochs of one."""
    path = trained(tmp_path / 'x.mat', FIRST, ORDERS[0])
    trained(path, SECOND, ORDERS[1])
    entry = entries(path)[1]
    entry['result_of_each_run'][0]['task_changed_epoch'] = np.array([[1, 5, 7]])
    entry['result_of_each_run'][0]['num_epoch'] = np.array([[8]])
    append_entry(path, entry, replace=True)
    assert len(disparities(path)) == 1


def test_the_label_is_that_of_all_its_experiments(tmp_path):
    path = in_two_orders(tmp_path)
    explicit(path, FIRST, ORDERS[0], model='Hybrid_HPS', run_id='again', fingerprint='f' * 64)
    one, = disparities(path)
    assert (one.label, one.orders, one.trials) == ('Hybrid_HPS', 2, 6)


@pytest.mark.parametrize('more', [dict(seed=1), dict(data_percent=4), dict(model='STL')], ids=str)
def test_other_data_and_methods_stand_for_themselves(more, tmp_path):
    path = explicit(tmp_path / 'x.mat', FIRST, ORDERS[0])
    assert disparities(explicit(path, SECOND, ORDERS[1], **more)) == []


@pytest.fixture
def files(tmp_path):
    again = permuted_trials()[0]._replace(trial=2)         # three trials, two orders
    path = write(tmp_path / 'x.mat', 'STL', permuted_trials() + [again], (0, 1, 2), **SHUFFLED)
    return write(path, 'Hybrid_HPS', permuted_trials()[:1], (0, 1, 2), **SHUFFLED)


def test_methods_with_the_same_rule_are_compared_whatever_their_trials(files):
    (group,), _ = read_groups([files])
    assert len(group.members) == 2 and 'shuffled in each trial' in group.title
    assert 'goes by its data-set index' in group.notes[0]


def test_drawn_orders_of_other_tasks_are_not_compared(files):
    two = [record([[0.9 if task in order[:place + 1] else np.nan for task in (0, 1)] for place in (0, 1)],
                  trial=trial, order=order, own_order=True) for trial, order in enumerate(((0, 1), (1, 0)))]
    groups, _ = read_groups([write(files, 'EWC', two, (0, 1), **SHUFFLED)])
    assert [len(group.members) for group in groups] == [2, 1]


@pytest.mark.parametrize('kind', ['text', 'csv', 'latex', 'html'])
def test_every_format_says_it(files, kind, tmp_path):
    assert command.main([files, '--format', kind, '--out', str(tmp_path / 'out')]) == 0
    name = 'report.' + command.ENDINGS[kind]
    text = (tmp_path / 'out' / name).read_text()
    assert 'ICLR 2020' in text and '0.2500' in text.replace('0.25,', '0.2500,') and 'largest minus' in text
    if kind == 'csv':
        rows = [row for row in csv.DictReader(io.StringIO(text)) if 'OPD' in row['metric']]
        assert [(row['metric'], row['n']) for row in rows] == [(name, '2') for name in (
            'AOPD', 'MOPD', 'OPD of task 0', 'OPD of task 1', 'OPD of task 2')]
    assert kind == 'html' or 'nan' not in text.lower()


@pytest.mark.parametrize('model', ['LASEM_HPS', 'DARTS_HPS', 'DEN'])
def test_plots_do_not_join_different_tasks(model, tmp_path):
    path = write(tmp_path / 'x.mat', model, [drawn(model, trial=trial, order=order, own_order=True)
                                             for trial, order in enumerate(ORDERS)], (0, 1, 2), **SHUFFLED)
    (group,), _ = read_groups([path])
    captions = {}
    for name, caption, figure in plots.plots_of(group.members[0]):
        captions[name] = caption
        if name == 'learning_curves':
            assert [panel.get_title() for panel in figure.axes[:3]] == ['task 0', 'task 1', 'task 2']
            expected = [curves_of(run, order) for run, order in zip(
                group.members[0].result['result_of_each_run'], ORDERS)]         # a line for each trial
            for task, panel in enumerate(figure.axes[:3]):
                np.testing.assert_array_equal([line.get_ydata() for line in panel.lines],
                                              [curves[:, task] for curves in expected])
        if name == 'accuracy_matrix':
            assert figure.axes[0].get_ylabel() == 'after position'
            shown = figure.axes[0].images[0].get_array().filled(np.nan)
            np.testing.assert_array_equal(shown, mean_and_std_where_defined(
                group.members[0].result['accuracy_matrix'])[0])
        if name == 'posterior':
            above = [[text.get_text() for text in panel.texts] for panel in figure.axes[:2]]
            assert above == [['task %d' % task for task in order] for order in ORDERS]
        if name == 'mixture_weights':       # in each layer a line for each trial; then the half
            shown = figure.axes[0].lines[:2]
            for line, run in zip(shown, group.members[0].result['result_of_each_run']):
                weights = np.exp(run['history_DARTS_arch_select'][:, :2].astype(float))
                np.testing.assert_allclose(line.get_ydata()[1:], weights[:, 1] / weights.sum(axis=1))
        if name == 'widths':
            expected = np.mean([run['den_widths'][list(order)] for run, order in zip(
                group.members[0].result['result_of_each_run'], ORDERS)], axis=0)
            np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), expected[:, 0])
        figures.close(figure)
    assert 'in an order of its own' in captions['accuracy_matrix']
    assert 'different orders' in captions['learning_curves']
