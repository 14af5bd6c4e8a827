"""BruteForce: every pattern from the same start, the best on validation data kept."""
from types import SimpleNamespace

import numpy as np

from classification.model.phases import Alternatives
from classification.trial.state import History
from tests.support.tiny import Rig, make_experiment, make_method, random_batch, train

PATTERNS = ['SSS', 'TSS', 'STS', 'TTS', 'SST', 'TST', 'STT', 'TTT']


def test_the_first_task_shares_everything_and_later_ones_try_all_patterns():
    method = make_method('bruteforce')
    assert method.phases(0, 5) == [5]
    with Rig(method, {}, 0, [0]) as rig:
        assert method.pattern_of(0) == 'SSS'
        store = rig.values()
    method.choose(0, [0.5])
    assert method.phases(1, 5) == [5] * 8 and method.planned_epochs([0, 1, 0], 5) == 5 * (1 + 8 + 1)
    for phase, pattern in enumerate(PATTERNS):
        assert _build(method, store, phase) == pattern


def _build(method, store, phase):
    build = method.build
    method.build = lambda parameters, task, batch: build(parameters, task, batch, phase)
    try:
        with Rig(method, store, 1, [0, 1]) as rig:
            before = rig.values()
            rig.step(*random_batch(phase))
            after = rig.values()
    finally:
        method.build = build
    pattern = method.pattern_of(1)
    for layer, letter in enumerate(pattern):      # a layer that is not shared leaves the shared one as it was
        name = 'conv%d/shared/hps/kernel' % layer
        assert np.array_equal(before[name], after[name]) == (letter == 'T')
        assert ('conv%d/task1/own/kernel' % layer in after) == (letter == 'T')
    return pattern


def test_the_first_best_pattern_is_remembered_with_all_scores():
    method = make_method('bruteforce')
    method.choose(0, [0.5])
    method.choose(1, [0.1, 0.7, 0.7, 0.2, 0., 0., 0., 0.])
    assert method.pattern_of(1) == 'TSS'
    assert method.phases(1, 5) == [5], 'a task that is met again is trained with its pattern'
    extra = method.extra([0, 1])
    np.testing.assert_array_equal(extra['conv_sharing'], [[1, 1, 1], [0, 1, 1]])
    np.testing.assert_array_equal(extra['search_validation_accuracy'][1],
                                  [0.1, 0.7, 0.7, 0.2, 0., 0., 0., 0.])
    assert extra['search_validation_accuracy'][0, 0] == 0.5 and np.isnan(extra['search_validation_accuracy'][
        0, 1:]).all()


def test_what_is_kept_is_the_outcome_of_the_best_pattern(tmp_path):
    record = train(make_experiment('BruteForce_HPS', (0, 1), epochs=2, lr=0.03), tmp_path)[1]
    scores = record.extra['search_validation_accuracy'][1]
    assert len(set(scores)) > 1 and record.accuracy[-1, 1, 1] == scores.max()


def test_the_best_pattern_of_a_checkpoint_of_before_has_unknown_losses_and_answers():
    history = History(2, 2)
    history.losses, history.answers = [0.5], {0: np.array([1, 0]), 1: np.array([1, 1])}
    winner = {'values/a': np.ones(2), 'rows': np.zeros((3, 2, 3)), 'best_test': np.zeros(3), 'final': 'final',
              'progress': np.zeros(2)}
    learned = []
    state = SimpleNamespace(history=history, winner=winner, scores=[0.5], global_epoch=1, new_progress=tuple)
    Alternatives(SimpleNamespace(state=state, method=SimpleNamespace(choose=lambda task, scores: None),
                                 recorder=SimpleNamespace(task_learned=lambda *given: learned.append(given)))
                 ).end_task(1)
    assert learned == [(1, 'final')] and list(state.store) == ['a'] and state.global_epoch == 4
    np.testing.assert_array_equal(history.losses, [0.5, np.nan, np.nan, np.nan])
    assert history.answers == {}
