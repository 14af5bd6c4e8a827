"""STL-10's tasks are a design: classes, noise and channel order of each task, and which images it takes.

A design is drawn from the seed, or read from a CSV file in the published format. There is one per data group;
the groups have the same tasks and differ in the images.
"""
import hashlib
import itertools
import math
import os
from typing import NamedTuple, Optional, Tuple

import numpy as np

from utils.utils import UserError, plural, random_state, write_atomically

GROUPS = 5            # that are kept in files
CLASSES = 10
NOISE_STEP = 0.025
END = '\r\n'


class Preset(NamedTuple):
    """The size of a design."""
    share: int            # percent of a class's training images that a task takes
    valid: int            # percent of those that are for validation
    tasks: int
    classes: int          # of a task

    @property
    def base(self):
        """Begin of the published file names."""
        return 'stl10_p%d_v%d_t%d_c%d' % (self.share, self.valid, self.tasks, self.classes)


class DesignedTask(NamedTuple):
    """One task of a design."""
    classes: Tuple[int, ...]                     # a class's label is its place
    noise: Optional[Tuple[float, float]]         # mean and standard deviation
    swap: Optional[Tuple[int, int, int]]         # the channels in their new order
    train: Tuple[Tuple[int, int], ...] = ()      # (class, number of the image within its class)
    valid: Tuple[Tuple[int, int], ...] = ()

    def kind(self):
        """What all groups have in common."""
        return self[:3]


# ---- drawing ----

def draw_kinds(preset, seed):
    """The tasks of a design without their images; no two tasks have the same set of classes."""
    tasks, used = [], set()
    for task in range(preset.tasks):
        state = random_state(seed, task=task, purpose='task of ' + preset.base)
        classes = ()
        while not classes or frozenset(classes) in used:
            classes = tuple(int(number) for number in state.permutation(CLASSES)[:preset.classes])
        used.add(frozenset(classes))
        mean, deviation = NOISE_STEP * int(state.randint(-2, 2)), NOISE_STEP * int(state.randint(0, 2))
        swap = tuple(itertools.permutations(range(3)))[state.randint(6)]
        tasks.append(DesignedTask(classes, (mean, deviation) if mean or deviation else None,
                                  None if swap == (0, 1, 2) else swap))
    return tasks


def draw(preset, seed, group, counts, kinds):
    """The design of a group: each class's images are parted once, and each task draws its share from the
    parts.

    Args:
        counts: number of training images of each class.
        kinds: list of DesignedTask.
    """
    pools = []
    for number, count in enumerate(counts):
        order = random_state(seed, group, step=number, purpose='pools of ' + preset.base).permutation(count)
        first = _ceil(count * preset.valid, 100)
        pools.append({'valid': order[:first], 'train': order[first:]})

    def chosen(index, task, part):
        for number in task.classes:
            state = random_state(seed, group, index, step=number, purpose='%s of %s' % (part, preset.base))
            for image in state.permutation(pools[number][part])[:_sizes(preset, counts[number])[part]]:
                yield number, int(image)

    return [task._replace(train=tuple(chosen(index, task, 'train')),
                          valid=tuple(chosen(index, task, 'valid')))
            for index, task in enumerate(kinds)]


def _sizes(preset, count):
    usable = count * preset.share // 100
    valid = _ceil(usable * preset.valid, 100)
    return {'train': usable - valid, 'valid': valid}


