"""LASEM: the tree equals explicit networks, and the bookkeeping is the paper's."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.model.cnn_lasem_model import Lasem
from classification.model.registry import MECHANISMS, MODELS, default_options
from scripts.explicit import Explicit
from tests.support.tiny import NET, NETWORK, Rig, make_method, random_batch
from utils import runtime
from utils import utils_env_cl as env
from utils import utils_nn as nn
from utils.utils_nn import assign

OPTIONS = {key: default_options(model.name, NET) for key,
           model in ((model.mechanism, model) for model in MODELS.values()
                                                                   if model.selection == 'bruteforce')}
OPTIONS['dfcnn']['regularization_scale'] = (1e-2, 1e-3)
OPTIONS['apd']['lambda1'] = 0.1
EM = dict(em_cnt_prior=False, em_prior_init_cnt=1., reset_prior=False)
STEPS = 5


def lasem(mechanism='hps', selection='lasem', keep=1., **options):
    return make_method(selection, mechanism, keep, **dict(OPTIONS[mechanism], **dict(EM, **options)))


def _explicit_steps(mechanism, patterns, store, batches):
    """(posteriors, parameters) of the explicit networks, prior = mean of the posteriors so far."""
    method = Explicit(lasem(mechanism).setting, patterns)
    posteriors, prior = [], np.full(len(patterns), 1. / len(patterns))
    with Rig(method, store, 1, [], dtype=tf.float64) as rig:
        for images, labels in batches:
            feed = {rig.images: images, rig.labels: labels, rig.rate: 1e-2}
            weight = prior * rig.session.run(method.likelihood, feed)
            posteriors.append(weight / weight.sum())
            feed.update({method.posterior: posteriors[-1], rig.seed: (0, 0)})
            rig.session.run(method.update, feed)
            prior = np.mean(posteriors, axis=0)
        return posteriors, rig.values()


def _tree_steps(method, store, batches, prior=None):
    with Rig(method, store, 1, [], dtype=tf.float64) as rig:
        if prior is not None:
            assign(rig.session, {method.prior: prior})
        posteriors = [rig.step(images, labels, fetch=method.posterior) for images, labels in batches]
        return posteriors, rig.values(), rig.session.run(method.prior)


def _earlier(mechanism):
    """A store that a first task left behind, every layer shared."""
    method = make_method('hybrid', mechanism, pattern='SSS', **OPTIONS[mechanism])
    with Rig(method, {}, 0, [0], dtype=tf.float64) as rig:
        rig.step(*random_batch(11, 3))
        return rig.values()


BATCHES = [random_batch(seed) for seed in range(STEPS)]


def test_order_of_patterns():
    assert ' '.join(env.patterns_of((1, 1, 1, 1))) == ('SSSS TSSS STSS TTSS SSTS TSTS STTS TTTS '
                                                  'SSST TSST STST TTST SSTT TSTT STTT TTTT')
    assert env.patterns_of((2, 1)) == ['SSS', 'TTS', 'SST', 'TTT']


@pytest.mark.parametrize('mechanism', sorted(MECHANISMS))
def test_tree_equals_explicit_networks(mechanism):
    store, method = _earlier(mechanism), lasem(mechanism)
    expected_posteriors, expected = _explicit_steps(mechanism, method.patterns, store, BATCHES)
    posteriors, values, prior = _tree_steps(method, store, BATCHES)
    np.testing.assert_allclose(posteriors, expected_posteriors, atol=1e-9)
    np.testing.assert_allclose(prior, np.mean(expected_posteriors, axis=0), atol=1e-9)
    assert set(values) == set(expected)
    for name in expected:
        np.testing.assert_allclose(values[name], expected[name], atol=1e-9, err_msg=name)
        assert name not in store or '/task0/' in name or not np.array_equal(expected[name], store[name]), name


def test_tree_equals_explicit_networks_with_skip_connections():
    # Skips that end before, at, and after a doubling of the stack; channels must agree along a skip.
    network = env.build_net(NETWORK._replace(channels=(5, 5, 5)), (8, 8, 5), skips=((0, 0), (1, 2), (0, 2)))
    for selection, groups in (('lasem', (1, 1, 1)), ('lasemg', (2, 1))):
        method = make_method(selection, 'hps', net=network, groups=groups, **EM)
        batches = [random_batch(3, shape=(8, 8, 5))]
        explicit = Explicit(method.setting, method.patterns)
        with Rig(explicit, {}, 1, [], dtype=tf.float64) as rig:
            likelihood = rig.session.run(explicit.likelihood,
                                         {rig.images: batches[0][0], rig.labels: batches[0][1]})
        posterior = _tree_steps(method, {}, batches)[0][0]
        np.testing.assert_allclose(posterior, likelihood / likelihood.sum(), atol=1e-12)


@pytest.mark.parametrize('mechanism', sorted(MECHANISMS))
def test_groups_equal_the_same_patterns_searched_layer_by_layer(mechanism):
    grouped, full = lasem(mechanism, 'lasemg', groups=(2, 1)), lasem(mechanism)
    allowed = np.array([pattern in grouped.patterns for pattern in full.patterns])
    store = _earlier(mechanism)
    posteriors, values, prior = _tree_steps(grouped, store, BATCHES)
    wide = _tree_steps(full, store, BATCHES, prior=allowed / float(allowed.sum()))
    np.testing.assert_allclose(posteriors, np.array(wide[0])[:, allowed], atol=1e-9)
    assert not np.array(wide[0])[:, ~allowed].any()
    for name in values:
        np.testing.assert_allclose(values[name], wide[1][name], atol=1e-9, err_msg=name)


@pytest.mark.parametrize('mechanism, pattern', [(mechanism, 'STS') for mechanism in sorted(MECHANISMS)]
                         + [('apd', 'SSS'), ('hps', 'TTT')])
def test_a_certain_posterior_trains_like_the_fixed_pattern(mechanism, pattern):
    method, store = lasem(mechanism), _earlier(mechanism)
    certain = np.array([float(p == pattern) for p in method.patterns])
    values = _tree_steps(method, store, BATCHES[:1], prior=certain)[1]
    fixed = make_method('hybrid', mechanism, pattern=pattern, **OPTIONS[mechanism])
    with Rig(fixed, store, 1, [], dtype=tf.float64) as rig:
        start = rig.values()
        rig.step(*BATCHES[0])
        expected = rig.values()
    # DF-CNN's regulariser acts on every candidate, so it also moves the base of layers that the pattern does
    # not share.
    for name in expected:
        np.testing.assert_allclose(values[name], expected[name], atol=1e-12, err_msg=name)
    assert any(not np.array_equal(expected[name], start[name]) for name in expected)


def test_groups_cost_two_branches_each():
    network = env.Network(kernels=(3,) * 9, channels=(4,) * 9, pools=(1, 1, 2) * 3, hidden=(5,))
    net = env.build_net(network, (8, 8, 3))
    method = make_method('lasemg', 'hps', net=net, groups=(3, 3, 3), **EM)
    with Rig(method, {}, 0, []) as rig:
        convolutions = [op for op in rig.graph.get_operations() if op.type == 'Conv2D']
        assert len(convolutions) == 2 * 9
        assert convolutions[-1].inputs[0].shape[0] == 4 * 2 ** 2
        assert rig.step(*random_batch(0), fetch=method.posterior).shape == (8,)


def test_each_pattern_draws_its_own_dropout_and_the_posterior_has_none():
    method = lasem(keep=0.5)
    with Rig(method, {}, 1, []) as rig:
        runs = [rig.session.run([method.posterior, method.loss],
                                {rig.images: BATCHES[0][0], rig.labels: BATCHES[0][1], rig.seed: seed})
                for seed in ((1, 2), (1, 2), (3, 4))]
    np.testing.assert_array_equal(runs[0][0], runs[2][0])
    assert runs[0][1] == runs[1][1] != runs[2][1]
    with tf.Graph().as_default(), tf.Session(config=runtime.session_config(1)) as session:
        kept = session.run(nn.dropout(tf.ones([8 * 4, 1000]), 0.5, np.array([1, 2], np.int32)))
    masks = kept.reshape(8, -1)
    assert set(np.unique(kept)) == {0., 2.} and abs(kept.mean() - 1) < 0.02
    assert len({mask.tobytes() for mask in masks}) == 8


@pytest.mark.parametrize('options', [dict(), dict(reset_prior=True),
                                     dict(em_cnt_prior=True, em_prior_init_cnt=2.),
                                     dict(em_cnt_prior=True, em_prior_init_cnt=0.)])
def test_prior_and_its_histories(options):
    method, rows, posteriors = lasem(**options), [], []
    with Rig(method, {}, 0, []) as rig:
        np.testing.assert_allclose(rig.session.run(method.prior), np.full(8, 1 / 8.))
        for epoch in range(2):
            method.start_epoch(rig, 0)
            epoch_posteriors = [rig.step(*random_batch(10 * epoch + step, 3), fetch=method.posterior)
                                for step in range(3)]
            posteriors.append(np.array(epoch_posteriors, float))
            rows.append(method.end_epoch(rig, 0, False))
    for epoch in range(2):
        seen = posteriors[epoch] if options.get('reset_prior') else np.concatenate(posteriors[:epoch + 1])
        if options.get('em_cnt_prior'):
            def counts(q):
                n = options['em_prior_init_cnt'] + np.bincount(q.argmax(axis=1), minlength=8)
                return n / n.sum()
        else:
            def counts(q):
                return q.mean(axis=0)
        np.testing.assert_allclose(rows[epoch]['history_net_prior'], counts(seen), atol=1e-6)
        np.testing.assert_allclose(rows[epoch]['history_net_prior_in_epoch'], counts(posteriors[epoch]),
                                   atol=1e-6)
        assert rows[epoch]['history_net_prior'].dtype == np.float32


@pytest.mark.parametrize('mechanism', sorted(MECHANISMS))
def test_what_is_kept_after_a_task(mechanism):
    method, store = lasem(mechanism), _earlier(mechanism)
    # conv1: nobody shares it yet
    store = {name: value for name, value in store.items() if not name.startswith('conv1/')}
    with Rig(method, store, 1, [], dtype=tf.float64) as rig:
        rig.step(*BATCHES[0])
        wanted = np.array([float(pattern == 'STT') for pattern in method.patterns])
        assign(rig.session, {method.prior: wanted})
        values = rig.values()
        after = method.end_task(1, store, values, rig)
    assert method.pattern_of(1) == 'STT'
    assert not any(name.startswith(('conv0/task1/own', 'conv1/shared', 'conv2/task1/' + mechanism))
                   for name in after)
    assert any(name.startswith('conv1/task1/own') for name in after)
    for name, value in after.items():
        if name.startswith('conv2/shared'):                  # not chosen: rolled back
            np.testing.assert_array_equal(value, store[name])
            assert not np.array_equal(value, values[name])
        else:                                                # chosen, or the task's own: as trained
            np.testing.assert_array_equal(value, values[name])


def test_the_new_task_is_evaluated_with_the_most_probable_pattern():
    method = lasem()
    with Rig(method, {}, 0, [0]) as rig:
        for pattern in ('SSS', 'TST'):
            assign(rig.session, {method.prior: [0.9 if p == pattern else 0.01 for p in method.patterns]})
            fixed = make_method('hybrid', 'hps', pattern=pattern)
            with Rig(fixed, rig.values(), 0, [0]) as other:
                np.testing.assert_allclose(rig.logits(0, BATCHES[0][0]), other.logits(0, BATCHES[0][0]),
                                           atol=1e-6)
        assign(rig.session, {method.prior: np.full(8, 1 / 8.)})
        assert method.chosen_now(rig.session) == 'SSS'           # the first of equals


def test_a_known_task_is_trained_with_its_pattern_and_has_no_posterior():
    method = lasem()
    method.remember(1, 'STS')
    with Rig(method, {}, 1, [1]) as rig:
        rig.step(*BATCHES[0])
        rows = method.end_epoch(rig, 1, False)
        values = rig.values()
        assert method.end_task(1, {}, values, rig) == values
    assert set(name for name in values if name.startswith('conv1')) == {'conv1/task1/own/kernel',
                                                                        'conv1/task1/own/bias'}
    assert all(row.shape == (8,) and np.isnan(row).all() for row in rows.values())


def test_given_probabilities_replace_the_posterior():
    method = make_method('lasem_fixed', 'hps', favoured='TTS', em_maxP=0.65, **EM)
    with Rig(method, {}, 0, [0]) as rig:
        posterior = rig.step(*random_batch(0, 3), fetch=method.posterior)
        assert method.chosen_now(rig.session) == 'TTS'
        prior = rig.session.run(method.prior)
    expected = [0.65 if pattern == 'TTS' else 0.05 for pattern in Lasem(method.setting).patterns]
    np.testing.assert_allclose(posterior, expected, rtol=1e-6)
    np.testing.assert_allclose(prior, expected, rtol=1e-6)


def test_group_tables_add_up():
    for depth, rows in env.LAYER_GROUPS.items():
        assert all(sum(row) == depth for row in rows)
    assert env.LAYER_GROUPS[9] == ((3, 3, 3),) and env.LAYER_GROUPS[17][2] == (5, 4, 2, 2, 2, 2)
