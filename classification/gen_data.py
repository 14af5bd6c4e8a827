"""The data sets: each one declared, its reader beside it, and how they are cut into the tasks of one data
group."""
from collections import OrderedDict
from typing import Any, Callable, NamedTuple, Optional, Tuple

import numpy as np

from classification.data import (
    image_layouts,
    readers,
    readers_images,
    splits_file,
    stl10_designs,
    task_lists,
)
from classification.data.readers_officehome import OFFICEHOME, OFFICEHOME_PRODUCT
from classification.data.stl10_designs import NoisyImages, Preset
from classification.data.task_rows import (
    AS_DECLARED,
    SMALL,
    SPLITS,
    Composition,  # noqa: F401  also others have it from here
    Index,
    Request,
    as_given,
    check_same,
    designed,
    fixed_thirty_test,
    one_sixth_validates,
    own,
    several_classes,
    sixty_ten_thirty,
    thinned,
    train_counts,
    two_classes,
    with_shuffled_classes,
)
from utils import declarations
from utils import utils_env_cl as env
from utils.utils import UserError, lookup, plural, random_state

DEFAULT_PERCENT = 100
BLOCK = 1000    # images that are counted at a time


class Split(NamedTuple):
    """Training, validation or test images of a task, 8 bits a value (but see augmentation.EnlargedImages);
    the network sees pixel * scale + offset."""
    labels: np.ndarray                # int32 [size], from 0
    scale: np.ndarray                 # float32 [channels]
    offset: np.ndarray                # float32 [channels]
    pixels: Any                       # array of images, shared by all splits
    rows: np.ndarray                  # [size]: the images of this split
    swap: Optional[Tuple[int, ...]]   # the channels in another order

    @property
    def size(self):
        """Number of images."""
        return len(self.labels)

    @property
    def noisy(self):
        """Whether noise was added to the images."""
        return isinstance(self.pixels, NoisyImages)

    @property
    def image_rows(self):
        """[size]: rows of the images among all images of the data set."""
        return self.pixels.rows[self.rows] if self.noisy else self.rows

    def images(self, selection=None):
        """uint8 (or float32) [size or len(selection), height, width, channels]."""
        images = self.pixels[self.rows if selection is None else self.rows[selection]]
        return np.ascontiguousarray(images if self.swap is None else images[..., list(self.swap)])

    def seen(self, selection=None):
        """float32, same shape as `images`: what the network sees."""
        return self.images(selection).astype(np.float32) * self.scale + self.offset


class Task(NamedTuple):
    """One task of one data group."""
    index: int
    num_classes: int
    train: Split
    valid: Split
    test: Split
    classes: Tuple[Any, ...]          # names or numbers; a class's label is its place


# ---- the table ----

class Dataset(NamedTuple):
    """A data set cut into tasks."""
    help: str
    family: str                       # key of the hyper-parameters
    source: readers.Source
    cut: Callable                     # several_classes, two_classes, designed
    tasks: Any                        # classes of each task; a Preset for a designed data set
    splits: Optional[Callable] = None
    sizes: Optional[dict] = None      # --data_percent -> images of a task for training, validation, test
    # scale and offset; None: standardised per channel
    scaling: Optional[Tuple[float, float]] = (1 / 255., 0.)
    # images that a class needs to have one in each split; None: the files say their splits
    least: Optional[int] = None
    options: Tuple[Any, ...] = ()     # declarations.Option
    version: int = 1                  # numeric version
    normalize: Optional[str] = None   # whose statistics standardise a split; None: --normalize says it
    origin: Optional[str] = None      # of a plug-in: its file

    @property
    def image_shape(self):
        """Height, width, channels."""
        return self.source.image_shape

    @property
    def num_tasks(self):
        """Number of tasks."""
        return self.tasks.tasks if isinstance(self.tasks, Preset) else len(self.tasks)


