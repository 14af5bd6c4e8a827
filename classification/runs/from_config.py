"""--from_config: the command line that the config.json of an earlier run means here."""
import json
import os
import shlex
from collections import OrderedDict

from classification.experiment import compositions
from classification.experiment.experiment import Experiment
from classification.experiment.flags import parser, settings_of
from classification.experiment.resolve import resolve
from classification.gen_data import DATASETS
from classification.model.registry import all_options
from classification.results import origin
from classification.runs import provenance
from classification.runs.run_folder import config_of_file
from utils.utils import UserError

FLAG = '--from_config'
# What belongs to that run alone, or was stored without what it needs; a plug-in is loaded only where the
# present command names it.
LEFT_OUT = ('--restart', '--dry_run', '--list', '--quiet', '--plugin', '--scheduler', '--archive',
            '--download', FLAG)
# flag -> field of the experiment's training, whose default the table of another version may say otherwise
TRAINING = OrderedDict([('learning_rate', 'lr'), ('lr_decay', 'lr_decay'), ('batch_size', 'batch_size'),
                        ('epochs_per_task', 'epochs')])


def read(path):
    """The config.json of a run.

    Raises:
        UserError: there is none that can be used.
    """
    try:
        with open(path):
            config = config_of_file(path)
    except OSError as error:
        raise UserError('%s %s cannot be read: %s; the config.json of a run is needed '
                        '(Result/NAME/MODEL-.../config.json)' % (FLAG, path, error.strerror)) from error
    if not str(config.get('command', '')).startswith('main.py '):
        raise UserError('%s %s: it is no config.json of a run (Result/NAME/MODEL-.../config.json)'
                        % (FLAG, path))
    try:
        Experiment.from_json(json.dumps(config['experiment']))
        shlex.split(config['command'])
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise UserError('%s %s: it is damaged, or of a newer version that says more (%s)'
                        % (FLAG, path, problem)) from problem
    kept = os.path.join(os.path.dirname(path), compositions.FOLDER)
    return dict(config, kept_splits=kept) if config['experiment'].get('splits') and os.path.isdir(
        kept) else config


def command_line(config, argv):
    """The words behind main.py: those that the run was started with, then those of the present command, which
    win; where these set nothing of the experiment, also what this version would resolve otherwise.

    Args:
        config: what `read` gave.
        argv: of the present command.
    """
    stored, words = merged(config, argv)
    flags = _parsed(words)
    if not flags.grid and settings_of(flags) == settings_of(_parsed(stored)):
        words = _settled(config, resolve(flags, lambda line: None), flags) + words
    return words


def merged(config, argv):
    """(words of the earlier run that still hold, these and then those of the present command)."""
    own = _without(_groups(argv), (FLAG,))
    stored = _without(_groups(shlex.split(config['command'])[1:]), LEFT_OUT)
    given = _given(own)
    stored = [group for group in stored if (_name_set(group) if _flag(group) == '--set' else _flag(group)[2:])
              not in given]
    if 'kept_splits' in config:         # the folder that was given may be gone
        stored = [['--splits', config['kept_splits']] if _flag(group) == '--splits' else group
                  for group in stored]
    threads = config['settings'].get('threads')
    if threads and not {'threads', 'jobs', 'scheduler'} & given:
        stored = _without(stored, ('--threads',)) + [['--threads', str(threads)]]
    if config.get('plugins') and '--plugin' not in map(_flag, own):
        raise UserError('%s: this run used a plug-in; add --plugin FILE.py' % FLAG)
    return [[word for group in groups for word in group] for groups in (stored, stored + own)]


def said(config, path, experiment):
    """Lines: in what an experiment here differs from that of a config.json."""
    lines = []
    differences = experiment.differences(config['experiment'])
    if differences:
        lines.append('%s has other settings: %s' % (path, differences))
    earlier, now = origin.from_fields(config.get('origin')), provenance.of_command(experiment)
    if not earlier:
        lines.append('%s does not say which code and versions it was trained with' % path)
    mixture = origin.mixture(OrderedDict([('then', [earlier]), ('now', [now])])) if earlier else ''
    if mixture:
        lines.append('%s has another origin: %s' % (path, mixture))
    return lines or ['%s: the same experiment, of the same origin' % path]


def _groups(words):
    """[[flag, value, ...], ...]."""
    groups = []
    for word in words:
        if word.startswith('--') or not groups:
            groups.append([word])
        else:
            groups[-1].append(word)
    return groups


def _flag(group):
    return group[0].split('=')[0]


def _without(groups, flags):
    return [group for group in groups if _flag(group) not in flags]


def _given(own):
    """What the present command gives: names of flags, and of options by whatever flag or --set or --grid."""
    names = {_flag(group)[len('--'):] for group in own} - {'set', 'grid'}
    names |= {_name_set(group) for group in own if _flag(group) in ('--set', '--grid')}
    for flag, option in all_options().items():
        if names & {flag, option.name}:
            names |= {flag, option.name}
    return names


def _name_set(group):
    """NAME of --set NAME=VALUE and --grid NAME=V1,V2."""
    return ' '.join(group)[len(_flag(group)) + 1:].split('=')[0].strip()


def _parsed(words):
    return parser(words).parse_args(words)


def _settled(config, experiment, flags):
    """Flags for what the config says and this version would resolve otherwise."""
    words, then = [], config['experiment']
    now = json.loads(experiment.to_json())
    known = {option.name for option in experiment.model.options} | {
        option.name for option in DATASETS[experiment.data_type].options}
    for kind in ('options', 'data_options'):
        for name, value in sorted(then.get(kind, {}).items()):
            if name in known and now.get(kind, {}).get(name) != value:
                words += ['--set', '%s=%s' % (name, _text(value))]
    for flag, field in TRAINING.items():
        value = then['training'].get(field)
        if getattr(flags, flag) is None and value != now['training'].get(field) and 'stl_analysis' not in now[
                'analyses']:
            words += ['--' + flag, repr(value)]
    return words


def _text(value):
    """As --set takes it."""
    if isinstance(value, list):
        return ','.join(map(_text, value))
    return 'none' if value is None else str(value).lower() if isinstance(value, bool) else str(value)
