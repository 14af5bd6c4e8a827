"""Own images as they lie on disk: which tasks, classes and splits a folder, a CSV or an .npz file means.
Decodes none."""
import contextlib
import csv
import os
import re
import unicodedata
import zipfile
import zlib
from collections import OrderedDict
from typing import Any, NamedTuple, Optional, Tuple

import numpy as np

from classification.data.photographs import ENDINGS
from utils.utils import UserError, plural

# as files spell the splits
SPLIT_WORDS = {'train': 'train', 'val': 'valid', 'valid': 'valid', 'test': 'test'}
LAYOUTS = ('auto', 'classes', 'tasks')
COLUMNS, SPLIT_COLUMN = ('task', 'class', 'file'), 'split'
SHOWN = 4            # names in a message


class Image(NamedTuple):
    """One image of a listing, as the files describe it."""
    task: Optional[str]          # None: the classes are cut into tasks
    name: str                    # of its class
    split: Optional[str]         # None: it is drawn
    source: Any                  # path of its file; (array, row) in an .npz file


class Listing(NamedTuple):
    """The images of one task after the other, each in the order of the files; folders in natural order."""
    path: str
    layout: str                                        # 'classes', 'tasks', 'csv' or 'npz'
    # (name, classes) of each; a label is a place in the classes
    tasks: Tuple[Tuple[str, Tuple[str, ...]], ...]
    images: Tuple[Image, ...]
    task: np.ndarray             # of each image
    label: np.ndarray            # of each image
    split: Optional[np.ndarray]  # of each image: 'train', 'valid' or 'test'; None: all are drawn
    ordered: bool                # the order of the images means something
    cut: int                     # so many classes were cut into each task; 0: the files say the tasks
    other_notes: Tuple[str, ...]  # what the user should know of the files

    def first(self, num_tasks):
        """The listing of the first tasks only."""
        kept = np.flatnonzero(self.task < num_tasks)
        return self._replace(
            tasks=self.tasks[:num_tasks], images=tuple(self.images[row] for row in kept),
            task=self.task[kept],
            label=self.label[kept], split=None if self.split is None else self.split[kept])

    @property
    def notes(self):
        """Lines that the user should know."""
        return self.other_notes + tuple(
            'class %s, the only one left over, joins task %d' % (classes[-1], task)
            for task, (_, classes) in enumerate(self.tasks) if self.cut and len(classes) > self.cut)

    def continuing(self, tasks):
        """The listing whose tasks begin with these, of a listing that was read earlier; the others follow in
        their order. None: one of these is no longer there, or has other classes.

        Args:
            tasks: as the attribute of the earlier listing.
        """
        tasks = tuple((name, tuple(classes)) for name, classes in tasks)
        mine = self.tasks
        if self.cut:
            known = {of_class for _, classes in tasks for of_class in classes}
            others = [of_class for _, classes in mine for of_class in classes if of_class not in known]
            if known - {of_class for _, classes in mine for of_class in classes} or len(others) == 1:
                return None
            mine = tasks + (_cut(others, self.cut) if others else ())
        elif not set(tasks) <= set(mine):
            return None
        else:
            mine = tasks + tuple(task for task in mine if task not in tasks)
        return _arranged(self._replace(tasks=mine))

    @property
    def split_names(self):
        """The splits that the files say."""
        return set() if self.split is None else set(self.split.tolist())


def read(path, layout='auto', classes_per_task=2):
    """The Listing of a folder, a .csv or an .npz file.

    Args:
        layout: one of LAYOUTS, for a folder.
        classes_per_task: where classes are cut into tasks.
    Raises:
        UserError: there is no such file or folder, or it is not as it should be.
    """
    ending = os.path.splitext(path)[1].lower()
    if os.path.isdir(path):
        kind, images, notes = _folder(path, layout)
    elif not os.path.isfile(path):
        raise UserError('--images %s: there is no such file or folder' % path)
    elif ending == '.csv':
        kind, images, notes = 'csv', _csv(path), ()
    elif ending == '.npz':
        kind, images, notes = 'npz', _npz(path), ()
    else:
        raise UserError('--images %s: a folder, a .csv or an .npz file is needed' % path)
    return _listing(path, kind, images, notes, classes_per_task)


