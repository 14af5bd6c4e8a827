"""--grid: the combinations of hyper-parameters among which one is chosen, each a command line of its own."""
import difflib
import itertools
from collections import OrderedDict
from typing import Any, List, Mapping, NamedTuple

from classification import gen_data
from classification.model.registry import MODELS, canonical_model
from utils.declarations import read_setting
from utils.utils import UserError, lookup

# Flags that are no declared option and can be chosen, too.
SCHEDULE = ('learning_rate', 'lr_decay', 'batch_size', 'epochs_per_task', 'early_stopping', 'test_type',
            'transfer_config')
WITHOUT_GRID = ('grid_runs', 'grid_seed', 'grid_element')
MOST = 1000        # combinations; a search of more takes another tool


class Combination(NamedTuple):
    """One of the experiments of a grid, as if its command had been typed."""
    number: int              # from 1
    values: Mapping          # option -> its value, as the user wrote it
    argv: List[str]
    flags: Any               # namespace of main.py's parser

    @property
    def text(self):
        """'learning_rate 0.01, fisher_multiplier 100'."""
        return ', '.join('%s %s' % pair for pair in self.values.items())


def combinations(flags, argv, parser, reported=False):
    """The combinations that a command line asks for; none without --grid.

    Args:
        flags: namespace of the command line `argv`.
        parser: main.py's.
        reported: give them the seed and the trials that are reported, where others choose (--grid_runs).
    Returns:
        list of Combination, the values of the last --grid changing first.
    Raises:
        UserError: a mistake in one of the flags.
    """
    if not flags.grid:
        for name in WITHOUT_GRID:
            if getattr(flags, name) is not None:
                raise UserError('--%s is a setting of --grid; add --grid' % name)
        return []
    values = _values(flags, argv, parser)
    _check(flags, values)
    left = _without(argv, ('grid', 'grid_measure') + WITHOUT_GRID)
    if flags.grid_runs is not None and not reported:
        left = _without(left, ('seed', 'num_runs')) + ['--seed', str(flags.grid_seed), '--num_runs',
                                                       str(flags.grid_runs)]
    found = []
    for number, texts in enumerate(itertools.product(*values.values()), 1):
        chosen = OrderedDict(zip(values, texts))
        words = left + [word for pair in chosen.items() for word in _as_words(*pair)]
        found.append(Combination(number, chosen, words, parser.parse_args(words)))
    return found


def _check(flags, values):
    count = 1
    for texts in values.values():
        count *= len(texts)
    if not 2 <= count <= MOST:
        raise UserError('--grid: %d combination%s; 2 to %d are needed' % (
            count, '' if count == 1 else 's', MOST))
    if (flags.grid_runs is None) != (flags.grid_seed is None):
        raise UserError('--grid_runs and --grid_seed: give both, or none of them')
    if flags.grid_seed == flags.seed and flags.grid_runs is not None:
        raise UserError('--grid_seed %d: the trials that are reported have this --seed too, and would take '
                        'part in choosing; give another one' % flags.grid_seed)
    if flags.grid_element is not None and flags.grid_element > count:
        raise UserError('--grid_element %d: there are the combinations 1 to %d' % (flags.grid_element, count))
    if flags.restart is not None and flags.grid_element is None:
        raise UserError('--restart trains one experiment again; say which combination with --grid_element N '
                        '(--dry_run lists them)')


def _values(flags, argv, parser):
    """OrderedDict name -> the texts of its values."""
    given = OrderedDict()
    for words in flags.grid:
        name, sign, text = [part.strip() for part in words.partition('=')]
        if not sign:
            raise UserError('--grid %s: NAME=V1,V2,... is needed' % words)
        given.setdefault(name, []).append(text)
    options = _options(flags)
    found = OrderedDict()
    for name, texts in given.items():
        _check_name(name, options, flags, argv)
        # scripts/batch.sh counts them by the same rule
        split = len(texts) == 1 and ',' in texts[0]
        found[name] = [text.strip() for text in texts[0].split(',')] if split else texts
        _check_texts(name, found[name], options, parser, '; values that hold a comma are given as --grid '
                     '%s=V, each with a --grid of its own' % name if split else '')
    return found


def _options(flags):
    """OrderedDict name -> Option of the method and the data set."""
    data_type = lookup({name: name for name in gen_data.DATASETS}, flags.data_type, 'data_type')
    model = MODELS[canonical_model(flags.model_type)]
    return OrderedDict((option.name, option) for option in tuple(model.options)
                       + tuple(gen_data.DATASETS[data_type].options))


def _check_name(name, options, flags, argv):
    """A UserError for a name that is none of a hyper-parameter, or is given otherwise too."""
    known = list(options) + list(SCHEDULE)
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, 0.6)
        raise UserError('--grid %s: no option of the method, the data set or the schedule has this name; '
                        '%s' % (
            name, 'did you mean %s?' % ' or '.join(near) if near else 'there are %s' % ', '.join(known)))
    if name in SCHEDULE:
        flag = name if any(word.split('=')[0] == '--' + name for word in argv) else None
    else:
        flag = options[name].flag if options[name].flag in flags.given else 'set' if name in [
            words.partition('=')[0].strip() for words in flags.set or ()] else None
    if flag is not None:
        raise UserError('--grid %s: it is given by --%s too; leave one of them away' % (name, flag))


def _check_texts(name, texts, options, parser, hint):
    """A UserError for a value that is not possible, or is there twice."""
    seen = []
    for text in texts:
        if name in options:
            try:
                value = read_setting('%s=%s' % (name, text), options.values(), '--grid')[1]
            except UserError as error:
                raise UserError('%s%s' % (error, hint)) from None
        else:
            value = _read(name, text, parser)
        if value in seen:
            raise UserError('--grid %s: %s and %s are the same value; leave one of them away%s'
                            % (name, texts[seen.index(value)], text, hint))
        seen.append(value)


def _read(name, text, parser):
    """The value of a flag of the schedule."""
    kind, = [action.type or str for action in parser._actions if action.dest == name]
    try:
        value = kind(text)
    except (ValueError, OverflowError):
        value = ''
    if value == '':
        raise UserError('--grid %s=%s: %s is needed' % (name, text, {
            int: 'a whole number', float: 'a number'}.get(kind, 'a value')))
    return value


def _as_words(name, text):
    """The words of a command line that give a value."""
    if name not in SCHEDULE:
        return ['--set', '%s=%s' % (name, text)]
    return ['--%s=%s' % (name, text)] if text.startswith('-') else ['--' + name, text]


def _without(argv, names):
    """The words of a command line without some flags and their values."""
    left, drop = [], False
    for word in argv:
        flag = word.split('=')[0]
        if drop:
            drop = False
        elif flag[:2] == '--' and flag[2:] in names:
            drop = '=' not in word
        else:
            left.append(word)
    return left
