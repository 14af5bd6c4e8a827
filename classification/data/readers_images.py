"""The reader of the user's own images: their options, their size and channels, their pixels."""
import contextlib
import hashlib
import json
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from classification.data import image_layouts, photographs, raw_checksums
from classification.data.source import Source, below
from utils.cores import cores
from utils.declarations import Check, Option, one_of, or_none, text, whole
from utils.utils import UserError, plural, read_dict, silent_libraries, size_text, write_atomically

NAME = 'Images'
# Size of images -> data set whose network and training values fit.
NETWORK_OF_SIZE = OrderedDict([(8, 'DIGITS5'), (28, 'FASHION5'), (32, 'CIFAR100_10'), (64, 'CIFAR100_10'),
                               (96, 'STL10_15t'), (128, 'OfficeHome')])
SPLIT = (60, 10, 30)
LARGEST_SIZE = 1024
SHOWN_CLASSES = 20          # of a task, in a dry run
BLOCK_BYTES = 2 ** 26       # of decoded images in memory, beside those that are being decoded


def percentages(words):
    """'60,10,30' -> (60, 10, 30)."""
    return tuple(int(part) for part in words.split(','))


SHARES = Check(percentages, lambda shares: len(shares) == 3 and min(shares) >= 1 and sum(shares) <= 100,
               'three whole percentages like 60,10,30 (training, validation, test), each at least 1 and '
               'together at most 100,')
OPTIONS = tuple(option._replace(flag=option.name) for option in (
    Option('classes_per_task', 2, whole(2),
           'own images: where classes are cut into tasks, as many are in each'),
    Option('images_layout', 'auto', one_of(*image_layouts.LAYOUTS),
           'own images: what a folder holds: PATH/CLASS/FILE (classes; deeper folders are parts of a class) '
           'or PATH/TASK/CLASS/FILE (tasks); auto: by how deep the images lie'),
    Option('split', SPLIT, SHARES,
           'own images: percentages of a class that train, validate and test, where the files do not say it '
           '(default: 60,10,30)'),
    Option('image_size', None, or_none(whole(1, LARGEST_SIZE)),
           'own images: height and width that they are resized to (default: 8, 28, 32, 64, 96 or 128, the '
           'nearest to the median of their shorter sides)'),
    Option('image_channels', None, or_none(one_of(1, 3)),
           'own images: 1 for grey, 3 for colour (default: 1 if all are grey)'),
    Option('network', None, or_none(text()),
           'own images: network and training values of this data set (default: of the one whose images have '
           'the nearest size)'),
    Option('scaling', 'unit', one_of('unit', 'standard'),
           'own images: unit: value / 255; standard: mean 0 and deviation 1 on a task\'s training images'),
))


class Facts(NamedTuple):
    """What the images themselves say."""
    side: float         # median of their shorter sides
    channels: int       # 1 where all are grey


def nearest_size(side):
    """The size of NETWORK_OF_SIZE that is nearest to a number of pixels."""
    return min(NETWORK_OF_SIZE, key=lambda size: (abs(size - side), size))


def settled(listing, given, find_facts):
    """OrderedDict name -> value of the options that mean something for a listing, with what the images say
    filled in.

    Args:
        given: dict name -> value of the options that the user gave.
        find_facts: function -> Facts.
    """
    options = OrderedDict((option.name, given.get(option.name, option.default)) for option in OPTIONS)
    if None in (options['image_size'], options['image_channels']):
        facts = find_facts()
        options['image_size'] = options['image_size'] or nearest_size(facts.side)
        options['image_channels'] = options['image_channels'] or facts.channels
    options['network'] = options['network'] or NETWORK_OF_SIZE[nearest_size(options['image_size'])]
    for name, _ in without_meaning(listing):
        del options[name]
    if 'images_layout' in options:
        options['images_layout'] = listing.layout
    return options


def without_meaning(listing):
    """(option, why) of those that change nothing here."""
    rows = (('classes_per_task', not listing.cut, 'the files say the tasks'),
            ('images_layout', listing.layout in ('csv', 'npz'), 'it is about folders'),
            ('split', 'valid' in listing.split_names, 'the files say the splits'))
    return [(name, why) for name, unused, why in rows if unused]


