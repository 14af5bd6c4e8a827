"""DEN in whole trials: how the network grows, what old tasks notice, what is recorded."""
import copy

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.experiment.experiment import Experiment
from classification.gen_data import load_tasks
from classification.model import den_blocks, den_report, den_stages
from classification.model.den_blocks import Body, from_block, to_block
from classification.model.den_stages import EXPANSION, HEAD, RETRAINING, SUBNETWORK
from classification.model.method import Setting
from classification.model.published_trainer import best_epoch_fields
from classification.model.registry import make_method
from classification.results import summary
from classification.train import Trial
from classification.trial.context import TrialContext
from classification.trial.task_graph import GraphSettings, TaskGraph
from tests.support import den, tiny
from tests.support.commands import experiment_of
from tests.support.den import (
    CHANNELS,
    COUNTS,
    LAYERS,
    NET,
    ORDER,
    PAIR,
    POSITIONS,
    WIDTHS,
    K,
    blocks_of,
    make_task,
    options,
)
from utils import runtime
from utils import utils_env_cl as env
from utils.utils_nn import Parameters, assign


def make_experiment(order=ORDER, epochs=8, **changes):
    return Experiment(
        data_type='made', data_percent=None, normalize='split', checksums={}, task_order=tuple(order),
        class_counts={task: COUNTS[task] for task in sorted(order)}, model_type='DEN', net=NET, pattern='SS',
        options=options(**changes), training=env.Training(lr=2e-2, lr_decay=0.05, patience=epochs,
                                                          epochs=epochs, batch_size=4),
        early_stopping=0, keep=1., evaluation_batch=20, seed=3, tensorflow=1)


def in_the_order_learned(record, order):
    """A record whose fields of DEN, which go by data-set index, follow the order of tasks."""
    rows = [sorted(order).index(task) for task in order]
    return record._replace(extra={name: value[rows] if name.startswith('den_') and name != 'den_nonzeros'
                                  else value for name, value in record.extra.items()})


class Run(object):
    """A finished trial, and what there was at the end of each stage.

    Attributes:
        stages: list of (task, stage, values, store handed on, logits by learned task, arrays, `now`), in
            order.
    """

    def __init__(self, folder, always_evaluate=False, **settings):
        self.experiment, self.stages, self.log = make_experiment(**settings), [], []
        self.trial = tiny.make_trial(self.experiment, folder, self.log.append, make_task)
        method, end_phase = self.trial.method, self.trial.method.end_phase

        def spy(task, phase, before, values, graph):
            learned = method.state['tasks'] + [task]
            logits = {index: graph.probe('logits%d' % index, graph.task.test) for index in learned}
            values, arrays = copy.deepcopy(values), copy.deepcopy(method.arrays)
            store = end_phase(task, phase, before, values, graph)
            self.stages.append((task, method.stage.number, values, copy.deepcopy(store), logits, arrays,
                                copy.deepcopy(method.state['now'])))
            return store
        method.end_phase = spy
        if always_evaluate:
            method.outputs_may_change = lambda task, phase=0: True
        self.record = in_the_order_learned(self.trial.run(), self.experiment.task_order)
        self.state, self.store, self.extra = method.state, self.trial.store, self.record.extra

    def of(self, stage):
        """(what the stage before it left, what it left) for each task after the first."""
        return [(self.stages[place - 1], found) for place, found in enumerate(self.stages)
                if place and found[1] == stage]

    def result(self):
        return summary.run_struct(self.record, list(self.experiment.task_order),
                                  trainer_fields=best_epoch_fields)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Everything happens: selection, expansion with pruning, splitting."""
    return Run(tmp_path_factory.mktemp('run'))


@pytest.fixture(scope='module')
def frozen(tmp_path_factory):
    """Nothing that could change an earlier task, which is nevertheless evaluated every time."""
    return Run(tmp_path_factory.mktemp('frozen'), True, order=PAIR, den_stage_fractions=(0.15, 0, 0.25, 0))


@pytest.fixture(scope='module')
def constant(tmp_path_factory):
    """No expansion, no splitting."""
    return Run(tmp_path_factory.mktemp('constant'), order=PAIR, loss_threshold=float('inf'), den_split=False)


def identical(one, other, what=lambda name: True):
    """Asserts that two dicts hold the same arrays, bit for bit, under the names that both have."""
    shared = [name for name in one if name in other and what(name)]
    assert shared
    for name in shared:
        np.testing.assert_array_equal(one[name], other[name], err_msg=str(name))


def is_hidden(name):
    return '/shared/' in name


def test_everything_happens_in_the_run(run):
    extra = run.extra
    assert 0 < extra['den_selected_fraction'][1:].min() < 1
    assert 0 < extra['den_expanded'][1:].sum() < 2 * 3 * K             # some new units live, some are pruned
    assert extra['den_split'][1:].sum() > 0
    assert (extra['den_split_candidates'] > extra['den_split']).any()    # the cap decides
    assert (extra['den_edge_density'][-1, RETRAINING] < 1).any()


def test_widths_only_grow_by_at_most_expansion_and_cap(run):
    widths = run.extra['den_widths']
    assert widths.shape == (3, 3) and widths[0].tolist() == WIDTHS
    growth = np.diff(widths, axis=0)
    assert (growth >= 0).all() and (growth <= K + 2).all()
    np.testing.assert_array_equal(growth, (run.extra['den_expanded'] + run.extra['den_split'])[1:])
    assert run.store['conv0/shared/den/kernel'].shape == (3, 3, CHANNELS, widths[-1, 0])


def test_births_agree_with_the_widths(run):
    for layer, born in enumerate(run.state['birth']):
        assert born == sorted(born)
        assert [np.sum(np.array(born) <= t) for t in (1, 2, 3)] == run.extra['den_widths'][:, layer].tolist()
    assert run.state['tasks'] == list(ORDER)


def parameters_by_formula(widths, tasks):
    """Section 6, from N and the network's sizes."""
    sizes = [CHANNELS] + list(widths[-1])
    hidden = sum(m * i * j + j for m, i, j in zip(POSITIONS, sizes, sizes[1:]))
    return hidden + sum(width[-1] * COUNTS[task] + COUNTS[task] for width, task in zip(widths, tasks))


