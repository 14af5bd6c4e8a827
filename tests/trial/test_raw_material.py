"""What a trial keeps for later questions: the loss of each epoch, and the answers by class."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.model.phases import Alternatives
from classification.results.metrics import confusion
from classification.results.ragged import packed, unpacked
from classification.results.read_results import load_results
from classification.results.summary import run_struct
from classification.results.texts import epochs_csv
from classification.train import Interrupted
from classification.trial import checkpoint
from classification.trial.resources import ops_behind
from classification.trial.task_graph import TaskGraph
from tests.support import result_files
from tests.support.tiny import (
    SIZES,
    make_experiment,
    make_joint,
    make_trial,
    matrices_of,
    says_the_accuracies,
    train,
)
from utils import runtime
from utils import utils_nn as nn

# ---- by hand ----

def test_a_confusion_matrix_by_hand():
    found = confusion(np.array([0, 0, 0, 1, 2, 2], np.int32), np.array([0, 0, 2, 1, 0, 2], np.uint8), 3)
    assert found.tolist() == [[2, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert confusion([1, 1], [0, 1], 3).tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize('largest, kind', [(0, 'uint8'), (255, 'uint8'), (256, 'uint16'), (65536, 'uint32')])
def test_arrays_of_unequal_sizes_take_the_smallest_type(largest, kind):
    arrays = {(1, 3): np.array([[1, largest], [0, 2]]), (0, 3): np.array([[7]])}
    values, parts = packed(arrays)
    assert values.dtype == kind and parts.tolist() == [[0, 3, 1, 1], [1, 3, 2, 2]]
    back = unpacked(values, parts, 2)
    assert list(back) == [(0, 3), (1, 3)]
    assert all(back[key].tolist() == arrays[key].tolist() for key in arrays)
    assert unpacked(*packed({}), 2) == {}
    (key, value), = unpacked(*packed({4: np.array([1, 0])}), 1).items()
    assert key == 4 and value.tolist() == [1, 0]


def by_hand():
    """Tasks 1, then 0; two classes and three; what was answered after the first position is not known."""
    record = result_files.record([[np.nan, 0.8], [0.5, 0.6]], order=(1, 0), epochs=1)
    counts, parts = packed({(1, 0): np.array([[2, 1], [1, 0]]),
                            (1, 1): np.array([[1, 0, 1], [0, 1, 0], [0, 1, 1]])})
    return record._replace(loss=np.array([np.nan, 0.25]), learning_rate=np.array([0.5, 0.125]),
                           confusion=counts, confusion_parts=parts)


def test_the_epochs_as_csv():
    assert epochs_csv(by_hand(), (1, 0)) == ('task_trained,epoch,learning_rate,loss\n'
                                             '1,1,0.5,NaN\n0,2,0.125,0.25\n')


def test_the_fields_by_hand(tmp_path):
    path = result_files.write(tmp_path / 'x.mat', 'STL', [by_hand()], (1, 0))
    run = load_results(path)[0]['result_of_each_run'][0]
    assert [[matrix.tolist() for matrix in row] for row in run['confusion']] == [
        [[], []], [[[2, 1], [1, 0]], [[1, 0, 1], [0, 1, 0], [0, 1, 1]]]]
    assert [[np.ravel(correct).tolist() for correct in row] for row in run['correct_by_class']] == [
        [[], []], [[2, 0], [1, 1, 1]]]
    assert run['confusion'][1][0].dtype == run['correct_by_class'][1][1].dtype == np.uint8
    np.testing.assert_array_equal(run['history_loss'], [np.nan, 0.25])
    assert run['history_learning_rate'].tolist() == [0.5, 0.125]


def test_a_record_of_before_has_none_of_the_fields():
    record = result_files.record([[0.5]])
    assert not {'confusion', 'correct_by_class', 'history_loss', 'history_learning_rate'} & set(run_struct(
        record, (0,)))


# ---- of trials ----

def test_the_loss_that_is_read_is_that_before_the_update():
    """Also where nothing of the update needs the loss itself."""
    with tf.Graph().as_default():
        weights = tf.Variable(tf.ones(1000))
        loss = tf.nn.l2_loss(weights)
        update = nn.apply(tf.train.GradientDescentOptimizer(0.5), loss, [weights])
        assert loss.op in ops_behind([update])
        with tf.Session(config=runtime.session_config(1)) as session:
            session.run(tf.global_variables_initializer())
            assert [session.run([update, loss])[1] for _ in range(3)] == [500., 125., 31.25]


@pytest.fixture
def steps(monkeypatch):
    """List of (learning rate, loss) of each training step."""
    seen, step = [], TaskGraph.step

    def spy(self, rows, learning_rate, seed, fetch_loss=False, **more):
        loss = step(self, rows, learning_rate, seed, fetch_loss=True, **more)
        seen.append((learning_rate, loss))
        return loss
    monkeypatch.setattr(TaskGraph, 'step', spy)
    return seen


@pytest.mark.parametrize('make', [
    lambda: make_experiment('LASEM_DFCNN'), lambda: make_experiment('DARTS_HPS', darts_approx_order=2),
    lambda: make_experiment('DEN', epochs=4), lambda: make_experiment('EWC', pattern='SS'),
    lambda: make_experiment('ChannelGate', channel_gate_mode='paper', channel_gate_sparsity=0.1),
    lambda: make_joint('APD')], ids='LASEM DARTS DEN EWC ChannelGate joint'.split())
def test_the_loss_of_an_epoch_is_the_mean_over_its_steps(make, steps, tmp_path):
    _, record = train(make(), tmp_path)
    of_epoch = np.reshape(np.array(steps, np.float64), (len(record.accuracy) - 1, -1, 2))
    np.testing.assert_allclose(record.loss, of_epoch[:, :, 1].mean(axis=1), rtol=1e-12)
    assert len(set(record.loss)) == len(record.loss)
    assert record.learning_rate.tolist() == of_epoch[:, 0, 0].tolist()


def test_of_alternatives_the_loss_of_the_chosen_one_is_kept(steps, tmp_path, monkeypatch):
    """And each begins with the answers that the task before handed on."""
    end_phase, answers = Alternatives.end_phase, []

    def spy(self, *given):
        end_phase(self, *given)
        answers.append({task: kept.tolist() for task, kept in self.trial.state.history.answers.items()})
    monkeypatch.setattr(Alternatives, 'end_phase', spy)
    trial, record = train(make_experiment('BruteForce_HPS', epochs=1), tmp_path)
    losses = np.reshape([loss for _, loss in steps], (1 + 4, -1)).astype(np.float64).mean(axis=1)
    chosen = int(np.argmax(record.extra['search_validation_accuracy'][1]))
    np.testing.assert_allclose(record.loss, losses[[0, 1 + chosen]], rtol=1e-12)
    assert answers[0] == {} and list(answers[1]) == [0] and answers[2:] == answers[1:2] * 3
    says_the_accuracies(record, [0, 1])


def test_counts_of_tasks_that_are_not_evaluated_again_stay(tmp_path):
    _, record = train(make_experiment('STL', (0, 1, 0), epochs=1), tmp_path)
    says_the_accuracies(record, [0, 1])
    found = matrices_of(record)
    assert found[0, 0].tolist() == found[1, 0].tolist() and found[1, 1].tolist() == found[2, 1].tolist()
    assert record.confusion.dtype == np.uint8 and found[0, 0].sum() == SIZES['test']


def test_counts_are_those_of_the_parameters_handed_on(tmp_path):
    """Early stopping goes back to the best epoch."""
    _, record = train(make_experiment('Hybrid_HPS', (0, 1), 5, early_stopping=1, pattern='SS'), tmp_path)
    says_the_accuracies(record, [0, 1])


def test_joint_training_has_one_row_of_all_tasks(tmp_path):
    _, record = train(make_joint('STL', epochs=1), tmp_path)
    assert sorted(matrices_of(record)) == [(0, 0), (0, 1), (0, 2)]
    says_the_accuracies(record, [0, 1, 2])


def test_a_checkpoint_of_before_leaves_unknown_what_it_lacks(tmp_path):
    """Task 0 is not evaluated again after task 1: what it was answered is not known there either."""
    experiment = make_experiment('STL', (0, 1, 0), epochs=1)
    (tmp_path / 'whole').mkdir()
    _, whole = train(experiment, tmp_path / 'whole')
    with pytest.raises(Interrupted):
        make_trial(experiment, tmp_path, stopping=lambda: True).run()
    make_trial(experiment, tmp_path)
    path = checkpoint.path_in(str(tmp_path))
    meta, groups = checkpoint.load(path, pytest.fail)
    names = [name for name in groups['history'] if name.startswith(('answers', 'final_answers', 'confusion'))]
    assert len(names) == 6
    for name in names + ['loss']:
        del groups['history'][name]
    checkpoint.save(path, meta, groups)
    record = make_trial(experiment, tmp_path).run()
    np.testing.assert_array_equal(record.accuracy, whole.accuracy)
    assert np.isnan(record.loss[0]) and record.loss[1:].tolist() == whole.loss[1:].tolist()
    assert record.learning_rate.tolist() == whole.learning_rate.tolist()
    assert sorted(matrices_of(record)) == [(1, 1), (2, 0), (2, 1)]
    for key, matrix in matrices_of(record).items():
        np.testing.assert_array_equal(matrix, matrices_of(whole)[key])