def _ceil(dividend, divisor):
    return -(-dividend // divisor)


# ---- files ----

def folder(data_dir):
    """Where designs are kept."""
    return os.path.join(data_dir, 'STL-10')


def file_name(preset, seed, group):
    """Designs of seed 0 carry the published names."""
    return '%s%s_s%d.csv' % (preset.base, '_seed%d' % seed if seed else '', group)


def to_text(design):
    """A design in the published CSV format."""
    rows = []
    for index, task in enumerate(design):
        rows += [('Task', index), ('Classes',) + task.classes]
        rows += [('Noise',) + task.noise] if task.noise else []
        rows += [('ChannelSwap',) + task.swap] if task.swap else []
        rows += [('TrainIndices',)] + list(task.train) + [('ValidationIndices',)] + list(task.valid)
    return ''.join(','.join(map(str, row)) + END for row in rows)


class _Rows(object):
    """The rows of a file, one after the other; an error names the row."""

    def __init__(self, path, text):
        self.path, self.at = path, 0
        self.rows = [[cell.strip() for cell in line.split(',')] for line in text.rstrip().splitlines()]

    def head(self):
        """First cell of the next row; None after the last."""
        return self.rows[self.at][0] if self.at < len(self.rows) else None

    def wrong(self, expected):
        """The error for the next row."""
        came = repr(','.join(self.rows[self.at])) if self.at < len(self.rows) else 'the end of the file'
        return UserError('%s, row %d: %s, expected %s; mend the file, or move it away to have a design drawn'
                         % (self.path, self.at + 1, came, expected))

    def take(self, word, expected, kind=int, valid=lambda numbers: True):
        """The numbers of the next row, which begins with `word` (or with a number, if that is None)."""
        try:
            cells = self.rows[self.at] if word is None else self.rows[self.at][1:]
            numbers = tuple(kind(cell) for cell in cells)
            good = (word is None or self.head() == word) and valid(numbers)
        except (IndexError, ValueError):
            good = False
        if not good:
            raise self.wrong(expected)
        self.at += 1
        return numbers


def from_text(path, text, preset, counts):
    """The design in a file's text.

    Raises:
        UserError: names the row that is malformed.
    """
    rows = _Rows(path, text)
    design = []
    while rows.head() is not None and len(design) < preset.tasks:
        design.append(_task(rows, len(design), preset, counts))
    if rows.head() is not None or len(design) < preset.tasks:
        raise rows.wrong('%d tasks, no more and no less' % preset.tasks)
    return design


def _task(rows, index, preset, counts):
    rows.take('Task', 'Task,%d' % index, valid=lambda numbers: numbers == (index,))
    classes = rows.take(
        'Classes', 'Classes and %d different numbers from 0 to %d' % (preset.classes, CLASSES - 1),
        valid=lambda numbers: len(set(numbers)) == len(numbers) == preset.classes
        and set(numbers) <= set(range(CLASSES)))
    noise = swap = None
    if rows.head() == 'Noise':
        noise = rows.take('Noise', 'Noise, a mean and a standard deviation', float,
                          lambda numbers: len(numbers) == 2
                          and all(map(math.isfinite, numbers)) and numbers[1] >= 0)
    if rows.head() == 'ChannelSwap':
        swap = rows.take('ChannelSwap', 'ChannelSwap and 0, 1, 2 in some order',
                         valid=lambda numbers: sorted(numbers) == [0, 1, 2])
    parts, seen = [], set()
    for word in ('TrainIndices', 'ValidationIndices'):
        rows.take(word, word, valid=lambda numbers: not numbers)
        part = []
        while rows.head() is not None and not rows.head()[:1].isalpha():
            part.append(rows.take(
                None, 'a class of this task (%s) and the number of an image that it does not have yet'
                % ', '.join(
                    '%d: 0 to %d' % (number, counts[number] - 1) for number in classes),
                valid=lambda pair: len(pair) == 2 and pair[0] in classes and 0 <= pair[1] < counts[pair[0]]
                and pair not in seen))
            seen.add(part[-1])
        if {number for number, _ in part} != set(classes):
            raise rows.wrong('an image of each class of the task under %s' % word)
        parts.append(tuple(part))
    return DesignedTask(classes, noise, swap, *parts)


class Designs(NamedTuple):
    """The designs of all groups that are kept in files, and where they came from."""
    groups: Tuple[Tuple[DesignedTask, ...], ...]
    read: Tuple[bool, ...]

    def checksum(self):
        """The same whether a design was read or drawn."""
        return hashlib.sha256(''.join(map(to_text, self.groups)).encode('utf-8')).hexdigest()


def load(preset, data_dir, seed, counts):
    """Designs: read from their files where these exist, else drawn. Nothing is written.

    Raises:
        UserError: a malformed file, or files that describe different tasks.
    """
    read = {}
    for group in range(GROUPS):
        path = os.path.join(folder(data_dir), file_name(preset, seed, group))
        if os.path.exists(path):
            read[group] = from_text(path, _text(path), preset, counts)
    first = min(read) if read else None
    kinds = [task.kind() for task in read[first]] if read else None
    for group in sorted(read):
        for index, task in enumerate(read[group]):
            if task.kind() != kinds[index]:
                raise UserError(
                    '%s: task %d of %s and of %s differ in classes, noise or channels; the groups must have '
                    'one design' % (folder(data_dir), index, file_name(preset, seed, first),
                                   file_name(preset, seed, group)))
    drawn = [DesignedTask(*kind) for kind in kinds] if read else draw_kinds(preset, seed)
    groups = [read[group] if group in read else draw(preset, seed, group, counts, drawn)
              for group in range(GROUPS)]
    return Designs(tuple(map(tuple, groups)), tuple(group in read for group in range(GROUPS)))


def _text(path):
    try:
        with open(path, 'rb') as stream:
            return stream.read().decode('utf-8-sig')
    except OSError as error:
        raise UserError('%s cannot be read: %s' % (path, error.strerror)) from error
    except UnicodeDecodeError as error:
        raise UserError('%s is no CSV text: %s' % (path, error)) from error


def of_group(preset, designs, seed, group, counts):
    """The design of any group; those beyond the ones in files are always drawn, on the same tasks."""
    if group < GROUPS:
        return designs.groups[group]
    return draw(preset, seed, group, counts, [DesignedTask(*task.kind()) for task in designs.groups[0]])


def keep(preset, designs, data_dir, seed, group, say):
    """Writes the designs that are in no file yet, and says which one is in use."""
    paths = [os.path.join(folder(data_dir), file_name(preset, seed, number)) for number in range(GROUPS)]
    if group >= GROUPS:
        origin = 'drawn from seed %d for group %d, on the tasks of %s' % (seed, group, paths[0])
    elif designs.read[group]:
        origin = 'read from %s' % paths[group]
    else:
        origin = 'drawn from seed %d, kept in %s' % (seed, paths[group])
    if not all(designs.read):
        try:
            os.makedirs(folder(data_dir), exist_ok=True)
            for path, design in zip(paths, designs.groups):
                if not os.path.exists(path):
                    write_atomically(path, to_text(design))
        except OSError as error:
            origin = 'drawn from seed %d, not kept: %s cannot be written (%s)' % (
                seed, folder(data_dir), error.strerror)
    say('STL-10 design: ' + origin)
    leaked = leak(designs.groups[group]) if group < GROUPS else 0
    if leaked:
        say('STL-10 design: %s both train%s a task and validate%s another' % (
            (plural(leaked, 'image'),) + (('s', 's') if leaked == 1 else ('', ''))))


def leak(design):
    """Number of images that validate one task and train another."""
    train, valid = [{image for task in design for image in getattr(task, part)}
                    for part in ('train', 'valid')]
    return len(train & valid)


# ---- images ----

class NoisyImages(object):
    """Images under a task's noise, clipped to the range of pixels and rounded to 8 bits once, when first
    used.

    Args:
        images: uint8, all of the data set.
        rows: the task's images in it.
        noise: mean and standard deviation, in units of the range of pixels.
        draw: function row -> RandomState.
    """

    def __init__(self, images, rows, noise, draw):
        self.images, self.rows, self.noise, self.draw, self.noisy = images, rows, noise, draw, None

    def __getitem__(self, selection):
        if self.noisy is None:
            self.noisy = np.empty((len(self.rows),) + self.images.shape[1:], np.uint8)
            for place, row in enumerate(self.rows):
                self.noisy[place] = self._with_noise(row)
        return self.noisy[selection]

    def _with_noise(self, row):
        mean, deviation = self.noise
        noise = self.draw(int(row)).normal(mean, deviation, self.images.shape[1:]) if deviation else mean
        return np.rint(255 * np.clip(self.images[row] / 255. + noise, 0, 1)).astype(np.uint8)
