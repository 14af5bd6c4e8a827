"""The declarations of mechanisms, selections and methods, and the table of models that follows from them.

A mechanism says how the kernel of a shared layer comes to be, a selection which layers are shared; every pair
is a model. A method stands by itself. Each is declared once, where its class is, by one of the decorators
below.
"""
import argparse
from collections import OrderedDict
from typing import Callable, NamedTuple, Optional, Tuple

from utils.declarations import (
    KERNEL,
    Check,
    Context,
    Field,
    Table,
    check_name,
    loading,
    own_names,
    resolved,
    shared_names,
    stored_fields,
    taken_flags,
)
from utils.utils import UserError, lookup
from utils.utils_env_cl import TRAINING, Network

HEAD = Field('fc_weights', tuple(zip(own_names('fc', 'own'), shared_names('fc', 'hps'))))


class Declared(NamedTuple):
    """What a mechanism, a selection or a method says of itself. The decorators explain each field."""
    key: str
    name: str
    make: Callable
    help: str
    paper: str = ''
    aliases: Tuple[str, ...] = ()
    architecture: str = ''
    options: Tuple = ()
    version: int = 1
    mode_versions: Tuple[str, dict] = ('', {})
    constants: Tuple = ()
    check: Callable = lambda context: None
    remark: Callable = lambda context: None
    network: Callable = lambda data_type, family, depth, network: network
    notes: Callable = lambda: ()
    origin: Optional[str] = None              # of a plug-in: its file
    # of a mechanism
    shared: Tuple[str, ...] = ()
    own: Tuple[str, ...] = ()
    makes_kernels: bool = False
    info: Callable = lambda net, options: {}
    models: Tuple[str, ...] = ()              # keys of selections whose model of it is a method of its own
    # of a mechanism: selection -> tuple of Field; of the others: (fields of the mechanism) -> tuple of Field
    files: Optional[Callable] = None
    file_names: str = ''
    short: Callable = lambda mechanism: ()    # of a selection
    # of selections and methods
    mechanism: Optional[str] = None           # None: every mechanism
    pattern: str = 'searched'
    one_head: bool = False
    joint: bool = False
    revisits: bool = True
    skips: bool = True
    stops_early: bool = True
    looks_ahead: bool = False
    values_beside: Callable = lambda parameters: 0
    dropout: Optional[str] = None
    size_note: str = ''
    fields: Callable = lambda size: ()
    lines: Callable = lambda record, tasks: ()
    trainer_fields: Callable = lambda record, task_order: {}
    published_leep: bool = True


class Model(NamedTuple):
    """A row of the table of models: who decides which layers are shared, and how a shared layer's kernel
    comes to be."""
    name: str
    method: Declared                  # a selection or a method
    kind: Declared                    # a mechanism
    architecture: str                 # its name in the .mat file
    help: str
    aliases: Tuple[str, ...] = ()

    @property
    def selection(self):
        """Key of the selection or method."""
        return self.method.key

    @property
    def mechanism(self):
        """Key of the mechanism."""
        return self.kind.key

    @property
    def pattern(self):
        """Which layers are shared: 'asked' (--test_type, --transfer_config), 'searched', or a name like
        'all'."""
        return self.method.pattern

    @property
    def options(self):
        """The declared options, the method's first."""
        return tuple(self.method.options) + tuple(self.kind.options)

    @property
    def plugins(self):
        """Files of the plug-ins that declare a part of it."""
        return [part.origin for part in (self.method, self.kind) if part.origin]

    def make(self, setting):
        """The method, made for a model.method.Setting."""
        return self.method.make(setting)

    def network(self, data_type, family, depth, network):
        """The network of a data set as this model has it; see `mechanism`."""
        for part in (self.kind, self.method):
            network = part.network(data_type, family, depth, network)
        return network

    def resolve(self, context):
        """OrderedDict name -> value of its options in a Context.

        Raises:
            UserError: a value, or the combination, is not possible.
        """
        resolved(self.options, context)
        for part in (self.method, self.kind):
            for name, value in part.constants:
                context.options[name] = value
            part.check(context)
        return context.options

    def numeric_versions(self, options):
        """{name: version} of what computes its numbers, without what is still at its first version."""
        versions = OrderedDict()
        for part in (self.method, self.kind):
            if part.version > 1:
                versions[part.key] = part.version
            option, of_mode = part.mode_versions
            if options.get(option) in of_mode:
                versions['%s %s' % (part.key, options[option])] = of_mode[options[option]]
        return versions

    def info(self, net, options):
        """OrderedDict of what `model_specific_info` holds of it."""
        fields = stored_fields(self.kind.options, options)
        fields.update(self.kind.info(net, options))
        fields.update(stored_fields(self.method.options, options))
        return fields

    def parameter_fields(self):
        """The Fields of its parameter files."""
        of_mechanism = self.kind.files or _plain_files(self.kind)
        fields = of_mechanism(self.method.file_names or self.method.key)
        return self.method.files(fields) if self.method.files else fields + (HEAD,)


