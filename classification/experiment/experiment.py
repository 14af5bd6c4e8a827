"""One experiment: everything that determines its numbers, resolved, immutable, with a fingerprint."""
import hashlib
import json
from collections import Counter, OrderedDict
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from classification.experiment import plugin_files
from classification.model.registry import MODELS
from utils import utils_env_cl as env
from utils.utils import random_state, tasks_in

NUMERICS = 2       # raised whenever a change of this code changes any recorded number
FINGERPRINT_DIGITS = 8
# values of order_rule
SHUFFLED, SAME_SHUFFLED = 'shuffled', 'shuffled, same in all trials'


class Experiment(NamedTuple):
    """What was asked for, as it will run. Equal experiments give equal numbers."""
    data_type: str
    data_percent: Optional[int]           # None where the data set has no size table
    normalize: str
    checksums: Mapping[str, Any]          # of the raw data and of the STL-10 design
    task_order: Tuple[int, ...]           # data-set indices; a task may return
    class_counts: Mapping[int, int]       # task -> classes
    model_type: str
    net: env.Net
    pattern: Optional[str]                # 'TTSS'; None where the method searches for it
    options: Mapping[str, Any]            # the method's other hyper-parameters
    training: env.Training
    early_stopping: int                   # patience in epochs; 0: off
    keep: float
    evaluation_batch: int                 # images per session call on a CPU
    seed: int
    tensorflow: int                       # major version
    lifelong: bool = True                 # one task after the other; False: all together
    eval_interval: int = 1                # epochs between evaluations of earlier tasks
    numerics: int = NUMERICS
    analyses: Mapping[str, Any] = {}      # what else was asked for: see requested_analyses.asked
    # of its method and data; without those that are still at their first
    numeric_versions: Mapping[str, int] = {}
    data_options: Mapping[str, Any] = {}          # of its data set
    # digests of the plug-ins that declare its method or its data set
    plugins: Tuple[str, ...] = ()
    # how each trial's order is drawn from the tasks of task_order; '': task_order is the order
    order_rule: str = ''
    shuffle_classes: bool = False         # each trial's tasks have other classes; see compositions
    splits: str = ''                      # SHA-256 of the splits that were given; '': they are drawn

    @property
    def model(self):
        """The row of the table of models."""
        return MODELS[self.model_type]

    @property
    def tasks(self):
        """The different tasks, by data-set index."""
        return tuple(tasks_in(self.task_order))

    @property
    def schedule(self):
        """'lifelong' or 'joint': a key of schedule.SCHEDULES."""
        return 'lifelong' if self.lifelong else 'joint'

    def of_trial(self, number):
        """The experiment with the order in which a trial learns the tasks; its fingerprint is the same."""
        if not self.order_rule:
            return self
        draws = random_state(self.seed, number if self.order_rule == SHUFFLED else None, purpose='task order')
        return self._replace(task_order=tuple(draws.permutation(self.tasks).tolist()))

    def fingerprint(self):
        """SHA-256 over everything that determines the numbers."""
        return hashlib.sha256(self.to_json().encode('utf-8')).hexdigest()

    def folder_name(self):
        """'<model>-<first digits of the fingerprint>'."""
        return '%s-%s' % (self.model_type, self.fingerprint()[:FINGERPRINT_DIGITS])

    def to_json(self):
        """A canonical text; `from_json` gives the same experiment back.

        What came later is left out where it says what held before, so that fingerprints stay.
        """
        fields = _plain(self)
        if self.order_rule:         # which says the order
            fields['task_order'] = list(self.tasks)
        for name in ('numeric_versions', 'data_options', 'plugins', 'order_rule', 'shuffle_classes',
                     'splits'):
            if not fields[name]:
                del fields[name]
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text):
        """The experiment that `to_json` wrote."""
        fields = json.loads(text)
        net = fields['net']
        layers = tuple(env.ConvSpec(**dict(layer, df_knowledge=tuple(layer['df_knowledge']),
                                           df_tensor=tuple(layer['df_tensor']))) for layer in net['layers'])
        net = env.Net(tuple(net['image_shape']), layers, tuple(net['hidden']), net['padding'],
                      tuple(tuple(pair) for pair in net['skips']))
        options, data_options = [{name: tuple(value) if isinstance(value, list) else value for name,
                                  value in some.items()}
                                 for some in (fields['options'], fields.get('data_options', {}))]
        return cls(**dict(fields, net=net, options=options, data_options=data_options,
                          training=env.Training(**fields['training']),
                          task_order=tuple(fields['task_order']), plugins=tuple(fields.get('plugins', ())),
                          class_counts={int(task): count for task, count in fields['class_counts'].items()}))

    def differences(self, other):
        """'seed 1 instead of 0, ...': the settings in which another experiment, as a dict of what JSON knows,
        differs."""
        mine, others = dict(_flat(json.loads(self.to_json()))), dict(_flat(other))
        texts = [(key, _short(others.get(key)), _short(mine.get(key)))
                 for key in sorted(set(mine) | set(others)) if mine.get(key) != others.get(key)]
        return ', '.join(key if came == here else '%s %s instead of %s' % (key, came, here) for key, came,
                         here in texts)