PAIRS, AGAINST_REST = task_lists.TEN_CLASSES_IN_PAIRS, task_lists.TEN_CLASSES_AGAINST_REST
STANDARDISED, CENTRED, SIXTEENTHS = None, (1 / 255., -0.5), (1 / 16., 0.)

DATASETS = OrderedDict([
    ('MNIST5', Dataset('digit 2t or 2t + 1', 'mnist5', readers.MNIST, two_classes, PAIRS, as_given,
                       task_lists.MNIST5_SIZES)),
    ('MNIST10', Dataset('digit t or another', 'mnist10', readers.MNIST, two_classes, AGAINST_REST,
                        thinned(as_given), task_lists.MNIST10_SIZES)),
    ('FASHION5', Dataset('article 2t or 2t + 1', 'fashion', readers.FASHION, two_classes, PAIRS, as_given,
                         task_lists.MNIST5_SIZES)),
    ('FASHION10', Dataset('article t or another', 'fashion', readers.FASHION, two_classes, AGAINST_REST,
                          thinned(as_given), task_lists.MNIST10_SIZES)),
    ('CIFAR10_5', Dataset('class 2t or 2t + 1', 'cifar10_5', readers.CIFAR10, two_classes, PAIRS,
                          one_sixth_validates, task_lists.CIFAR10_SIZES, STANDARDISED)),
    ('CIFAR10_10', Dataset('class t or another', 'cifar10_10', readers.CIFAR10, two_classes, AGAINST_REST,
                           thinned(one_sixth_validates), task_lists.CIFAR10_SIZES, STANDARDISED)),
    ('CIFAR100_10', Dataset('10 classes each, all different', 'cifar100', readers.CIFAR100, several_classes,
                            task_lists.CIFAR100_TEN_TASKS, one_sixth_validates, task_lists.CIFAR100_SIZES,
                            STANDARDISED)),
    ('CIFAR100_20', Dataset('10 classes each, every class in 2 tasks', 'cifar100', readers.CIFAR100,
                            several_classes,
                            task_lists.CIFAR100_TWENTY_TASKS, one_sixth_validates, task_lists.CIFAR100_SIZES,
                            STANDARDISED)),
    ('CIFAR100_40', Dataset('10 classes each, every class in 4 tasks', 'cifar100', readers.CIFAR100,
                            several_classes,
                            task_lists.CIFAR100_FORTY_TASKS, one_sixth_validates, task_lists.CIFAR100_SIZES,
                            STANDARDISED)),
    ('OfficeHome', Dataset('13 classes each, products and then photographs', 'officehome', OFFICEHOME,
                           several_classes, task_lists.OFFICEHOME_TASKS, sixty_ten_thirty, least=3)),
    ('OfficeHome_Incremental', Dataset('products, 3 to 8 classes', 'officehome', OFFICEHOME_PRODUCT,
                                       several_classes,
                                       task_lists.OFFICEHOME_INCREMENTAL_TASKS, sixty_ten_thirty, least=3)),
    ('STL10_15t', Dataset('5 classes each, noise and channel order change', 'stl10', readers.STL10, designed,
                          Preset(share=10, valid=50, tasks=15, classes=5), scaling=CENTRED)),
    ('STL10_20t', Dataset('3 classes each, noise and channel order change', 'stl10', readers.STL10, designed,
                          Preset(share=25, valid=15, tasks=20, classes=3), scaling=CENTRED)),
    ('DIGITS5', Dataset('digit 2t or 2t + 1, 8 x 8 pixels, needs no download', 'digits5', readers.DIGITS,
                        several_classes, task_lists.DIGIT_PAIRS, fixed_thirty_test, scaling=SIXTEENTHS)),
    # Without tasks and family before `choose_options` is told which images.
    ('Images', Dataset('your own images: --images PATH', None, readers_images.OwnImages(), own, (),
                        options=readers_images.OPTIONS)),
])