def natural(text):
    """A key that sorts class2 before class10."""
    parts = re.split('([0-9]+)', text)
    return [(len(part.lstrip('0')), part.lstrip('0')) if place % 2 else part.casefold()
            for place, part in enumerate(parts)], text


def listed(names, shown=SHOWN):
    """'a, b and 3 more'."""
    names = list(names)
    return ', '.join(names[:shown]) + (' and %d more' % (len(names) - shown) if len(names) > shown else '')


def images_below(folder):
    """Paths of the image files in a folder and the folders in it, in natural order."""
    return [os.path.join(folder, *(parts + (name,))) for parts, names in _tree(folder, []).items()
            for name in names]


# ---- tasks and classes, whatever the files ----

def _listing(path, layout, images, notes, classes_per_task):
    """The Listing of these images, checked."""
    cut = bool(images) and images[0].task is None
    if not images:
        raise UserError('--images %s: no image in it' % path)
    if cut:
        tasks = _cut(sorted({image.name for image in images}, key=natural), classes_per_task)
    else:
        names = OrderedDict((task, set()) for task in sorted({image.task for image in images}, key=natural))
        for image in images:
            names[image.task].add(image.name)
        tasks = tuple((task, tuple(sorted(classes, key=natural))) for task, classes in names.items())
    for name, classes in tasks:
        _check_classes(path, name, classes)
    made = _arranged(Listing(path, layout, tasks, tuple(images), None, None, None, layout in ('csv', 'npz'),
                             classes_per_task if cut else 0, tuple(notes)))
    if made.split is not None:
        _check_splits(made)
    return made


def _arranged(listing):
    """The listing with its images where its tasks have them, each task's in the order of the files."""
    numbers = {(None if listing.cut else name, of_class): (task, label)
               for task, (name, classes) in enumerate(listing.tasks)
               for label, of_class in enumerate(classes)}
    places = np.array([numbers[image.task, image.name] for image in listing.images], np.int32)
    # an .npz file is read array by array
    order = np.arange(len(places)) if listing.layout == 'npz' else np.argsort(places[:, 0], kind='mergesort')
    images = tuple(listing.images[row] for row in order)
    split = np.array([image.split for image in images]) if images[0].split is not None else None
    return listing._replace(images=images, task=places[order, 0], label=places[order, 1], split=split)


def _cut(classes, size):
    """Tasks of so many classes each; a single class that is left over joins the task before."""
    starts = list(range(0, len(classes), size))
    if len(starts) > 1 and len(classes) - starts[-1] == 1:
        starts = starts[:-1]
    ends = starts[1:] + [len(classes)]
    return tuple(('', tuple(classes[start:end])) for start, end in zip(starts, ends))


def _check_classes(path, task, classes):
    where = '--images %s%s' % (path, ', task %s' % task if task else '')
    if len(classes) < 2:
        raise UserError('%s: %s is the only class; a task needs at least 2' % (where, classes[0]))
    spellings = {}
    for name in classes:
        spelling = re.sub(r'[\s_-]+', ' ', unicodedata.normalize('NFC', name.strip())).casefold()
        other = spellings.setdefault(spelling, name)
        if other != name:
            raise UserError(
                '%s: classes %s and %s look like one class under two spellings; give them one name, or names '
                'that differ in more than case, blanks, _, - and the coding of accents'
                % (where, other, name))


def _check_splits(listing):
    """Each class has images in each split that the files say, which must be train and test at least."""
    names = listing.split_names
    for split in ('train', 'test'):
        if split not in names:
            raise UserError(
                '--images %s: no image of split %s; train and test are needed, or no splits at all'
                % (listing.path, split))
    present = set(zip(listing.task.tolist(), listing.label.tolist(), listing.split.tolist()))
    for task, (name, classes) in enumerate(listing.tasks):
        for label, of_class in enumerate(classes):
            for split in sorted(names):
                if (task, label, split) not in present:
                    raise UserError(
                        '--images %s: class %s%s has no %s image; each class needs some in each split' % (
                        listing.path, of_class, ' of task %s' % name if name else '', split))


# ---- folders ----

