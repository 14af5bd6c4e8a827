"""Which images each task trains, validates and tests with, as numbers of images: how a class is split, and
how the classes are cut into tasks."""
import hashlib
import platform
from collections import OrderedDict
from typing import Any, Callable, NamedTuple, Optional, Tuple

import numpy as np

from classification.data import stl10_designs, task_lists
from utils.utils import UserError, random_state

SPLITS = OrderedDict([('train', 'training'), ('valid', 'validation'), ('test', 'test')])
SMALL = 10      # a class of fewer images has no tenth to validate with


class TaskRows(NamedTuple):
    """A task as numbers of images; nothing is read for it but labels."""
    classes: Tuple[Any, ...]
    splits: dict                       # split -> (rows, labels)
    noise: Optional[Tuple[float, float]] = None
    swap: Optional[Tuple[int, int, int]] = None


class Request(NamedTuple):
    """What is asked of a data set."""
    data_dir: str
    percent: int
    seed: int
    group: int
    say: Optional[Callable] = None    # None: only sizes or checksums are asked for
    expected: Optional[dict] = None   # what `checksums` gave for the experiment; None: whatever is there

    def shuffled(self, rows, purpose, split, task=None):
        """The rows in an order drawn for this purpose; for the test set it is the same in all groups."""
        group = None if split == 'test' else self.group
        return rows[random_state(self.seed, group, task, purpose='%s, %s' % (purpose, split)).permutation(
            len(rows))]


class Composition(NamedTuple):
    """Where the classes and images of a trial's tasks come from, if not from the data set alone."""
    shuffled: bool = False            # --shuffle_classes
    given: Any = None                 # splits_file.Splits of --splits


AS_DECLARED = Composition()


class Index(object):
    """Where the images of a class are in the array of all images.

    Args:
        labels: OrderedDict pool -> class of each image.
    """

    def __init__(self, labels):
        self.labels, self.first, start = labels, {}, 0
        for pool, classes in labels.items():
            self.first[pool] = start
            start += len(classes)

    def rows(self, pool, number):
        """Rows of a class's images in a pool, as in the raw files."""
        return self.first[pool] + np.flatnonzero(self.labels[pool] == number)

    def count(self, number):
        """Images of a class, in all pools."""
        return sum(len(self.rows(pool, number)) for pool in self.labels)

    def checksum(self):
        """SHA-256 of the classes of all images, in their order."""
        labels = np.concatenate(list(self.labels.values()))
        return hashlib.sha256(labels.astype(np.int64).tobytes()).hexdigest()


# ---- splits: which images of a class may train, validate, test (function of the index, a class and a
# request) ----

def as_given(index, number, request):
    """The files say it."""
    return {split: index.rows(split, number) for split in SPLITS}


def one_sixth_validates(index, number, request):
    """Training images of a class are split 1 : 5, anew in each group."""
    rows = request.shuffled(index.rows('train', number), 'split of class %s' % number, 'train')
    valid, train = len(rows) // 6, len(rows) * 5 // 6
    return {'valid': rows[:valid], 'train': rows[valid:valid + train], 'test': index.rows('test', number)}