def _plain_files(mechanism):
    """The Fields of a mechanism that only names its parts."""
    fields = [Field(name, names('conv', mechanism.key, ' '.join(parts)))
              for name, names, parts in (('shared_conv', shared_names, mechanism.shared),
                                         ('TS', own_names, mechanism.own))
              if parts]
    if mechanism.makes_kernels:
        fields.append(Field('conv_generated_weights', (KERNEL,)))
    return lambda selection: tuple(fields) + (Field('TS_conv', own_names('conv', 'own')),)


# ---- the tables ----

MECHANISMS = Table('mechanism')      # key -> Declared
METHODS = OrderedDict()              # key of a selection or a method -> Declared
MODELS = Table('model')              # name -> Model, as --model_type takes it
# What no option can be called: it stands in `options`, or in `model_specific_info`, for something else.
NOT_OPTIONS = ('pattern', 'architecture', 'learning_rate', 'improvement_threshold', 'early_stopping_para',
               'padding_type',
               'max_pooling', 'dropout', 'image_dimension', 'skip_connect', 'highway_connect',
               'hidden_activation', 'batch_size',
               'hidden_layer', 'kernel_sizes', 'stride_sizes', 'channel_sizes', 'pooling_size',
               'conv_sharing',
               'number_of_trainable_parameters', 'data_augment', 'STL_analysis', 'STL_analysis_task',
               'STL_analysis_ratio',
               'STL_analysis_comparable_epoch', 'mutual_info_alpha', 'mutual_info_kernel_h',
               'mutual_info_kernel_h_backward')


def mechanism(name, help, key=None, architecture=None, **more):
    """Class decorator: declares a mechanism, a subclass of mechanisms.Mechanism.

    Args:
        name: the part of a model's name: LASEM_<name>.
        help: one line.
        key: its name in variables and parameter files; default: `name` in small letters.
        architecture: the part of an architecture's name in the .mat file; default: the key and '_cnn'.
        models: keys of the selections whose model of this mechanism is declared as a method of its own.
        paper, options, version, mode_versions: see `method`.
        check: function of a Context with all options; raises a UserError where the combination is impossible.
        remark: function of a Context with all options: what the user should know of them, a line, or None.
        network: function (data type, family, depth, Network) -> the Network that its models have there.
        shared, own: names of the parts that its variables have, common ones and each task's, for parameter
            files.
        makes_kernels: whether a task's kernel is made of them, so that parameter files hold it, too.
        info: function (net, options) -> dict of more fields of `model_specific_info`.
        files: function of a selection's key -> tuple of Field, where parameter files have published names.
    """
    def declare(cls):
        found = _declared(cls, name, help, key, dict(more, architecture=architecture or '%s_cnn'
                                                     % (key or name.lower())),
                          ('weights',))
        cls.name = found.key
        MECHANISMS.add(found.key, found)
        for each in list(METHODS.values()):
            if each.mechanism is None and each.key not in found.models:
                _add_pair(each, found)
        return cls
    return declare


def selection(name, help, key=None, aliases=(), **more):
    """Class decorator: declares a selection, a subclass of method.Method; with each mechanism it gives a
    model.

    Args:
        name: the model's is <name>_<mechanism>.
        aliases: other spellings of `name`.
        short: function name of a mechanism -> further names of the model.
        file_names: key of the selection whose published field names its parameter files have.
        The others: see `method`.
    """
    def declare(cls):
        found = _declared(cls, name, help, key, dict(more, aliases=tuple(aliases)), ('build', 'build_search'))
        _add_method(found)
        for each in list(MECHANISMS.values()):
            if found.key not in each.models:
                _add_pair(found, each)
        return cls
    return declare


def method(name, help, key=None, mechanism='hps', architecture=None, aliases=(), **more):
    """Decorator of a class (a subclass of method.Method) or a function Setting -> Method: declares a method
    by itself.

    Args:
        name: of the model, as --model_type takes it.
        help: one line.
        key: default: `name` in small letters.
        mechanism: key of the mechanism of its shared layers.
        architecture: its name in the .mat file; default: the key and '_cnn'.
        aliases: other names.
        paper: authors and year.
        options: tuple of Option; a flag of the command line belongs to one option.
        version: numeric version, raised whenever a change of the code changes its numbers.
        mode_versions: (name of an option, {value: version}) where only some modes have changed.
        constants: (name, value) pairs that are options, and cannot be set.
        pattern: which layers are shared: 'asked', 'searched', or a name like 'all'.
        one_head: the tasks share the output layer, so they must have equally many classes.
        joint: it can also train all tasks together.
        revisits, skips, stops_early: whether it can learn a task again, honour skip connections, end a task
            early.
        looks_ahead: whether learning a task depends on whether it will return, so that an experiment cannot
            be continued by one in which it does.
        values_beside: function of the number of parameters -> how many values a checkpoint holds beside them
            between tasks, at most.
        dropout: name of the option that says whether it has dropout; None: it has.
        size_note: what --dry_run adds to the number of parameters.
        check, remark, network: see `mechanism`.
        files: function (Fields of the mechanism) -> Fields of its parameter files.
        fields: function of a sizes.Size -> (name, shape, type) of each array that it adds to a trial's
            result.
        lines: function (record, tasks) -> lines to print of a trial after the table.
        trainer_fields: function (record, task order) -> fields of a published trainer of its own.
        published_leep: whether its published trainer writes LEEP scores, which are 0 then where none were
            asked for.
        notes: function -> lines of --list.
    """
    def declare(make):
        found = _declared(make, name, help, key, dict(more, mechanism=mechanism, aliases=tuple(aliases),
                                                      architecture=architecture or '%s_cnn'
                                                      % (key or name.lower())),
                          ('build', 'build_search'))
        if mechanism not in MECHANISMS:
            raise UserError('method %s: there is no mechanism %s' % (name, mechanism))
        _add_method(found)
        MODELS.add(name, Model(name, found, MECHANISMS[mechanism], found.architecture, help, found.aliases))
        return make
    return declare