def test_number_of_parameters(run, constant):
    for finished in (run, constant):
        order, widths = finished.experiment.task_order, finished.result()['den_widths']
        assert finished.record.num_parameters == sum(value.size for value in finished.store.values())
        assert finished.record.num_parameters == parameters_by_formula(widths, order)
        assert 0 < finished.extra['den_nonzeros'][0] == sum((v != 0).sum() for v in finished.store.values())
    assert constant.extra['den_widths'].tolist() == [WIDTHS] * 2
    first = parameters_by_formula([WIDTHS], PAIR[:1])
    assert constant.record.num_parameters - first == COUNTS[PAIR[1]] * (WIDTHS[-1] + 1)


def test_the_threshold_decides_about_expansion(run, constant):
    assert run.extra['den_stage_epochs'].tolist() == [[0, 0, 0, 8], [1, 3, 2, 2], [1, 3, 2, 2]]
    assert constant.extra['den_stage_epochs'].tolist() == [[0, 0, 0, 8], [1, 3, 0, 2]]
    assert not constant.extra['den_split'].any() and not constant.extra['den_expanded'].any()


def test_the_loss_is_that_of_all_training_images(run):
    for _, (task, _, values, _, _, _, now) in run.of(SUBNETWORK):
        part = make_task(task).train
        images = part.images() * part.scale + part.offset
        blocks, biases = blocks_of(values, task)
        logits = den.logits(Body(blocks[:3], biases[:3], blocks[3]), biases[3], images)
        probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        expected = -np.log(probability[np.arange(part.size), part.labels]).mean()
        np.testing.assert_allclose(now['loss'], expected, rtol=1e-4)
        # not a whole number of batches
        assert now['loss'] in run.extra['den_loss_before_expansion'] and part.size % 4


# -- isolation of old tasks --

def test_stage_a_leaves_hidden_weights_and_old_tasks_alone(run):
    assert len(run.of(HEAD)) == 2
    for before, after in run.of(HEAD):
        identical(before[3], after[2])
        graph_of_before = {task: after[4][task] for task in after[4] if task != after[0]}
        for task, logits in graph_of_before.items():
            expected = old_logits(run, before[3], task, make_task(after[0]).test)
            np.testing.assert_array_equal(logits, expected)


def old_logits(run, store, task, part):
    """Logits of a learned task from a parameter store, by the product."""
    method = make_method('DEN', Setting(NET, COUNTS, 'den', options(), 1.))
    method.state = dict(copy.deepcopy(run.state), width=[
        store['%s/shared/den/bias' % layer.name].size for layer in LAYERS[:3]])
    with tf.Graph().as_default(), tf.Session(config=runtime.session_config(1)) as session:
        parameters = Parameters(store, [], None)
        logits = method.logits(parameters, task, tf.constant(part.images() * part.scale + part.offset,
                                                             tf.float32))
        session.run(tf.global_variables_initializer())
        assign(session, parameters.start_values())
        return session.run(logits)


