"""Augmented images, against what each operation must give; where they go in training; the STL analysis'
training set."""
import numpy as np
import pytest

from classification.data import augmentation
from classification.data.augmentation import augmented, enlarged, enlarged_size
from classification.trial.schedule import PublishedPatience
from classification.trial.task_graph import TaskGraph
from tests.support.tiny import BATCH, SIZES, make_experiment, make_task, train, train_with_stops
from utils.utils import random_state
from utils.utils_env_cl import Training


def operation(image, result):
    """Which operation made `result` of an image of distinct values:
    a name, for a crop with its flip and offsets."""
    if np.array_equal(result, image):
        return ('copy',)
    if np.array_equal(result, image[::-1, ::-1]):
        return ('rotation',)
    height, width = image.shape[:2]
    for flip, source in enumerate((image, image[::-1, ::-1])):
        padded = np.zeros((height + 8, width + 8, image.shape[2]), np.float32)
        padded[4:-4, 4:-4] = source
        for row in range(9):
            for column in range(9):
                if np.array_equal(result, padded[row:row + height, column:column + width]):
                    return 'crop', flip, row, column
    return ('noise',)


def images_of(number, shape=(5, 6, 2), seed=0):
    return np.random.RandomState(seed).uniform(1, 2, (number,) + shape).astype(np.float32)


def test_the_four_operations_and_how_often():
    images = images_of(4000)
    results = augmented(images, random_state(1, purpose='test'))
    assert results.dtype == np.float32 and results.shape == images.shape
    found = [operation(*pair) for pair in zip(images, results)]
    counts = {name: sum(one[0] == name for one in found) for name in ('copy', 'rotation', 'crop', 'noise')}
    # A crop at (4, 4) looks like a copy, or like a rotation where it is flipped: one of 128 each.
    assert all(abs(count - 1000) < 4 * np.sqrt(4000 * 3 / 16.) for count in counts.values()), counts
    crops = np.array([one[1:] for one in found if one[0] == 'crop'])
    assert sorted(set(crops[:, 1])) == sorted(set(crops[:, 2])) == list(range(8))      # offset 8 never
    for column, values in ((0, 2), (1, 8), (2, 8)):
        share = np.bincount(crops[:, column], minlength=values) / float(len(crops))
        assert abs(share - 1. / values).max() < 4 * np.sqrt(1. / values / len(crops))
    # Independent of each other: all 126 crops that look like nothing else occur.
    assert len({tuple(crop) for crop in crops}) == 2 * 64 - 2
    noise = np.concatenate([(result - image).ravel() for image, result, one in zip(images, results, found)
                            if one[0] == 'noise']).astype(np.float64)
    assert abs(noise.mean()) < 4 * 0.1 / np.sqrt(noise.size) and abs(noise.std() - 0.1) < 4 * 0.1 / np.sqrt(
        2 * noise.size)
    assert abs(np.mean(noise > 0.1) - 0.1587) < 0.01      # Normal: beyond one deviation


def test_the_same_draws_give_the_same_images_and_others_others():
    images = images_of(50)
    given = images.copy()
    one, same, other = [augmented(images, random_state(3, step=step)) for step in (1, 1, 2)]
    assert (one == same).all() and (one != other).any() and (images == given).all()


# ---- in training ----

@pytest.fixture
def batches(monkeypatch):
    """List of (images given, state's first number, images returned) of each augmentation in a trial."""
    seen = []

    def spy(images, state):
        first = state.get_state()[1][:2].tobytes()
        seen.append((images, first, augmented(images, state)))
        return seen[-1][2]
    monkeypatch.setattr('classification.trial.task_graph.augmented', spy)
    return seen


