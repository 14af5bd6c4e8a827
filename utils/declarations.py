"""What is declared once and known everywhere by name: options of methods, tables of named things, fields of
files.

Nothing here imports TensorFlow, so that `--help`, `--list` and a wrong flag answer at once.
"""
import contextlib
import difflib
from collections import OrderedDict
from typing import Any, Callable, NamedTuple, Optional, Tuple

from utils.utils import UserError

LARGEST_NUMBER = 2 ** 63 - 1      # that a .mat file can hold
LONGEST_NAME = 63                 # of a field there


# ---- what a value may be ----

class Check(NamedTuple):
    """What the values of an option may be."""
    read: Callable                    # text -> value; a ValueError: it is none
    fits: Callable                    # value -> bool
    needed: str                       # 'a probability between 0 and 1', for messages
    choices: Optional[Tuple] = None   # where only these are possible


def number(least=None, most=None, needed=None):
    """A finite number from `least` to `most`, either of which may be None."""
    return Check(float, lambda value: _between(value, least, most) and abs(value) < float('inf'),
                 needed or 'a finite number%s' % _bounds(least, most))


def whole(least=None, most=None):
    """A whole number from `least` to `most`, either of which may be None."""
    return Check(int, lambda value: _between(value, least, most) and abs(value) <= LARGEST_NUMBER,
                 'a whole number%s' % _bounds(least, most))


def numbers(count, least=None):
    """So many finite numbers, separated by commas."""
    def read(text):
        return tuple(float(part) for part in text.split(','))
    return Check(read, lambda values: len(values) == count and all(
        _between(value, least, None) and abs(value) < float('inf') for value in values),
        '%d numbers, separated by commas,' % count)


def one_of(*words):
    """One of some words or whole numbers."""
    kind = type(words[0])
    return Check(kind, lambda value: value in words, 'one of %s' % ', '.join(map(str, words)), words)


def yes_or_no():
    """True or False; a flag of such an option takes no value."""
    return Check(lambda text: {'true': True, 'yes': True, '1': True, 'false': False, 'no': False,
                               '0': False}[text.lower()],
                 lambda value: isinstance(value, bool), 'true or false')


def text():
    """Any text; the option's `resolve` says what it means."""
    return Check(str, lambda value: True, 'a text')


def or_none(check):
    """What `check` allows, or the word none, for None."""
    return Check(lambda words: None if words.lower() == 'none' else check.read(words),
                 lambda value: value is None or check.fits(value), check.needed + ', or none')


def _between(value, least, most):
    return (least is None or value >= least) and (most is None or value <= most)


def _bounds(least, most):
    if least is None:
        return '' if most is None else ' of at most %g' % most
    return ' of at least %g' % least if most is None else ' between %g and %g' % (least, most)


# ---- options ----

class Option(NamedTuple):
    """A hyper-parameter of a method, a mechanism or a data set:
    all that the command line and the files need to know."""
    name: str                         # in `options`, of --set and of the .mat file
    default: Any                      # a value, or a function of a Context where it depends on the rest
    check: Check                      # what it may be
    help: str                         # what it means, in one line
    flag: Optional[str] = None        # name of the flag that sets it, without dashes; None: only --set does
    # whether `model_specific_info` holds it also at its default (a default that depends on
    stored: Any = False
                                      # the rest always stands there); or a function value -> dict of the
                                      # fields that hold it
    # results are older than this option: at its default it is no part of the fingerprint
    later: bool = False
    needs: Optional[str] = None       # an option that must be True for this one to have an effect
    when: Callable = lambda options: True        # whether it exists, by the options before it
    resolve: Callable = lambda value, context: value      # what the method gets; raises UserErrors

    @property
    def fixed_default(self):
        """The default where it depends on nothing, else None."""
        return None if callable(self.default) else self.default


class Context(object):
    """What the defaults of options may depend on.

    Attributes:
        name: of the model, as the tables spell it.
        data_type, family: of the data set.
        depth: convolution layers.
        network: utils_env_cl.Network.
        training: utils_env_cl.Training.
        given: dict name -> value of the options that the user gave.
        flags: dict flag -> value of the flags of options that the user gave, those of other methods among
            them.
        options: dict name -> value of those resolved so far.
        asked_test_type: whether anything depended on --test_type.
    """

    def __init__(self, name, data_type, family, depth, network, training, test_type=0, given=None,
                 flags=None):
        self.name, self.data_type, self.family, self.depth = name, data_type, family, depth
        self.network, self.training, self.given, self.flags = network, training, given or {}, flags or {}
        self.options, self._test_type, self.asked_test_type = OrderedDict(), test_type, False

    def without_options(self):
        """The same before any option was resolved."""
        return Context(self.name, self.data_type, self.family, self.depth, self.network, self.training,
                       self._test_type, self.given, self.flags)

    @property
    def test_type(self):
        """The number that the user gave with --test_type."""
        self.asked_test_type = True
        return self._test_type

    def row(self, values, what):
        """The value of a table that --test_type chooses.

        Raises:
            UserError: there is no such row.
        """
        if not 0 <= self.test_type < len(values):
            raise UserError('--test_type %d: of %s it is the %s, with the values %s' % (
                self.test_type, self.name, what, ', '.join('%d: %g' % pair for pair in enumerate(values))))
        return values[self.test_type]