def test_stage_b_changes_what_is_selected_only(run):
    for before, after in run.of(SUBNETWORK):
        selected = [after[5]['selected/%d' % layer] for layer in range(4)]
        (blocks, biases), (new, new_biases) = blocks_of(before[2], after[0]), blocks_of(after[2], after[0])
        for place in range(4):
            units = selected[place + 1] if place < 3 else np.ones(len(biases[3]), bool)
            mask = np.outer(selected[place], units)
            np.testing.assert_array_equal(new[place][:, ~mask], blocks[place][:, ~mask])
            np.testing.assert_array_equal(new_biases[place][~units], biases[place][~units])
            assert (new[place][:, mask] != blocks[place][:, mask]).any()
        identical(before[2], after[2], lambda name: '/task' in name and '/task%d/' % after[0] not in name)
        # Cut out, the network gives the same logits.
        cut = [block[:, below][:, :, above] for block, below,
               above in zip(new, selected, selected[1:] + [units])]
        part = make_task(after[0]).test
        found = den.logits(Body(cut[:3], [b[s] for b, s in zip(new_biases, selected[1:])], cut[3]),
                           new_biases[3],
                                 part.images() * part.scale + part.offset)
        np.testing.assert_allclose(after[4][after[0]], found, atol=1e-5)


def test_stage_c_and_pruning_leave_old_tasks_alone(run, frozen):
    for finished in (run, frozen):
        for before, after in finished.of(EXPANSION):
            identical({task: logits for task, logits in before[4].items() if task != after[0]}, after[4])
            identical(before[2], after[2], lambda name: '/task%d/' % after[0] not in name)
    # Nothing was trained after stage C: what pruning gave is what the last graph computes.
    # the last convolution grew: the boundary interleaves
    assert (frozen.extra['den_expanded'][1:, 1] > 0).any()
    assert (frozen.extra['den_expanded'][1:] < K).any()           # and something was pruned
    for before, after in frozen.of(RETRAINING):
        identical({task: logits for task, logits in before[4].items() if task != after[0]}, after[4])
        np.testing.assert_allclose(after[4][after[0]], before[4][after[0]], atol=1e-6)


def test_no_old_task_changes_without_stages_b_and_d(frozen):
    assert frozen.extra['den_stage_epochs'].tolist() == [[0, 0, 0, 8], [1, 0, 2, 0]]
    assert not frozen.extra['den_split'].any()
    rows, changed = frozen.record.accuracy, frozen.record.task_changed_epoch
    learned = rows[changed[1] - 1:, PAIR[0]]
    assert len(learned) == 4 and (learned == learned[0]).all()


def test_old_tasks_change_through_stages_b_and_d(run):
    assert [run.trial.method.outputs_may_change(0, phase) for phase in range(4)] == [False, True, False, True]
    for stage in (SUBNETWORK, RETRAINING):
        pairs = [pair for pair in run.of(stage) if len(pair[1][4]) > 1]
        assert any((before[4][task] != after[4][task]).any() for before, after in pairs for task in before[4]
                   if task != after[0] and task in after[4])


def test_units_are_split_by_drift(run):
    method = run.trial.method
    for _, (task, _, values, store, _, arrays, now) in run.of(EXPANSION):
        body, _ = method.variables.body(values, task)
        old, old_biases = blocks_of(arrays, task, 'previous/')
        body = den_blocks.prune(body, [bias.size for bias in old_biases])
        blocks, biases = blocks_of(store, task)
        for layer in range(3):
            inputs, units = old[layer].shape[1:]
            change = [np.linalg.norm((body.blocks[layer][:, :inputs, j] - old[layer][:, :, j]).astype(
                np.float64).ravel())
                      for j in range(units)]
            above = [j for j in range(units) if change[j] > 0.05]
            chosen = sorted(above, key=lambda j: -change[j])[:2]
            assert (now['candidates'][layer], now['split'][layer]) == (len(above), len(chosen))
            for rank, j in enumerate(chosen):
                np.testing.assert_array_equal(blocks[layer][:, :inputs, j], old[layer][:, :, j])
                assert not blocks[layer][:, inputs:, j].any() and biases[layer][j] == old_biases[layer][j]
                assert biases[layer][body.widths[layer] + rank] == body.biases[layer][j]