def _folder(path, layout):
    """(layout, images, lines to say) of a folder."""
    tops = [name for name in _names(path) if os.path.isdir(os.path.join(path, name))]
    splits = [name for name in tops if name.lower() in SPLIT_WORDS]
    words = [SPLIT_WORDS[name.lower()] for name in splits]
    if not {'train', 'test'} <= set(words):
        splits, words = [None], [None]
    elif len(set(words)) < len(words) or len(tops) > len(splits):
        raise UserError(
            '--images %s: beside train, test and one of val and valid there must be no other folder; it has '
            '%s'
            % (path, listed(tops)))
    trees, other_files = [], []
    for name in splits:
        trees.append(_tree(path if name is None else os.path.join(path, name), other_files))
    depths = {len(parts) for tree in trees for parts, files in tree.items() if files}
    layout = _layout(path, layout, depths)
    images = []
    for name, word, tree in zip(splits, words, trees):
        base = path if name is None else os.path.join(path, name)
        _check_empty(base, tree, 1 if layout == 'classes' else 2)
        images += [Image(None if layout == 'classes' else parts[0], parts[0 if layout == 'classes' else 1],
                         word,
                         os.path.join(base, *(parts + (file,)))) for parts, files in tree.items()
                   for file in files]
    notes = ('%s not read, as their names do not end in %s: %s' % (
        plural(len(other_files), 'file'), ', '.join(ENDINGS), listed(other_files)),) if other_files else ()
    return layout, images, notes


def _layout(path, layout, depths):
    """'classes' or 'tasks', by how many folders deep the images are."""
    if 0 in depths:
        raise UserError(
            '--images %s: images lie beside the folders of classes; each needs a folder of its class' % path)
    if layout == 'classes' or depths <= {1} and layout == 'auto':
        return 'classes'
    if depths <= {2}:
        return 'tasks'
    raise UserError(
        '--images %s: images lie %s folders deep; CLASS/FILE or TASK/CLASS/FILE is needed, the same for all '
        '(--images_layout classes takes deeper folders as parts of a class)'
        % (path, ' and '.join(map(str, sorted(depths)))))


def _tree(base, other_files):
    """OrderedDict parts of a folder below `base` -> names of its image files, in natural order;
    adds other files' paths."""
    tree = OrderedDict()

    def visit(folder, parts):
        names = _names(folder)
        folders = [name for name in names if os.path.isdir(os.path.join(folder, name))]
        files = [name for name in names if name not in folders]
        tree[parts] = [name for name in files if name.lower().endswith(ENDINGS)]
        if parts:
            other_files.extend(os.path.join(*(parts + (name,))) for name in files
                               if not name.lower().endswith(ENDINGS))
        for name in folders:
            inside = os.path.join(folder, name)      # which may be a link to a folder above
            if not os.path.join(os.path.realpath(folder),
                                '').startswith(os.path.join(os.path.realpath(inside), '')):
                visit(inside, parts + (name,))

    visit(base, ())
    return tree


def _names(folder):
    """What is in a folder, in natural order, without what systems hide there."""
    try:
        return sorted((name for name in os.listdir(folder) if not name.startswith('.') and name not in (
            '__MACOSX', 'Thumbs.db', 'desktop.ini')), key=natural)
    except OSError as error:
        raise UserError('%s cannot be read: %s' % (folder, error.strerror)) from error


def _check_empty(base, tree, depth):
    """An error for a class without an image; `depth`: of its folder."""
    filled = {parts[:end] for parts, files in tree.items() if files for end in range(len(parts) + 1)}
    for parts in tree:
        if len(parts) <= depth and parts not in filled:
            raise UserError('%s: no image in it (%s expected); remove the folder, or put images into it'
                            % (os.path.join(base, *parts), ', '.join(ENDINGS)))


# ---- CSV ----