def test_training_batches_are_augmented_as_the_network_sees_them(batches, tmp_path, monkeypatch):
    rows, step = [], TaskGraph.step

    def spy(self, numbers, *more, **options):
        rows.append(numbers['training'])
        return step(self, numbers, *more, **options)
    monkeypatch.setattr(TaskGraph, 'step', spy)
    experiment = make_experiment('Hybrid_HPS', (0,), 2)._replace(analyses={'data_augment': True})
    train(experiment, tmp_path)
    assert len(batches) == len(rows) == 2 * (SIZES['train'] // BATCH)
    part = make_task(0).train
    for numbers, (images, _, _) in zip(rows, batches):
        np.testing.assert_allclose(images, part.images(numbers) / 16. - 4, rtol=1e-6)
    # Each step draws anew, as a function of its place.
    expected = [random_state(5, 0, 0, epoch, one, 'augmentation').get_state()[1][:2].tobytes()
                for epoch in range(2) for one in range(SIZES['train'] // BATCH)]
    assert [state for _, state, _ in batches] == expected and len(set(expected)) == len(expected)


def test_the_network_learns_from_what_augmentation_gives(tmp_path, monkeypatch):
    """With images in the place of the batch's that do not depend on it, nothing of the batch but its labels
    is learned."""
    monkeypatch.setattr('classification.trial.task_graph.augmented', lambda images,
                        state: np.zeros_like(images))
    experiment = make_experiment('STL', (0,), 1)._replace(analyses={'data_augment': True})
    trial = train(experiment, tmp_path)[0]
    kernel = trial.store['conv0/task0/own/kernel']
    from utils.utils_nn import truncated_normal
    start = truncated_normal(kernel.shape, random_state(5, 0, 0, purpose='conv0/task0/own/kernel')).astype(
        np.float32)
    np.testing.assert_array_equal(kernel, start)       # zeros in, no gradient of the first kernel


def test_without_the_flag_nothing_is_augmented(batches, tmp_path):
    train(make_experiment('Hybrid_HPS', (0,), 1), tmp_path)
    assert batches == []


@pytest.mark.parametrize('model_type, options', [
    ('EWC', dict(ewc_fisher_samples=3)), ('DARTS_HPS', dict(darts_selection_data='valid'))])
def test_methods_with_inputs_of_their_own_learn_from_augmented_batches(model_type, options, batches,
                                                                       tmp_path):
    train(make_experiment(model_type, (0,), 1, depth=1, **options)._replace(analyses={'data_augment': True}),
          tmp_path)
    # validation batches and single images stay as they are
    assert len(batches) == SIZES['train'] // BATCH


# ---- the STL analysis ----

@pytest.mark.parametrize('sizes, task, ratio, size', [
    ([100, 50, 70], 0, 1., 100), ([100, 50, 70], 1, 1., 150), ([100, 50, 70], 2, 0.5, 110),
    ([100, 50, 70], 2, 0.999, 219),
    ([100, 50, 70], 2, 0.1, 70), ([100, 50, 70], 1, 0., 50), ([100, 50, 70], 1, 0.34, 51)])
def test_size_of_the_enlarged_training_set(sizes, task, ratio, size):
    assert enlarged_size(sizes, task, ratio) == size


def test_the_enlarged_training_set():
    tasks = [make_task(index) for index in range(3)]
    part, size = tasks[2].train, SIZES['train']
    whole = enlarged(tasks, 2, 0.9, seed=5, trial=1)
    assert whole[:2] == tasks[:2] and whole[2].valid is tasks[2].valid and whole[2].test is tasks[2].test
    more = whole[2].train
    assert more.size == int(0.9 * 3 * size) and more.labels.dtype == part.labels.dtype
    seen = part.images() / 16. - 4
    images = more.seen()
    assert images.dtype == np.float32 and images.shape == (more.size, 4, 4, 1)
    np.testing.assert_allclose(images[:size], seen, rtol=1e-6)
    np.testing.assert_array_equal(more.labels[:size], part.labels)
    sources = more.pixels.sources[size:]
    np.testing.assert_array_equal(more.labels[size:], part.labels[sources])
    assert len(set(sources)) < len(sources) and sources.max() < size       # with repetition
    kinds = [operation(part.seen([source])[0], image)[0] for source, image in zip(sources, images[size:])]
    assert len(set(kinds)) == 4
    # An image is the same whenever it is asked for, and differs between trials and seeds.
    np.testing.assert_array_equal(more.seen([size + 9, 3, size + 7]), images[[size + 9, 3, size + 7]])
    again, trial, seed = [enlarged(tasks, 2, 0.9, seed=s, trial=t)[2].train.seen() for s,
                          t in ((5, 1), (5, 2), (6, 1))]
    assert (again == images).all() and (trial != images).any() and (seed != images).any()


def analysis(task=1, ratio=1., epochs=6, patience=2, lr=1e-2):
    experiment = make_experiment('STL', (task,), epochs, early_stopping=patience, lr=lr)
    return experiment._replace(
        class_counts={0: 2, 1: 2}, training=experiment.training._replace(patience=patience),
        analyses={'stl_analysis': {'task': task, 'ratio': ratio}})


def make_both(monkeypatch):
    """The trials get both tasks, though one is trained."""
    from classification.train import Trial
    init = Trial.__init__
    monkeypatch.setattr(Trial, '__init__', lambda self, experiment, number, tasks, *more, **options: init(
        self, experiment, number, [make_task(0), make_task(1)], *more, **options))


def test_only_the_asked_task_is_trained_on_all_its_images(tmp_path, monkeypatch):
    make_both(monkeypatch)
    rows, step = [], TaskGraph.step

    def spy(self, numbers, *more, **options):
        rows.append(numbers['training'])
        return step(self, numbers, *more, **options)
    monkeypatch.setattr(TaskGraph, 'step', spy)
    trial, record = train(analysis(), tmp_path)
    steps = 2 * SIZES['train'] // BATCH                    # the two tasks' images together
    assert len(rows) == steps * (len(record.accuracy) - 1)
    assert max(np.concatenate(rows)) >= SIZES['train'] and len(
        set(np.concatenate(rows[:steps]))) == steps * BATCH
    assert np.isnan(record.accuracy[:, 0]).all() and not np.isnan(record.accuracy[:, 1]).any()
    assert record.accuracy_matrix.shape == (1, 1) and set(name.split('/')[1] for name in trial.store) == {
        'task1'}


def test_the_stl_analysis_is_resumed_to_the_same_numbers(tmp_path, monkeypatch):
    make_both(monkeypatch)
    experiment = analysis(epochs=3, patience=3)._replace(
        analyses={'stl_analysis': {'task': 1, 'ratio': 0.8}, 'data_augment': True})
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    calm, record = train(experiment, tmp_path / 'calm')
    stopped, other, log = train_with_stops(experiment, tmp_path / 'stopped')
    assert len([line for line in log if 'resumed' in line]) == 3
    np.testing.assert_array_equal(record.accuracy, other.accuracy)
    assert all(np.array_equal(calm.store[name], stopped.store[name]) for name in calm.store)


def test_the_published_patience_counts_from_the_start():
    """Stop at max(P, 1.5 x epoch of the last improvement by 0.2 %)."""
    progress = PublishedPatience(Training(lr=1., lr_decay=0., patience=4, epochs=99), 4)
    ends = []
    for epoch, valid in enumerate([0.5, 0.5, 0.5, 0.6, 0.6005, 0.6005]):
        progress.add(epoch, valid, 0.)
        ends.append(progress.exhausted(epoch))
    assert progress.improved_at == 3 and ends == [False] * 5 + [True]       # 4.5 epochs: at the fifth
    late = PublishedPatience(progress.training, 4, (0.6, 0., 8))
    assert [late.exhausted(epoch) for epoch in (9, 11, 12)] == [False, False, True]
    assert augmentation.CROP_MARGIN == 4
