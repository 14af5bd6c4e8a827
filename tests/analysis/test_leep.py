"""LEEP scores: against the definition written out in loops, at known values, and where a trial takes them."""
import numpy as np
import pytest

from classification.analysis.leep import leep
from classification.results.summary import LEEP_SCORES, run_struct
from classification.trial.task_graph import TaskGraph
from tests.support.tiny import SIZES, make_experiment, make_task, train, train_with_stops


def by_definition(logits, labels):
    """SPEC: P(y,z) = 1/n sum_i [y_i=y] theta_iz, P(z) = mean theta_z, score = 1/n sum_i ln sum_z P(y_i|z)
    theta_iz."""
    theta = [[np.exp(z) / sum(np.exp(other) for other in row) for z in row] for row in logits]
    number, classes = len(labels), len(logits[0])
    score = 0.
    for i in range(number):
        inside = 0.
        for z in range(classes):
            joint = sum(theta[j][z] for j in range(number) if labels[j] == labels[i]) / number
            marginal = sum(theta[j][z] for j in range(number)) / number
            inside += joint / marginal * theta[i][z]
        score += np.log(inside) / number
    return score


@pytest.mark.parametrize('classes, others, number', [(3, 2, 17), (2, 5, 40), (4, 4, 9)])
def test_the_score_is_the_definition(classes, others, number):
    state = np.random.RandomState(classes)
    logits, labels = state.normal(0, 2, (number, classes)), state.randint(0, others, number)
    assert np.isclose(leep(logits, labels), by_definition(logits, labels), rtol=1e-12)


def test_known_values():
    labels = np.array([0, 0, 0, 1])
    # A network that says the same of every image predicts the shares of the labels.
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert np.isclose(leep(np.tile([[1., -2., 0.5]], (4, 1)), labels), -entropy)
    # One that tells the labels apart for certain, whatever it calls them, predicts without loss.
    certain = np.array([[0, 900.], [0, 900.], [0, 900.], [900., 0]])
    assert np.isclose(leep(certain, labels), 0., atol=1e-12)
    # A class that it never takes into account, to the last bit, changes nothing.
    assert np.isclose(leep(np.column_stack([certain, [-1e4] * 4]), labels), 0., atol=1e-12)


@pytest.fixture
def probed(monkeypatch):
    """dict (source, target, part's size) -> logits of each probe, before any step on the target."""
    seen, probe, steps = [], TaskGraph.probe, []

    def spy(self, name, part):
        seen.append((int(name[len('logits'):]), self.task.index, part, probe(self, name, part), len(steps)))
        return seen[-1][3]

    def count(self, *more, **options):
        steps.append(self.task.index)
        return step(self, *more, **options)
    step = TaskGraph.step
    monkeypatch.setattr(TaskGraph, 'probe', spy)
    monkeypatch.setattr(TaskGraph, 'step', count)
    return seen


def asked(model_type, order, **options):
    return make_experiment(model_type, order, 1, **options)._replace(analyses={'leep': True})


def test_scores_of_every_earlier_task_before_training(probed, tmp_path):
    record = train(asked('Hybrid_HPS', (0, 1, 0, 2)), tmp_path)[1]
    steps = SIZES['train'] // 4
    expected = {name: np.zeros((4, 3)) for name in LEEP_SCORES}
    position_of = {steps: 1, 2 * steps: 2, 3 * steps: 3}        # steps taken when it is probed
    for source, target, part, logits, taken in probed:
        task = make_task(target)
        name, = [name for name, some in zip(LEEP_SCORES, (task.train, task.valid, task.test))
                 if np.array_equal(part.rows, some.rows)]
        expected[name][position_of[taken], source] = by_definition(logits.astype(float), part.labels)
    assert len(probed) == 3 * (1 + 2 + 2)        # the returning task is an earlier one too
    for name in LEEP_SCORES:
        assert np.count_nonzero(expected[name]) == 5
        np.testing.assert_allclose(record.extra[name], expected[name], rtol=1e-6)
    fields = run_struct(record, (0, 1, 0, 2), leep=True)
    assert (fields['LEEP_score_testset'] == record.extra['LEEP_score_testset']).all()


def test_a_network_that_learned_the_same_task_has_the_best_score(tmp_path):
    """Task 4 has its bright corner where task 0 has it, the others elsewhere."""
    record = train(make_experiment('STL', (0, 1, 4), 6)._replace(
        analyses={'leep': True}, class_counts={task: 2 for task in range(5)}), tmp_path)[1]
    for name in LEEP_SCORES:
        scores = record.extra[name][2]
        assert scores[0] > scores[1] + 0.05 and scores[1] >= -0.75


@pytest.mark.parametrize('model_type', ['DARTS_HPS', 'BruteForce_HPS', 'ProgNN'])
def test_every_kind_of_method_has_scores(model_type, tmp_path, monkeypatch):
    monkeypatch.setattr(TaskGraph, 'step', lambda self, *more, **options: 0.)
    record = train(asked(model_type, (0, 1), depth=1), tmp_path)[1]
    for name in LEEP_SCORES:
        assert record.extra[name].shape == (2, 2) and record.extra[name][1, 0] < 0
        assert np.count_nonzero(record.extra[name]) == 1


def test_scores_survive_a_stop(tmp_path):
    experiment = asked('Hybrid_HPS', (0, 1), depth=1, pattern='S')
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    record = train(experiment, tmp_path / 'calm')[1]
    other, log = train_with_stops(experiment, tmp_path / 'stopped')[1:]
    assert [line for line in log if 'position 1' in line and 'resumed' in line]
    for name in LEEP_SCORES:
        np.testing.assert_array_equal(record.extra[name], other.extra[name])


def test_without_the_flag_there_are_zeros_where_they_were(tmp_path):
    record = train(make_experiment('Hybrid_HPS', (0, 1), 1), tmp_path)[1]
    assert not any(name in record.extra for name in LEEP_SCORES)
    assert not run_struct(record, (0, 1), leep=True)['LEEP_score_trainset'].any()