def resolved(options, context):
    """`context.options` with the value of each declared option that exists: the given one or the default.

    Raises:
        UserError: a value that is not possible.
    """
    for option in options:
        if not option.when(context.options):
            if option.name in context.given:
                raise UserError('%s has no option %s with these settings; leave it away'
                                % (context.name, option.name))
            continue
        value = context.given.get(option.name)
        if option.name not in context.given:
            value = option.default(context) if callable(option.default) else option.default
        value = option.resolve(value, context)
        if option.later and value == option.fixed_default:
            continue
        context.options[option.name] = value
    return context.options


def checked(option, value, words):
    """`value`, if an option may have it.

    Args:
        words: how the user gave it, for the message: '--em_maxP 2'.
    Raises:
        UserError: it may not.
    """
    if not option.check.fits(value):
        raise UserError('%s: %s is needed' % (words, option.check.needed))
    return value


def read_setting(words, options, flag='--set'):
    """(name, value) of a --set NAME=VALUE.

    Args:
        options: the declared options that can be set.
        flag: that says it, for messages.
    Raises:
        UserError: it is no such setting, no such option, or not a possible value.
    """
    name, sign, value = words.partition('=')
    name, known = name.strip(), OrderedDict((option.name, option) for option in options)
    if not sign:
        raise UserError('%s %s: NAME=VALUE is needed' % (flag, words))
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, 0.5)
        raise UserError('%s %s: there is no option %s here; %s' % (
            flag, words, name, 'did you mean %s?' % ' or '.join(near) if near else
            'there are %s' % ', '.join(known) if known else 'there are none'))
    option = known[name]
    try:
        found = option.check.read(value.strip())
    except (ValueError, KeyError, OverflowError):
        raise UserError('%s %s: %s is needed' % (flag, words, option.check.needed)) from None
    return name, checked(option, found, '%s %s' % (flag, words))


def stored_fields(options, values):
    """OrderedDict field -> value of what `model_specific_info` holds of options.

    Args:
        options: declared ones.
        values: dict name -> value of those that an experiment has.
    """
    fields = OrderedDict()
    for option in options:
        if option.name not in values:
            continue
        value = values[option.name]
        if callable(option.stored):
            fields.update(option.stored(value))
        elif option.stored or callable(option.default) or value != option.default:
            fields[option.name] = 'none' if value is None else list(value) if isinstance(
                value, tuple) else value
    return fields


# ---- tables ----

class Table(OrderedDict):
    """Declared things by name. A name or alias names one thing, whatever its case.

    Args:
        kind: what they are, for messages.
    """

    def __init__(self, kind):
        super(Table, self).__init__()
        self.kind = kind

    def add(self, name, thing):
        """Adds a row.

        Raises:
            UserError: the name or an alias is taken.
        """
        check_name(name, self.kind)
        taken = self.spellings()
        for spelling in (name,) + tuple(thing.aliases):
            if spelling.lower() in taken:
                raise UserError('%s %s exists already; choose another name'
                                % (self.kind, taken[spelling.lower()]))
        self[name] = thing

    def spellings(self):
        """dict name or alias, in small letters -> name."""
        return {spelling.lower(): name for name, thing in self.items() for spelling in (name,)
                + tuple(thing.aliases)}


def check_name(name, kind):
    """A UserError unless `name` can be part of file names, flags and fields of a .mat file."""
    if not _is_name(name):
        raise UserError(
            '%s %r: a name of letters, digits and underscores that begins with a letter, at most %d of them, '
            'is needed' % (kind, name, LONGEST_NAME))


def _is_name(name):
    return isinstance(name, str) and name.isidentifier() and name[0] != '_' and all(
        ord(sign) < 128 for sign in name) and len(
        name) <= LONGEST_NAME


# the plug-in that is being loaded, and flags that its options cannot have
_loading = [(None, frozenset())]


@contextlib.contextmanager
def declared_by(path, taken_flags):
    """What is declared inside comes from this plug-in, and no option's flag is one of `taken_flags`."""
    _loading[0] = path, frozenset(taken_flags)
    try:
        yield
    finally:
        _loading[0] = None, frozenset()


def taken_flags():
    """Flags that belong to no option, while a plug-in is loaded."""
    return _loading[0][1]


def loading():
    """Path of the plug-in that is being loaded; None: the project's own code."""
    return _loading[0][0]


# ---- fields of parameter files ----

# a kernel as a task uses it, made from what the store holds
KERNEL = 'conv{layer}/task{task}/made/kernel'


class Field(NamedTuple):
    """One field of a parameter file: per layer one array for each of `names`; a row for each task if a name
    holds {task}.

    A name of several alternatives stands for the first that exists: what a task has of its own, then what it
    shares. Names with {earlier} stand once for each earlier task.
    """
    name: str
    names: Tuple[Any, ...]

    def has(self, place):
        """Whether a name depends on `place`, e.g. '{task}'."""
        return any(place in str(name) for name in self.names)


def own_names(layer, mechanism, parts='kernel bias'):
    """Names in the parameter store of parts (a text with spaces) that each task has of its own in layers
    'conv' or 'fc'."""
    return tuple('%s{layer}/task{task}/%s/%s' % (layer, mechanism, part) for part in parts.split())


def shared_names(layer, mechanism, parts='kernel bias'):
    """The same of parts that all tasks share."""
    return tuple('%s{layer}/shared/%s/%s' % (layer, mechanism, part) for part in parts.split())