def add(name, dataset):
    """Adds a data set of a plug-in; see data_sets.data_set.

    Raises:
        UserError: the name is taken.
    """
    if name.lower() in [known.lower() for known in DATASETS] or name in env.TRAINING:
        raise UserError('data set %s exists already; choose another name' % name)
    DATASETS[name] = dataset._replace(origin=declarations.loading())


def choose_options(data_type, options, images=None, num_tasks=None, tasks=None, bar=False):
    """From now on the data set has these options (dict name -> value).

    Args:
        images: path of own images; None for other data sets.
        num_tasks: of own images, the first ones only; None for all.
        tasks: their order, as the attribute of a Listing; None: the natural one.
        bar: show a progress bar if stderr is a terminal.
    """
    if images is not None:
        listing = image_layouts.read(images, options.get('images_layout', 'auto'),
                                     options.get('classes_per_task', 2))
        # files that changed are found by their checksums
        listing = tasks and listing.continuing(tasks) or listing
        source = readers_images.OwnImages(listing.first(num_tasks or len(listing.tasks)), options)
        source.bar = bar
        standard = options['scaling'] == 'standard'
        DATASETS[data_type] = DATASETS[data_type]._replace(
            family=DATASETS[options['network']].family, source=source, tasks=source.tasks,
            scaling=STANDARDISED if standard else (1 / 255., 0.), normalize='train' if standard else None)
    elif options:
        DATASETS[data_type].source.options = dict(options)


# ---- what others call ----

def check_request(data_type, data_percent, data_dir):
    """Whether the data can be had, found out before anything is loaded.

    Args:
        data_type: name of a row of DATASETS.
        data_percent: row of its size table; None for the default.
        data_dir: folder of the raw data.
    Raises:
        UserError: an unknown name or percentage; a missing file.
    """
    dataset = lookup(DATASETS, data_type, 'data_type')
    percent_of(data_type, dataset, data_percent)
    dataset.source.files(data_dir)


def checksums(data_type, data_dir, seed, given=False):
    """Everything about the data that determines numbers: {'raw': SHA-256, 'design': SHA-256 or None}.

    Of own images also 'tasks': list of SHA-256.

    Args:
        given: whether the tasks are given, and no design is asked for.
    """
    dataset = lookup(DATASETS, data_type, 'data_type')
    design = None
    with dataset.source.one_version():
        if dataset.cut is designed and not given:
            counts = train_counts(Index(dataset.source.labels(data_dir)))
            design = stl10_designs.load(dataset.tasks, data_dir, seed, counts).checksum()
        found = {'raw': dataset.source.checksum(data_dir), 'design': design}
        of_tasks = dataset.source.task_checksums(data_dir)
        return found if of_tasks is None else dict(found, tasks=of_tasks)


def folder_of(data_type, data_dir):
    """Real path of the folder that the raw data are read from; 'scikit-learn (bundled)' for the digits."""
    return lookup(DATASETS, data_type, 'data_type').source.folder(data_dir)


def origin(data_type, folder):
    """The line that says where data are read from; `folder` as `folder_of` gives it."""
    return 'data: %s from %s' % (lookup(DATASETS, data_type, 'data_type').source.title, folder)


def has_small_classes(data_type, data_dir):
    """Whether a class has so few images that each split is given one, which it was not at first."""
    dataset = lookup(DATASETS, data_type, 'data_type')
    if not dataset.least:
        return False
    counts = np.concatenate([np.bincount(labels) for labels in dataset.source.labels(data_dir).values()])
    return bool(((counts > 0) & (counts < SMALL)).any())


def task_sizes(data_type, data_dir, data_percent=None, seed=0, group=0, num_tasks=None,
               composition=AS_DECLARED, index=None):
    """List of (index, classes, training, validation, test images), one for each task; decodes no image.

    `index`: what `index_of` gave, where several data groups are asked for.
    """
    dataset = lookup(DATASETS, data_type, 'data_type')
    request = Request(data_dir, percent_of(data_type, dataset, data_percent), seed, group)
    index = index or index_of(data_type, data_dir)
    return [(task, len(cut.classes)) + tuple(len(cut.splits[split][0]) for split in SPLITS)
            for task, cut in enumerate(_cut(data_type, dataset, index, request, num_tasks, composition))]