def _declared(make, name, help, key, more, hooks):
    """A Declared; its class needs those of the hooks that its base class has."""
    check_name(name, 'a name')
    check_help(name, help)
    found = Declared(key or name.lower(), name, make, help, origin=loading(), **more)
    for hook in hooks if isinstance(make, type) else ():
        if (hook == hooks[0] or hasattr(make, hook)) and getattr(make, hook, None) is _base(make, hook):
            raise UserError('%s: a method %s is needed; see its base class' % (name, hook))
    check_options(name, found.options)
    return found


def check_help(name, help):
    """A UserError unless a help text is one line."""
    if not isinstance(help, str) or not help.strip() or '\n' in help:
        raise UserError('%s: help needs one line that says what it is' % name)


def _base(cls, attribute):
    """What the project's base class, which says nothing, has as `attribute`."""
    for base in cls.__mro__[::-1]:
        if attribute in vars(base):
            return vars(base)[attribute]
    return None


def _add_method(found):
    if found.key in METHODS:
        raise UserError('method %s exists already; choose another name' % found.key)
    METHODS[found.key] = found


def _add_pair(of_selection, of_mechanism):
    name = '%s_%s' % (of_selection.name, of_mechanism.name)
    check_different(name, of_selection.options, of_mechanism.options)
    aliases = of_selection.short(of_mechanism.name) + tuple('%s_%s' % (alias, of_mechanism.name)
                                                            for alias in of_selection.aliases)
    MODELS.add(name, Model(name, of_selection, of_mechanism,
                           '%s_%s' % (of_selection.key, of_mechanism.architecture),
                           '%s, on %s' % (of_selection.help, of_mechanism.help), aliases))


# ---- what others ask ----

def all_options():
    """Every declared option that has a flag, the first of those that have the same one:
    OrderedDict flag -> Option."""
    found = OrderedDict()
    for declared in list(METHODS.values()) + list(MECHANISMS.values()):
        for option in declared.options:
            if option.flag:
                found.setdefault(option.flag, option)
    return found


def check_options(name, options):
    """A UserError if declared options are not complete, or have a name or a flag that is taken."""
    flags = all_options()
    check_different(name, options)
    for option in options:
        check_name(option.name, '%s: option' % name)
        check_help('%s: option %s' % (name, option.name), option.help)
        if option.name in NOT_OPTIONS:
            raise UserError('%s: option %s: another field of the results has this name; choose another one'
                            % (name, option.name))
        if not isinstance(option.check, Check):
            raise UserError('%s: option %s needs a check: number(), whole(), one_of(), ...'
                            % (name, option.name))
        if option.flag:
            check_name(option.flag, '%s: flag' % name)
            if flags.get(option.flag, option) != option or option.flag in taken_flags():
                raise UserError('%s: --%s exists already; choose another flag' % (name, option.flag))


def check_different(name, *options):
    """A UserError if two options of what is called `name` have the same name."""
    names = [option.name for some in options for option in some]
    for option in names:
        if names.count(option) > 1:
            raise UserError('%s: two options are called %s' % (name, option))


def canonical_model(name):
    """The name of a model as MODELS spells it, from any spelling or alias.

    Raises:
        UserError: the name is unknown.
    """
    return lookup({spelling: model for model, row in MODELS.items() for spelling in (model,) + row.aliases},
                  name, 'model_type')


def models_argument(text):
    """For argparse's `type`: the models that a text like 'HPS,DEN' names, [] for an empty one.

    Raises:
        argparse.ArgumentTypeError: one is unknown.
    """
    try:
        return [canonical_model(name) for name in text.split(',') if name]
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def default_options(model_type, net, test_type=0, family='', **given):
    """OrderedDict name -> value: a model's options on a utils_env_cl.Net, at their defaults but for those
    given."""
    knowledge = tuple(layer.df_knowledge for layer in net.layers if any(layer.df_knowledge))
    network = Network(*zip(*[(layer.kernel, layer.out_channels, layer.pool) for layer in net.layers]),
                      hidden=net.hidden, df_knowledge=knowledge)
    context = Context(model_type, '', family, len(net.layers), network, TRAINING['digits5'], test_type, given)
    return MODELS[model_type].resolve(context)
