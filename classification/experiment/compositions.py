"""Which classes and images the tasks of a trial have: the data set's own, exchanged classes
(--shuffle_classes), or what earlier trials or somebody else wrote down (--splits)."""
import os
from collections import OrderedDict

from classification import gen_data
from classification.data import splits_file
from classification.data.task_lists import REST
from classification.data.task_rows import designed, own
from utils.utils import UserError, plural, write_atomically

FOLDER = 'given_splits'         # in a run folder: copies of the files of --splits
# values of the field composition_rule of an entry, which others lack
SHUFFLED, GIVEN = 'shuffled', 'given'
DIGITS = 8                      # of a checksum in a text


# ---- what is asked for ----

def given_splits(flags, data_type, dataset):
    """OrderedDict trial -> Splits of the folder of --splits; empty without that flag.

    Raises:
        UserError: --splits or --shuffle_classes is not possible here, or a file is missing or damaged.
    """
    if flags.splits is None:
        if flags.shuffle_classes:
            _check_shuffle(data_type, dataset)
        return OrderedDict()
    if flags.shuffle_classes:
        raise UserError('--splits and --shuffle_classes both say the classes of tasks; leave one of them '
                        'away')
    found = _named(lambda: _read(flags.splits))
    absent = [number for number in range(flags.num_runs) if number not in found]
    if absent:
        first = absent[0]
        raise UserError('--splits %s: no splits of trial %d are in it (trial%d/%s or trial%d.npz), and '
                        '--num_runs asks for %s%s' % (
                            flags.splits, first, first, splits_file.FILE, first,
                            plural(flags.num_runs, 'trial'), '; add --num_runs %d' % first if first else ''))
    return found


def _check_shuffle(data_type, dataset):
    if dataset.cut is designed:
        why = 'its tasks are drawn from --seed already'
    elif dataset.cut is own:
        why = 'your listing says the classes of each task'
    elif any(REST in classes for classes in dataset.tasks):
        why = 'each of its tasks is a class against all others; --task_order shuffled changes their order'
    else:
        return
    raise UserError('--shuffle_classes is not for %s: %s; leave it away' % (data_type, why))


def _read(folder):
    return OrderedDict((number, splits_file.load(path)) for number, path in splits_file.files(folder).items())


def _named(read, named=True):
    """What `read` gives; its errors name the flag."""
    try:
        return read()
    except UserError as error:
        raise UserError('--splits: %s' % error if named else str(error)) from None


def checksum_of(given):
    """What the experiment holds of given splits; '' if there are none."""
    return given and splits_file.checksum_of_all({number: splits.checksum()
                                                  for number, splits in given.items()}) or ''


def sizes_of_trials(flags, data_type, percent, given):
    """List of `sizes_of_trial`: of the trials that are asked for, where their tasks differ; else of one.

    Raises:
        UserError: the given splits do not fit the data set or each other.
    """
    numbers = range(flags.num_runs if given or flags.shuffle_classes else 1)
    index = gen_data.index_of(data_type, flags.data_dir)
    found = [sizes_of_trial(flags, data_type, percent, given, number, index) for number in numbers]
    for number, sizes in zip(numbers, found):
        for (task, one), (_, other) in zip(*[[size[:2] for size in each] for each in (found[0], sizes)]):
            if one != other:
                raise UserError('--splits: task %d has %d classes in %s and %d in %s; all trials need the '
                                'same' % (task, one, given[0].path, other, given[number].path))
    return found


def sizes_of_trial(flags, data_type, percent, given, number, index=None):
    """What gen_data.task_sizes gives of a trial; `given`: what `given_splits` gave."""
    return _named(lambda: gen_data.task_sizes(
        data_type, flags.data_dir, percent, flags.seed, number, flags.num_tasks,
        gen_data.Composition(flags.shuffle_classes, given.get(number)), index), bool(given))


def classes_of_trial(flags, data_type, percent, given, number):
    """What gen_data.task_classes gives of a trial."""
    return gen_data.task_classes(data_type, flags.data_dir, percent, flags.seed, number, flags.num_tasks,
                                 gen_data.Composition(flags.shuffle_classes, given.get(number)))


def other_files(data_type, raw, given):
    """A line about splits that were drawn from other raw files with the same classes; None: none were."""
    different = [splits.path for splits in given.values() if splits.data_checksum not in ('', raw)]
    return ('--splits: %s is of other files of %s than those here, in which the images have the same '
            'classes' % (different[0], data_type)) if different else None


# ---- in a run folder ----

def keep(experiment, folder, run_folder):
    """Copies the files of --splits into a run folder, where the trials find them; dict trial -> SHA-256.

    Raises:
        UserError: they are no longer those of the experiment.
    """
    if not experiment.splits:
        return OrderedDict()
    contents = OrderedDict((number, (path, splits_file.content_of(path)))
                           for number, path in splits_file.files(folder).items())
    checksums = OrderedDict((number, splits_file.parsed(path, content).checksum())
                            for number, (path, content) in contents.items())
    if splits_file.checksum_of_all(checksums) != experiment.splits:
        raise UserError('--splits %s: a file was changed just now; run the same command again' % folder)
    os.makedirs(os.path.join(run_folder, FOLDER), exist_ok=True)
    for number, (_, content) in contents.items():
        write_atomically(_kept(run_folder, number), content, alone=True)
    return checksums


def _kept(run_folder, number):
    return os.path.join(run_folder, FOLDER, 'trial%d.npz' % number)


def of_trial(experiment, run_folder, checksums, number):
    """gen_data.Composition of a trial, as `keep` left it.

    Args:
        checksums: dict trial, as a text -> SHA-256, of config.json.
    Raises:
        UserError: the file is missing, or is not the one that the experiment began with.
    """
    if not experiment.splits:
        return gen_data.Composition(experiment.shuffle_classes)
    if str(number) not in checksums:
        raise UserError('--splits holds no splits of trial %d' % number)
    splits = splits_file.load(_kept(run_folder, number))
    if (splits.checksum(), splits_file.checksum_of_all(checksums)) != (checksums[str(number)],
                                                                       experiment.splits):
        raise UserError('%s is not the file that this experiment began with; run the same command again'
                        % splits.path)
    return gen_data.Composition(given=splits)


# ---- in words ----

def fields(experiment):
    """OrderedDict of what an entry of the result file says of it; empty where the data set alone decides."""
    if experiment.splits:
        return OrderedDict([('composition_rule', GIVEN), ('splits_checksum', experiment.splits)])
    return OrderedDict([('composition_rule', SHUFFLED)]) if experiment.shuffle_classes else OrderedDict()


def in_words(data_type, said):
    """A line about the classes of tasks.

    Args:
        said: what `fields` gave, or the entry of a result file.
    """
    rule, dataset = said.get('composition_rule'), gen_data.DATASETS.get(data_type)
    if rule == GIVEN:
        how = 'given with its images, checksum %s (--splits)' % said.get('splits_checksum', '')[:DIGITS]
    elif rule == SHUFFLED:
        how = 'drawn, another one in each trial (--shuffle_classes)'
    elif dataset is not None and dataset.cut is designed:
        how = 'drawn, the same in all trials of a seed (STL-10 design)'
    else:
        how = 'fixed, the same in all trials and for all seeds'
    return 'composition of tasks: %s' % how


def in_title(said):
    """The same in a few words; '' where the data set alone decides."""
    if said.get('composition_rule') == GIVEN:
        return 'splits %s' % said.get('splits_checksum', '')[:DIGITS]
    return 'other classes in each trial' if said.get('composition_rule') == SHUFFLED else ''