def index_of(data_type, data_dir):
    """The task_rows.Index of a data set."""
    return Index(lookup(DATASETS, data_type, 'data_type').source.labels(data_dir))


def task_classes(data_type, data_dir, data_percent=None, seed=0, group=0, num_tasks=None,
                 composition=AS_DECLARED):
    """List of the names or numbers of each task's classes, as `Task.classes` has them; decodes no image."""
    dataset = lookup(DATASETS, data_type, 'data_type')
    request = Request(data_dir, percent_of(data_type, dataset, data_percent), seed, group)
    with dataset.source.one_version():
        index = index_of(data_type, data_dir)
        return [_names(dataset, cut)
                for cut in _cut(data_type, dataset, index, request, num_tasks, composition)]


def prepare(data_type, data_dir, say):
    """Decodes the images, which no other check does, and keeps them for `load_tasks`;
    a UserError names a damaged file."""
    lookup(DATASETS, data_type, 'data_type').source.images(data_dir, say)


def load_tasks(data_type, data_dir, data_percent=None, seed=0, group=0, normalize='split', num_tasks=None,
               say=print, expected=None, composition=AS_DECLARED, keep=None):
    """The tasks of one data group, labels and images of one version of the files.

    Args:
        data_type, data_percent, data_dir: as in `check_request`.
        seed, group: of the draws; a trial uses the group of its number.
        normalize: 'split' or 'train': whose statistics standardise a split, where the data set is
            standardised.
        num_tasks: the first ones only; None for all.
        say: function of one line for the user.
        expected: what `checksums` gave when the experiment began; None: whatever is there now.
        composition: where the tasks come from.
        keep: path of the file of classes and rows that is written; None: none.
    Returns:
        list of Task.
    Raises:
        UserError: missing, damaged or too few data, or others than expected.
    """
    dataset = lookup(DATASETS, data_type, 'data_type')
    request = Request(data_dir, percent_of(data_type, dataset, data_percent), seed, group, say, expected)
    with dataset.source.one_version():
        if expected is not None:
            source = dataset.source
            check_same(request, 'raw', lambda: source.checksum(data_dir), source.folder(data_dir))
        index = index_of(data_type, data_dir)
        cuts = _cut(data_type, dataset, index, request, num_tasks, composition)
        if composition.given is not None:
            request = request._replace(seed=composition.given.seed)
        if keep is not None:
            splits_file.save(keep, splits_file.Splits(
                data_type, request.seed, group, cuts,
                [_names(dataset, cut) for cut in cuts],
                dataset.source.checksum(data_dir), index.checksum()))
        images = dataset.source.images(data_dir, say)
    dataset.source.look_at(images, [np.concatenate([cut.splits[split][0] for cut in cuts])
                                    for split in SPLITS], say)
    return [_task(dataset, index, cut, images, request, normalize) for index, cut in enumerate(cuts)]


def percent_of(data_type, dataset, percent):
    """The row of the table of data sizes, or None if there is no such table;
    a UserError if there is no such row."""
    if dataset.sizes is None:
        return None
    percent = DEFAULT_PERCENT if percent is None else percent
    if percent not in dataset.sizes:
        raise UserError('--data_percent %s: %s has no such row; choose one of %s'
                        % (percent, data_type, ', '.join(map(str, sorted(dataset.sizes)))))
    return percent