def _csv(path):
    """The images of a .csv file, in the order of its rows."""
    try:
        with open(path, encoding='utf-8-sig', newline='') as stream:
            rows = [(reader_line, row) for reader_line, row in _rows(csv.reader(stream, strict=True)) if row]
    except OSError as error:
        raise UserError('%s cannot be read: %s' % (path, error.strerror)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError('%s is no CSV text: %s' % (path, error)) from error
    header = [name.strip() for name in rows[0][1]] if rows else []
    if sorted(header) not in (sorted(COLUMNS), sorted(COLUMNS + (SPLIT_COLUMN,))):
        raise UserError('%s, line 1: the header %s is needed, and perhaps %s, not %s' % (
            path, ','.join(COLUMNS), SPLIT_COLUMN, ','.join(header) or 'nothing'))
    images, split_of, seen = [], {}, set()
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise UserError('%s, line %d: %s, expected %d' % (path, line, plural(len(row), 'field'),
                                                              len(header)))
        images.append(_csv_image(path, line, {name: value.strip() for name, value in zip(header, row)}))
        image, file = images[-1], os.path.abspath(images[-1].source)
        if image in seen:
            raise UserError('%s, line %d: %s is there already' % (path, line, ','.join(row)))
        seen.add(image)
        if split_of.setdefault(file, image.split) != image.split:
            raise UserError('%s, line %d: %s is in two splits, %s and %s; an image belongs to one'
                            % (path, line, row[header.index('file')], split_of[file], image.split))
    return images


def _rows(reader):
    """(line, row) of a csv.reader."""
    for row in reader:
        yield reader.line_num, row


def _csv_image(path, line, fields):
    for name, value in fields.items():
        if not value:
            raise UserError('%s, line %d: no %s' % (path, line, name))
    split = fields.get(SPLIT_COLUMN)
    if split is not None and split.lower() not in SPLIT_WORDS:
        raise UserError('%s, line %d: split %s is not known; train, valid or test is needed'
                        % (path, line, split))
    file = os.path.join(os.path.dirname(path), fields['file'])
    if '\0' in file or not os.path.isfile(file):
        raise UserError('%s, line %d: there is no file %s' % (path, line, file))
    return Image(fields['task'], fields['class'], split and SPLIT_WORDS[split.lower()], file)


# ---- NPZ ----

@contextlib.contextmanager
def opened_npz(path):
    """The arrays of an .npz file; what is wrong with it is one line."""
    try:
        # some versions of NumPy write a traceback where this fails in their own hands
        zipfile.ZipFile(path).close()
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except UserError:
        raise
    except (OSError, ValueError, KeyError, EOFError, SyntaxError, MemoryError, NotImplementedError,
            RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError('%s is damaged or no .npz file that can be read (%s)' % (path, error)) from error


def _npz(path):
    """The images of an .npz file, in the order of its arrays."""
    images = []
    with opened_npz(path) as arrays:
        names, given = set(arrays.files), ['train', 'test']
        given += ['valid'] if {'x_valid', 'y_valid'} & names else []
        of_tasks = bool({'task_' + split for split in given} & names)
        needed = {'%s_%s' % (kind, split) for split in given
                  for kind in (('x', 'y', 'task') if of_tasks else ('x', 'y'))}
        if needed != names:
            raise UserError('%s: %s' % (path, 'the arrays %s are missing' % ', '.join(sorted(needed - names))
                            if needed - names else 'the arrays %s are not known'
                                        % listed(sorted(names - needed))))
        for split in given:
            shape, kind = _header(path, 'x_' + split)
            if len(shape) not in (3, 4) or shape[3:] not in ((), (1,),
                                                             (3,)) or kind.kind != 'f' and kind != np.uint8:
                raise UserError(
                    '%s: x_%s is %s of shape %s; uint8 or float in [0, 1] of shape [n, height, width] or [n, '
                    'height, width, 1 or 3] is needed' % (path, split, kind, list(shape)))
            columns = [_texts(path, name + '_' + split, arrays[name + '_' + split], shape[0])
                       for name in (('task', 'y') if of_tasks else ('y',))]
            tasks = columns[0] if of_tasks else [None] * shape[0]
            images += [Image(task, name, split, ('x_' + split, row))
                       for row, (task, name) in enumerate(zip(tasks, columns[-1]))]
    return images


def _texts(path, name, array, count):
    """Numbers or texts of an array as texts."""
    if array.shape != (count,) or array.dtype.kind not in 'iubU':
        raise UserError('%s: %s is %s of shape %s; whole numbers or texts of shape [%d] are needed'
                        % (path, name, array.dtype, list(array.shape), count))
    return list(map(str, array.tolist()))


def _header(path, name):
    """(shape, type) of an array in an .npz file."""
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with zipfile.ZipFile(path) as archive, archive.open(name + '.npy') as stream:
        shape, _, kind = read_header[np.lib.format.read_magic(stream)](stream)
    return shape, kind