def test_a_task_reads_its_prefix_only(run):
    state, sizes = np.random.RandomState(0), run.extra['den_widths']
    part = make_task(0).test
    images = part.images() * part.scale + part.offset
    for place, task in enumerate(ORDER[:2]):
        inner = [CHANNELS] + sizes[place].tolist()
        outside, inside = copy.deepcopy(run.store), copy.deepcopy(run.store)
        for name, layer, i, j in zip(('conv0', 'conv1', 'fc0'), LAYERS, inner, inner[1:]):
            name += '/shared/den/'
            block = to_block(run.store[name + 'kernel'], layer.positions)
            own = np.zeros(block.shape, bool)
            own[:, :i, :j] = True
            noise = state.normal(size=block.shape).astype(np.float32)
            outside[name + 'kernel'] = from_block(np.where(own, block, block + noise), layer.kernel)
            inside[name + 'kernel'] = from_block(np.where(own, block + noise, block), layer.kernel)
            outside[name + 'bias'][j:] += 1
        found = [old_logits(run, store, task, part) for store in (run.store, outside, inside)]
        np.testing.assert_array_equal(found[1], found[0])
        assert (found[2] != found[0]).any()
        blocks, biases = blocks_of(run.store, task)
        body = den.narrowed(Body(blocks[:3], biases[:3], blocks[3]), sizes[place])
        np.testing.assert_allclose(found[0], den.logits(body, biases[3], images), atol=1e-5)


def test_old_heads_stay_as_they_were(run):
    learned = {}
    for task, stage, _, store, _, _, _ in run.stages:
        for name, value in learned.items():
            np.testing.assert_array_equal(store[name], value)
        if stage == RETRAINING:
            learned.update((name, value) for name, value in store.items() if '/task%d/' % task in name)
    assert len(learned) == 6
    assert [learned['fc1/task%d/den/kernel' % task].shape for task in ORDER] == [
        (width, COUNTS[task]) for task, width in zip(ORDER, run.extra['den_widths'][:, -1])]


# -- sparsity --

def test_zeros_are_exact_before_the_last_evaluation_of_a_stage(run):
    least = run.experiment.options['den_zero_eps']
    for task, stage, values, _, _, _, now in run.stages:
        if stage != SUBNETWORK:
            ends = {HEAD: (), EXPANSION: ('new_columns', 'new_rows'), RETRAINING: ('kernel',)}[stage]
            for name in values:
                if '/task%d/' % task in name and not name.endswith('bias') or is_hidden(
                        name) and name.endswith(ends):
                    layer, = [layer for layer in LAYERS if name.startswith(layer.name)]
                    largest = np.abs(to_block(values[name], layer.positions)).max(axis=0)
                    assert not ((largest > 0) & (largest < least)).any()
            body, _ = run.trial.method.variables.body(values, task)
            np.testing.assert_allclose(now['density'][str(stage)], [
                (np.abs(block).max(axis=0) > 0).mean() for block in body.blocks + [body.head]])


def test_a_huge_group_penalty_prunes_every_new_unit(tmp_path):
    found = Run(tmp_path, order=PAIR, gl_lambda=1e6, den_split=False)
    assert found.extra['den_stage_epochs'].tolist()[1] == [1, 3, 2, 2]
    assert found.extra['den_widths'].tolist() == [WIDTHS] * 2 and not found.extra['den_expanded'].any()


def test_without_penalties_everything_is_selected_and_nothing_pruned(tmp_path):
    found = Run(tmp_path, order=PAIR, gl_lambda=0., l1_lambda=0., den_zero_eps=0., den_split_cap=None)
    assert (found.extra['den_selected_fraction'][1] == 1).all() and (found.extra['den_edge_density'][
        0, RETRAINING] == 1).all()
    assert (found.extra['den_expanded'][1] == K).all()
    np.testing.assert_array_equal(found.extra['den_split'], found.extra['den_split_candidates'])


def test_a_head_of_zeros_selects_everything(tmp_path):
    found = Run(tmp_path, order=PAIR, l1_lambda=1e3)
    assert sum('every unit is selected' in line for line in found.log) == 1
    assert (found.extra['den_selected_fraction'][1] == 1).all()
    assert not found.extra['den_edge_density'][:, RETRAINING].any() and np.isfinite(
        found.extra['den_loss_before_expansion'][1])


# -- results --

def test_the_store_makes_the_same_network_again(run):
    method = make_method('DEN', Setting(NET, COUNTS, 'den', options(), 1.))
    method.state = copy.deepcopy(run.state)
    tasks = [make_task(task) for task in ORDER]

    def nothing_to_draw(name):
        raise AssertionError('%s is not in the store' % name)
    with TaskGraph(method, run.store, tasks[-1], tasks, nothing_to_draw,
                   GraphSettings(4, 7, runtime.session_config(1))) as graph:
        values = graph.values()
        assert set(values) == {name for name in run.store
                               if '/shared/' in name or '/task%d/' % tasks[-1].index in name}
        identical(values, {name: run.store[name] for name in values})
        for task in tasks:
            np.testing.assert_array_equal(graph.accuracy(task), run.record.accuracy[-1, task.index])