def _cut(data_type, dataset, index, request, num_tasks, composition):
    """List of TaskRows; says in one line where the data are fewer than the size table asks for."""
    if composition.given is not None:
        return splits_file.checked(composition.given, data_type, index, dataset.cut is designed,
                                   num_tasks or dataset.num_tasks)
    if composition.shuffled:
        dataset = with_shuffled_classes(dataset, request)
    cuts = dataset.cut(dataset, index, request)[:num_tasks]
    for task, cut in enumerate(cuts):
        for split in SPLITS:
            _check_classes('%s, task %d' % (data_type, task), dataset, index, request, cut, split)
    if dataset.sizes and request.say:
        _say_fewer(data_type, dataset.sizes[request.percent], cuts, request)
    return cuts


def _check_classes(where, dataset, index, request, cut, split):
    """A UserError if a split of a task lacks a class that it needs."""
    labels = cut.splits[split][1]
    absent = sorted(set(range(len(cut.classes))) - set(labels.tolist()))
    if not absent or (not dataset.least and split == 'valid' and len(labels)):
        return
    number = cut.classes[absent[0]]
    if dataset.least:
        raise UserError('%s: class %s has %s, at least %d are needed, one each to train, validate and test'
                        % (where, dataset.source.name_of(number), plural(index.count(number), 'image'),
                           dataset.least))
    raise UserError('%s: no %s image of class %s; %ssee to it that the files in %s are complete' % (
        where, SPLITS[split], number, 'take a larger --data_percent, or ' if dataset.sizes else '',
        request.data_dir))


def _say_fewer(data_type, sizes, cuts, request):
    """Says which splits of which tasks have fewer images than the row of the size table."""
    lines = []
    for split, size in zip(SPLITS, sizes):
        counts = [(task, len(cut.splits[split][1])) for task, cut in enumerate(cuts)]
        fewer = OrderedDict((task, count) for task, count in counts if count < size)
        if fewer:
            found = ' to '.join(map(str, sorted({min(fewer.values()), max(fewer.values())})))
            where = 'each task' if len(fewer) == len(cuts) else 'task ' + ', '.join(map(str, fewer))
            lines.append('%s of %d %s images in %s' % (found, size, SPLITS[split], where))
    if lines:
        request.say('%s at %d %%: fewer images exist than asked for, all are used: %s' % (
            data_type, request.percent, '; '.join(lines)))


def _task(dataset, index, cut, images, request, normalize):
    splits, scaling = {}, None
    for split in SPLITS:
        rows, labels = cut.splits[split]
        if dataset.scaling is not STANDARDISED:
            scaling = [np.full(images.shape[-1], value, np.float32) for value in dataset.scaling]
        elif scaling is None or normalize == 'split':
            scaling = _standardisation(images[rows])
        pixels = images
        if cut.noise:
            pixels = NoisyImages(images, rows, cut.noise, lambda row: random_state(
                request.seed, task=index, step=row, purpose='stl10 noise'))
            rows = np.arange(len(rows))
        splits[split] = Split(labels, scaling[0], scaling[1], pixels, rows, cut.swap)
    return Task(index, len(cut.classes), classes=_names(dataset, cut), **splits)


def _names(dataset, cut):
    return tuple(number if number == task_lists.REST else dataset.source.name_of(number)
                 for number in cut.classes)


def _standardisation(images):
    """Scale and offset that give each channel mean 0 and deviation 1 over all pixels of these images.

    The sums are whole numbers, so the result does not depend on the order of the images or on the machine.
    """
    scale, offset = [], []
    for channel in range(images.shape[-1]):
        counts = sum(np.bincount(images[start:start + BLOCK, ..., channel].ravel(), minlength=256)
                     for start in range(0, len(images), BLOCK))       # which makes eight bytes of each
        number, total, squares = [int((counts * np.arange(256, dtype=np.int64) ** power).sum())
                                  for power in range(3)]
        mean = total / number / 255
        deviation = (number * squares - total ** 2) ** 0.5 / number / 255
        deviation = max(deviation, number ** -0.5)
        scale.append(1 / (255 * deviation))
        offset.append(-mean / deviation)
    return np.array(scale, np.float32), np.array(offset, np.float32)