class OwnImages(Source):
    """The images of a listing. A class's number is its place among the classes of all tasks.

    Args:
        listing: image_layouts.Listing; None: none was chosen.
        options: what `settled` gave.
    """
    fetched = False
    grows = True
    bar = False         # whether decoding shows a progress bar on a terminal

    def __init__(self, listing=None, options=()):
        options = dict(options)
        shape = (options.get('image_size'),) * 2 + (options.get('image_channels'),)
        super(OwnImages, self).__init__('images', 'own images', shape, 'your files', '', below())
        self.listing, self.options = listing, options
        classes = listing.tasks if listing else ()
        # number of each task's first class
        self.first = np.cumsum([0] + [len(names) for _, names in classes])
        self.names = [name for _, names in classes for name in names]

    def named_tasks(self):
        return self.listing.tasks

    @property
    def tasks(self):
        """The class numbers of each task."""
        return tuple(tuple(range(start, end)) for start,
                     end in zip(self.first.tolist(), self.first[1:].tolist()))

    def find(self, data_dir):
        listing = self.listing
        if listing is None:
            raise UserError(
                '--data_type %s needs --images PATH: a folder, a .csv or an .npz file with your images'
                % NAME)
        if listing.layout == 'npz':
            return listing.path, OrderedDict([('npz', listing.path)])
        return listing.path, OrderedDict(pair for task in range(len(listing.tasks))
                                         for pair in self._files_of(task))

    def _files_of(self, task):
        """(role, path) of each image of a task;
        the role says all that the listing knows of it, and its place."""
        base = os.path.dirname(self.listing.path) if self.listing.layout == 'csv' else self.listing.path
        rows = np.flatnonzero(self.listing.task == task)
        for place, image in enumerate(self.listing.images[row] for row in rows):
            yield '%d %s %s %s %s' % (place, image.task or '', image.name, image.split or '',
                                      os.path.relpath(image.source, base)), image.source

    def labels(self, data_dir):
        self.files(data_dir)
        return OrderedDict([('all', (self.first[self.listing.task] + self.listing.label).astype(np.int32))])

    def name_of(self, number):
        return self.names[number]

    def splits_of(self, number, rows, request):
        """dict split -> rows of a class: as the files say, else drawn in each group.

        Where the files say only train and test, some of train validate.

        Args:
            number: of the class.
            rows: of its images.
            request: gen_data.Request.
        """
        given, shares = self.listing.split, self.options.get('split')
        splits = {split: rows if given is None else rows[given[rows] == split]
                  for split in ('train', 'valid', 'test')}
        if shares is None:
            return splits
        drawn = OrderedDict(zip(('train', 'valid', 'test'), shares))
        total = 100
        if given is not None:
            del drawn['test']
            total = sum(drawn.values())
        order = request.shuffled(splits['train'], 'split of class %d' % number, 'train')
        sizes = OrderedDict((split, max(len(order) * share // total, 1)) for split, share in drawn.items())
        sizes['train'] = min(sizes['train'], len(order) - sum(sizes.values()) + sizes['train'])
        if sizes['train'] < 1:
            raise UserError('%s: class %s has %s for %s; at least %d are needed' % (
                self.listing.path, self.name_of(number), plural(len(order), 'image'), ', '.join(drawn),
                sum(sizes.values()) - sizes['train'] + 1))
        ends = np.cumsum(list(sizes.values()))
        return dict(splits, **{split: order[end - sizes[split]:end] for split, end in zip(drawn, ends)})

    def described(self):
        lines = ['task %d%s: %s' % (number, ' (%s)' % name if name else '',
                                    image_layouts.listed(classes, SHOWN_CLASSES))
                 for number, (name, classes) in enumerate(self.listing.tasks)]
        count, (height, width, channels) = len(self.listing.images), self.image_shape
        beside = 'an array of the .npz file' if self.listing.layout == 'npz' else 'two decoded files per core'
        return lines + [
            'memory: %s of %dx%dx%d, %s in the cache, read as needed; decoding takes at most %s, and %s' % (
                plural(count, 'image'), height, width, channels, size_text(count * height * width * channels),
                size_text(BLOCK_BYTES), beside)]

    def look_at(self, images, rows_of_splits, say):
        equal = equal_in_two_splits(images, rows_of_splits)
        if equal and say:
            say('warning: %s in two splits, pixel by pixel; accuracies on them say little' % (
                '1 picture is' if equal == 1 else '%d pictures are' % equal))

    def task_checksums(self, data_dir):
        """SHA-256 of each task: the content of its files, in their order, and what the listing says of
        them."""
        if self.listing.layout == 'npz':
            whole_file = raw_checksums.checksum(data_dir, self.name, self.files(data_dir), self.version)
            return [_sha256('%s %s' % (whole_file, names)) for names in self.listing.tasks]
        return [_sha256('%s %s' % (raw_checksums.checksum(
            data_dir, self.name, OrderedDict(self._files_of(task)), self.version),
                                   list(map(os.fsencode, names))))
            for task, (_, names) in enumerate(self.listing.tasks)]

    def checksum(self, data_dir):
        return _sha256(' '.join(self.task_checksums(data_dir)))

    def recipe(self):
        shape = 'uint8 %dx%dx%d' % self.image_shape
        if self.listing.layout == 'npz':
            return shape
        cv2, skimage = photographs.packages('--images')
        return '%s, task by task, decoded by %s, resized by %s' % (
            shape, cv2.__version__, skimage.__version__)

    def decode(self, data_dir, say):
        """Yields the images in blocks: BLOCK_BYTES in memory, and one file per core (an .npz: one of its
        arrays)."""
        count = len(self.listing.images)
        say('own images: decoding %s, once' % plural(count, 'image'))
        return self._in_blocks(self._pixels, max(1, BLOCK_BYTES // int(np.prod(self.image_shape))))

    def _in_blocks(self, work, size):
        """Yields np.stack of what `work` gives for each file (of an .npz: each image), so many at a time."""
        from tqdm import tqdm
        images, of_files = self.listing.images, self.listing.layout != 'npz'
        if of_files:
            photographs.packages('--images')
        # A duplicate of the terminal, since the libraries' own words are thrown away meanwhile. All threads
        # end with a block, at an error too: one that is still in OpenCV when the process ends makes it abort.
        with os.fdopen(os.dup(2), 'w') as screen, tqdm(
                total=len(images), unit='image', leave=False, file=screen, disable=None if self.bar
                else True) as shown:
            with self._arrays() as arrays:
                for start in range(0, len(images), size):
                    sources = [image.source for image in images[start:start + size]]
                    results = []
                    with silent_libraries(), ThreadPoolExecutor(cores()) as workers:
                        for result in workers.map(work, sources if of_files else [
                                arrays[name][row] for name, row in sources]):
                            results.append(result)
                            shown.update()
                    yield np.stack(results)

    @contextlib.contextmanager
    def _arrays(self):
        """dict name -> array of an .npz file, the one that was asked for last in memory;
        None where there are files."""
        if self.listing.layout != 'npz':
            yield None
            return
        with image_layouts.opened_npz(self.listing.path) as file:
            yield _Arrays(self.listing.path, file)

    def _pixels(self, source):
        """One image, of a file or an array, as uint8 of the shape of all."""
        if isinstance(source, np.ndarray):
            image = _colours(source, self.image_shape[-1])
            return image if image.shape == self.image_shape else photographs.resized(image, self.image_shape)
        return self._decoded(source, lambda content: photographs.picture(content, self.image_shape))

    def _decoded(self, path, decode):
        """The image that `decode` makes of a file's bytes."""
        content = self.read(path)
        image = decode(content)
        if image is None:
            raise self.broken(path, 'is damaged or no image (%d bytes)' % len(content))
        return image

    def broken(self, path, what):
        return UserError('%s: %s; put a whole image there, or take the file away' % (path, what))

    # ---- what the images say ----

    def facts(self, data_dir, say):
        """Facts of the images; found once, and kept in the cache."""
        path = os.path.join(data_dir, 'cache', 'images-facts-%s.json' % self.checksum(data_dir)[:16])
        known = read_dict(path)
        if isinstance(known.get('side'), float) and known.get('channels') in (1, 3):
            return Facts(known['side'], known['channels'])
        say('own images: looking at the size of %s, once' % plural(len(self.listing.images), 'image'))
        rows = np.concatenate(list(self._in_blocks(self._side_and_channels, 10000)))
        found = Facts(float(np.median(rows[:, 0])), int(rows[:, 1].max()))
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_atomically(path, json.dumps(found._asdict()))
        return found

    def _side_and_channels(self, source):
        image = source
        if not isinstance(source, np.ndarray):
            import cv2
            image = self._decoded(source,
                                  lambda content: photographs.decoded(content, cv2.IMREAD_UNCHANGED))
        return min(image.shape[:2]), 1 if image.ndim == 2 or image.shape[2] < 3 else 3


class _Arrays(object):
    """The arrays of pixels of an .npz file as uint8, one at a time."""

    def __init__(self, path, file):
        self.path, self.file, self.name, self.array = path, file, None, None

    def __getitem__(self, name):
        if name != self.name:
            self.name, self.array = None, None
            array = self.file[name]
            if array.dtype != np.uint8:
                if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
                    raise UserError(
                        '%s: %s has values outside [0, 1]; float images need values in [0, 1], others uint8'
                        % (self.path, name))
                array = np.rint(array * 255).astype(np.uint8)
            self.name, self.array = name, array
        return self.array


def _colours(image, channels):
    """[height, width, channels] of a grey or colour image; grey as television weighs the colours."""
    image = image[..., np.newaxis] if image.ndim == 2 else image
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    return np.rint(image.astype(np.float32).dot(np.float32([0.299, 0.587, 0.114]))).astype(np.uint8)[
        ..., np.newaxis]


def equal_in_two_splits(images, rows):
    """Number of different pictures that are, pixel by pixel, in two splits or more.

    Args:
        rows: for each split, the rows of its images.
    """
    splits_of = {}
    for place, some in enumerate(rows):
        for row in np.unique(some):
            splits_of.setdefault(hashlib.blake2b(np.ascontiguousarray(images[row]).data,
                                                 digest_size=16).digest(),
                                 set()).add(place)
    return sum(len(places) > 1 for places in splits_of.values())


def _sha256(words):
    return hashlib.sha256(words.encode('utf-8', 'surrogateescape')).hexdigest()
