"""One experiment: everything that determines its numbers, resolved, immutable, with a fingerprint."""
import hashlib
import json
from collections import OrderedDict
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from classification.experiment import plugin_files
from classification.model.registry import MODELS
from utils import utils_env_cl as env

NUMERICS = 2       # raised whenever a change of this code changes any recorded number
FINGERPRINT_DIGITS = 8


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

    @property
    def model(self):
        """The row of the table of models."""
        return MODELS[self.model_type]

    @property
    def tasks(self):
        """The distinct tasks in order of first appearance."""
        return tuple(OrderedDict.fromkeys(self.task_order))

    @property
    def schedule(self):
        """'lifelong' or 'joint': a key of schedule.SCHEDULES."""
        return 'lifelong' if self.lifelong else 'joint'

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
        for name in ('numeric_versions', 'data_options', 'plugins'):
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


def _short(value):
    text = json.dumps(value)
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