def thinned(splits):
    """Only --data_percent of each class's training and validation images, the same for all tasks of a
    group."""
    def kept(index, number, request):
        rows = splits(index, number, request)
        for split in ('train', 'valid'):
            order = request.shuffled(rows[split], 'thinning of class %s' % number, split)
            rows[split] = order[:len(order) * request.percent // 100]
        return rows
    return kept


def sixty_ten_thirty(index, number, request):
    """60 % train, 10 % validate, 30 % test, all drawn anew in each group; the few images left over are not
    used.

    Of a class of fewer than ten images each split gets at least one, as long as there are any.
    """
    rows = request.shuffled(index.rows('all', number), 'split of class %s' % number, 'train')
    train, valid, test = [max(len(rows) * share // 100, len(rows) < SMALL) for share in (60, 10, 30)]
    return {'train': rows[:train], 'valid': rows[train:train + valid],
            'test': rows[train + valid:train + valid + test]}


def fixed_thirty_test(index, number, request):
    """30 % test, the same for every seed and group; 10 % of all validate, the rest trains."""
    rows = index.rows('all', number)
    test, valid = len(rows) * 30 // 100, len(rows) * 10 // 100
    order = random_state(0, purpose='test images of class %s' % number).permutation(len(rows))
    rest = request.shuffled(rows[order[test:]], 'split of class %s' % number, 'train')
    return {'test': rows[order[:test]], 'valid': rest[:valid], 'train': rest[valid:]}


def with_shuffled_classes(dataset, request):
    """The data set with its classes exchanged, by a draw of each group: tasks keep their sizes, and a class
    that stands in several tasks is replaced by the same one in all of them.

    Where class numbers run through several domains, a class is replaced in each by the same one.
    """
    size = dataset.source.classes_of_domain
    names = sorted({number % size if size else number for classes in dataset.tasks for number in classes})
    drawn = random_state(request.seed, request.group, purpose='classes of tasks').permutation(names).tolist()
    instead = dict(zip(names, drawn))

    def replaced(number):
        name = number % size if size else number
        return number - name + instead[name]
    return dataset._replace(tasks=tuple(tuple(map(replaced, classes)) for classes in dataset.tasks))


# ---- cuts: the tasks (functions of the data set, the index and a request; lists of TaskRows) ----

def several_classes(dataset, index, request):
    """Of each class as many images as the size table says, the same in all tasks;
    without a table all of them."""
    sizes = dataset.sizes and dict(zip(SPLITS, dataset.sizes[request.percent]))
    available = {number: dataset.splits(index, number, request)
                 for number in OrderedDict.fromkeys(number for classes in dataset.tasks
                                                    for number in classes)}
    return [TaskRows(classes, {split: _labelled(
        [available[number][split][:sizes[split] // len(classes) if sizes else None] for number in classes],
        request, task, split) for split in SPLITS}) for task, classes in enumerate(dataset.tasks)]


def two_classes(dataset, index, request):
    """One class, label 1, against another or against the rest, label 0;
    half and half where there are enough."""
    available = [dataset.splits(index, number, request) for number in range(10)]
    cuts = []
    for task, (negative, positive) in enumerate(dataset.tasks):
        splits = {}
        for split, size in zip(SPLITS, dataset.sizes[request.percent]):
            against = [negative] if negative != task_lists.REST else [
                number for number in range(len(available)) if number != positive]
            of_label = [np.concatenate([available[number][split] for number in against]),
                        available[positive][split]]
            of_label = [request.shuffled(rows, 'images of label %d' % label, split, task)
                        for label, rows in enumerate(of_label)]
            splits[split] = _labelled([rows[:count] for rows,
                                       count in zip(of_label, _halves(size, *map(len, of_label)))],
                                    request, task, split)
        cuts.append(TaskRows((negative, positive), splits))
    return cuts


def _halves(size, negatives, positives):
    """How many of each label: half each; where one is short the other makes up for it as far as it can."""
    positive = size // 2
    if positives < positive:
        positive = positives
    elif negatives < size - positive:
        positive = min(size - negatives, positives)
    return min(size - positive, negatives), positive


def _labelled(rows_of_label, request, task, split):
    """(rows, labels) in one drawn order."""
    rows = np.concatenate(rows_of_label)
    labels = np.repeat(np.arange(len(rows_of_label), dtype=np.int32), [len(some) for some in rows_of_label])
    order = request.shuffled(np.arange(len(rows)), 'order', split, task)
    return rows[order], labels[order]


def designed(dataset, index, request):
    """STL-10: classes, images, noise and channels as its design says; all test images of the classes."""
    preset, counts = dataset.tasks, train_counts(index)
    designs = stl10_designs.load(preset, request.data_dir, request.seed, counts)
    check_same(request, 'design', designs.checksum, stl10_designs.folder(request.data_dir))
    if request.say:
        stl10_designs.keep(preset, designs, request.data_dir, request.seed, request.group, request.say)
    rows = {split: [index.rows(split, number) for number in range(stl10_designs.CLASSES)]
            for split in ('train', 'test')}
    cuts = []
    for task in stl10_designs.of_group(preset, designs, request.seed, request.group, counts):
        chosen = {split: [[rows['train'][number][image] for owner, image in getattr(task, split) if owner
                           == number]
                         for number in task.classes] for split in ('train', 'valid')}
        chosen['test'] = [rows['test'][number] for number in task.classes]
        splits = {split: (np.concatenate(some).astype(np.intp), np.repeat(
            np.arange(len(some), dtype=np.int32), [len(of_class) for of_class in some]))
            for split, some in chosen.items()}
        cuts.append(TaskRows(task.classes, splits, task.noise, task.swap))
    return cuts


def train_counts(index):
    return [len(index.rows('train', number)) for number in range(stl10_designs.CLASSES)]


def own(dataset, index, request):
    """The user's own images: tasks, classes and, where the files say them, splits as in the listing; other
    splits are drawn.

    Where the listing has an order it stays.
    """
    listing, cuts = dataset.source.listing, []
    for task, classes in enumerate(dataset.tasks):
        of_class = [dataset.source.splits_of(number, np.flatnonzero(
            (listing.task == task) & (listing.label == label)), request) for label,
                    number in enumerate(classes)]
        splits = {split: [rows[split] for rows in of_class] for split in SPLITS}
        if listing.ordered:
            ordered = {split: np.sort(np.concatenate(rows)) for split, rows in splits.items()}
            splits = {split: (rows, listing.label[rows]) for split, rows in ordered.items()}
        else:
            splits = {split: _labelled(rows, request, task, split) for split, rows in splits.items()}
        cuts.append(TaskRows(classes, splits))
    return cuts


def check_same(request, what, checksum, folder):
    """An error if data differ from those that an experiment began with; `checksum()`: of the present ones."""
    if request.expected is not None and checksum() != request.expected.get(what):
        raise UserError(
            'the data in %s (on %s) are not those that this experiment began with; put those back and run '
            'the same command again (with the present ones it trains another experiment)'
            % (folder, platform.node()))