@pytest.mark.parametrize('name', ['run', 'constant', 'frozen'])
def test_histories(name, request):
    finished = request.getfixturevalue(name)
    order, result, epochs = finished.experiment.task_order, finished.result(), finished.extra[
        'den_stage_epochs'].sum(axis=1)
    total = int(epochs.sum())
    assert result['num_epoch'] == total == len(finished.record.accuracy) - 1
    starts = [1] + (1 + np.cumsum(epochs)[:-1]).tolist()
    assert result['task_changed_epoch'].tolist() == [starts]
    for split, part in enumerate(('train', 'validation', 'test')):
        history = result['history_%s_error' % part]
        assert history.shape == (total + 1, len(order) + 1)
        for place, (task, start) in enumerate(zip(order, starts)):
            assert not history[:start - (place == 0), task].any() and history[start:, task].all()
        learned = [1 + sum(row >= start for start in starts[1:]) for row in range(total + 1)]
        np.testing.assert_allclose(history[:, -1], history[:, :-1].sum(axis=1) / learned)
    best = [finished.record.accuracy[start:end, task, 1].max()
            for task, start, end in zip(order, starts, starts[1:] + [total + 1])]
    np.testing.assert_allclose(result['best_validation_error'], np.mean(best))
    assert result['test_error_at_best_epoch'] == 0 and 'LEEP_score_testset' not in result
    for task, start in list(zip(order, starts))[1:]:      # the first one has a row before its first epoch
        assert result['history_best_test_error'][0, start] == finished.record.accuracy[start, task, 2]


def test_fields_of_the_method(run):
    extra = run.extra
    assert {name: extra[name].shape for name in extra} == {
        'den_widths': (3, 3), 'den_expanded': (3, 3), 'den_split_candidates': (3, 3), 'den_split': (3, 3),
        'den_stage_epochs': (3, 4), 'den_loss_before_expansion': (3,), 'den_selected_fraction': (3, 3),
        'den_edge_density': (3, 4, 4), 'den_fresh_density': (3, 4), 'den_nonzeros': (1,)}
    assert np.isnan(extra['den_loss_before_expansion'][0]) and np.isnan(extra['den_selected_fraction'][
        0]).all()
    # Only the last stage of the first task, never the one that does not shrink.
    assert np.isnan(extra['den_edge_density'][..., 0]).tolist() == [[True, True, True, False]] + 2 * [
        [False, True, False, False]]
    assert not any(value.dtype.hasobject for value in extra.values())
    lines = den_report.lines(extra, ORDER)
    assert 'of fresh weights %s' % ' '.join('%.2f' % share
                                            for share in extra['den_fresh_density'][1]) in lines[1]
    assert len(lines) == 3 and lines[0].startswith('task 2: edges present ') and 'selected' not in lines[0]
    assert 'loss before expansion %.4g' % extra['den_loss_before_expansion'][1] in lines[1]
    assert 'units added %s' % '/'.join(map(str, extra['den_expanded'][2])) in lines[2]
    assert [line.split(': ', 1)[1] for line in run.log if 'edges present' in line] == lines


def test_the_network_learns(run):
    assert run.record.accuracy[-1, :, 2].min() > 0.8


# -- in proportion --

def test_what_l1_takes_in_a_task_does_not_depend_on_its_steps(tmp_path, monkeypatch):
    noted, threshold = [], den_stages.l1_threshold

    def note(options, rate, steps):
        noted.append(steps)
        return threshold(options, rate, steps)
    monkeypatch.setattr(den_stages, 'l1_threshold', note)
    Run(tmp_path, order=PAIR, epochs=4, den_l1_mode='per_task')
    assert noted == 5 * [4 * (63 // 4)]       # in each stage of both tasks


def test_a_plateau_does_not_drive_the_weights_to_zero(tmp_path):
    number = 1      # a trial whose first epochs all lie on one
    experiment = experiment_of(*'--model_type DEN --num_tasks 1 --epochs_per_task 15'.split())
    tasks = load_tasks('DIGITS5', str(tmp_path), group=number, num_tasks=1, say=lambda line: None)
    trial = Trial(experiment, number, tasks, TrialContext(str(tmp_path), runtime.session_config(1)))
    record = trial.run()
    assert record.accuracy[-1, 0, 0] > 0.9 and (record.extra['den_edge_density'][0, RETRAINING] > 0.1).all()