# What follows from the method and the data, or says nothing to a person.
_DERIVED = ('checksums', 'class_counts', 'evaluation_batch', 'keep', 'plugins', 'numeric_versions',
            'net.layers', 'net.image_shape', 'training.patience', 'model_type', 'data_type')
_OF_METHOD = ('options', 'pattern', 'net')     # is compared between experiments of one method only


def differing(experiments):
    """For each experiment, as a dict of what JSON knows, a text of the settings in which those on the same
    data differ: 'pattern TTSS, epochs 50'."""
    flat = [{name: value for name, value in _flat(fields) if not name.startswith(_DERIVED)}
            for fields in experiments]
    kinds = [(fields.get('data_type'), fields.get('model_type')) for fields in experiments]
    return unlike(flat, lambda place, name: kinds[place][:2 if name.startswith(_OF_METHOD) else 1])


def unlike(flat, group=lambda place, name: None):
    """For each dict a text of those of its pairs that another dict of their group lacks, or has otherwise.

    Args:
        group: function of the place of a dict and a name -> the group in which this name is compared.
    """
    members, values = Counter(), {}
    names = sorted({name for mine in flat for name in mine})
    for place, mine in enumerate(flat):
        members.update({(name, group(place, name)): 1 for name in names})
        for name, value in mine.items():
            values.setdefault((name, group(place, name)), Counter())[json.dumps(value, sort_keys=True)] += 1
    return [', '.join('%s %s' % (name.split('.')[-1], _short(value, str)) for name, value in mine.items()
                      if values[name, group(place, name)][json.dumps(value, sort_keys=True)]
                      < members[name, group(place, name)])
            for place, mine in enumerate(flat)]


def _plain(value):
    """Named tuples as dicts, tuples as lists: what JSON knows."""
    if hasattr(value, '_asdict'):
        return OrderedDict((key, _plain(part)) for key, part in value._asdict().items())
    if isinstance(value, Mapping):
        return OrderedDict((str(key), _plain(part)) for key, part in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value


def _flat(fields, prefix=''):
    """('training.epochs', 50), ...: the pairs of nested dicts."""
    for key, value in fields.items():
        if isinstance(value, Mapping):
            for pair in _flat(value, prefix + key + '.'):
                yield pair
        else:
            yield prefix + key, value


def _short(value, plain=()):
    """A value in few letters; without quotation marks where its type is `plain`."""
    text = value if isinstance(value, plain) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + '...'


def plugins_of(model, dataset):
    """The plug-ins that declare a model or a data set (None: one that is not declared)."""
    return plugin_files.of_files(model.plugins + ([dataset.origin] if dataset is not None and dataset.origin
                                                  else []))


def numeric_versions(model, options, small_classes=False, of_data=()):
    """{name: version} of what computes an experiment's numbers, without those that are still at their first
    version.

    What changes the numbers of all methods raises NUMERICS instead.

    Args:
        model: declare.Model.
        small_classes: whether the data have some; see gen_data.has_small_classes.
        of_data: {data set: version}.
    """
    versions = dict(model.numeric_versions(options), **{name: version for name,
                                                        version in dict(of_data).items() if version > 1})
    return dict(versions, **{'small classes': 2} if small_classes else {})


