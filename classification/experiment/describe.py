"""What `--list` and `--dry_run` print."""
from collections import OrderedDict

from classification import gen_data
from classification.data.augmentation import enlarged_size
from classification.experiment import compositions
from classification.experiment.continuing import more_can_come
from classification.experiment.experiment import SHUFFLED, plugins_of
from classification.experiment.sizes import check
from classification.gen_data import SPLITS
from classification.model.registry import MECHANISMS, METHODS, MODELS
from classification.results.texts import problem
from utils import utils_env_cl as env
from utils.utils import plural, printable, size_text

MAX_ORDERS = 20     # that --dry_run shows


def _rows(rows, indent='  '):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [(indent + '  '.join(cell.ljust(width) for cell, width in zip(row, widths))).rstrip()
            for row in rows]


def listing():
    """Data types, model types, and the transfer configurations of every depth."""
    lines = ['Data types (--data_type; layers: --num_clayers, the first by default):']
    lines += _rows([(name, plural(dataset.num_tasks, 'task') if dataset.tasks else 'your tasks',
                     'layers ' + (', '.join(
        str(depth) for family, depth in env.NETWORKS if family == dataset.family) or 'as --network'),
                     dataset.help)
        for name, dataset in gen_data.DATASETS.items()])
    lines += ['', 'Sizes (--data_percent):']
    lines += _rows([(name, 'ignored' if dataset.sizes is None else ', '.join(map(str, sorted(dataset.sizes))))
                    for name, dataset in gen_data.DATASETS.items()])
    lines += ['', 'Model types (--model_type):']
    lines += _rows([(name, model.help + (' (also: %s)' % ', '.join(model.aliases) if model.aliases else ''))
                    for name, model in MODELS.items()])
    lines += ['  ' + note for declared in list(MECHANISMS.values()) + list(METHODS.values())
              for note in declared.notes()]
    lines += ['', 'Options (--set NAME=VALUE; those with a flag also by --NAME or the flag in brackets):']
    lines += _rows([(option.name + (' (--%s)' % option.flag if option.flag not in (None, option.name)
                                    else ''),
                     _default(option), option.help) for option in _all_options()])
    lines += ['', 'Transfer configurations (--test_type, or by name or letters with --transfer_config; '
                  'S: shared, T: task-specific, input side first):']
    tables = [('%d layers' % depth, None, depth) for depth in env.TRANSFER_CONFIGURATIONS]
    tables += [('%s with %d layers' % (family, depth), family, depth) for family,
               depth in env.TRANSFER_CONFIGURATIONS_OF]
    for title, family, depth in tables:
        lines.append('  %s:' % title)
        lines += _rows([('%d-%d' % (5 * row, 5 * row + 4), name, env.pattern_from_name(name, depth))
                        for row, name in enumerate(env.pattern_names(family, depth))], indent='    ')
    lines.append('  every depth: all, none, top1.., bottom1.., alternating')
    lines += ['', 'Groups of layers of LASEMG (--test_type, or as sizes with --layer_groups):']
    lines += _rows([('%d layers' % depth, '%d-%d' % (5 * row, 5 * row + 4) if len(rows) > 1 else 'any',
                     env.listed(groups))
                    for depth, rows in env.LAYER_GROUPS.items() for row, groups in enumerate(rows)])
    return '\n'.join(lines)


def _all_options():
    """Every declared option, each name once."""
    declared = list(METHODS.values()) + list(MECHANISMS.values()) + list(gen_data.DATASETS.values())
    return list(OrderedDict((option.name, option) for each in declared for option in each.options).values())


def _default(option):
    """'0.1', or 'by table' where it depends on the rest."""
    if callable(option.default):
        return 'by table'
    return 'none' if option.default is None else env.listed(option.default) if isinstance(
        option.default, tuple) else str(
        option.default)


def dry_run(experiment, flags, count):
    """The resolved experiment: tasks and sizes, layers, parameters, epochs.

    Args:
        count: function (experiment, pattern) -> number of parameters.
    """
    net, training = experiment.net, experiment.training
    sizes = _sizes_of_first(experiment, flags)
    lines = ['%s on %s%s, fingerprint %s' % (
        experiment.model_type, experiment.data_type,
        '' if experiment.data_percent is None else ' at %d %%' % experiment.data_percent,
        experiment.fingerprint()[:8])]
    lines += _rows([('task', 'classes', 'training', 'validation', 'test')]
                   + [tuple(map(str, size)) for size in sizes])
    lines += gen_data.DATASETS[experiment.data_type].source.described()
    lines += _orders(experiment, flags.num_runs)
    rows = [('layer', 'kernel', 'channels', 'pool', 'output', 'shared')]
    for layer, (spec, size) in enumerate(zip(net.layers, net.output_sizes)):
        rows.append((str(layer), '%dx%d' % (spec.kernel, spec.kernel), '%d -> %d'
                     % (spec.in_channels, spec.out_channels), str(spec.pool), '%dx%d' % size,
                     'searched' if experiment.pattern is None else 'yes' if experiment.pattern[layer] == 'S'
                     else 'no'))
    lines += _rows(rows)
    lines.append('head: %s -> classes; padding %s; skip connections: %s' % (
        ' -> '.join(map(str, (net.num_features,) + net.hidden)), net.padding,
        ', '.join('%d to %d' % pair for pair in net.skips) or 'none'))
    counts = _counts(experiment, count)
    lines.append('parameters: %s' % _parameters(experiment, counts))
    lines.append('%s per task, batch %d, learning rate %g / (1 + %g * epoch), %s, seed %d' % (
        plural(training.epochs, 'epoch'), training.batch_size, training.lr, training.lr_decay,
        plural(flags.num_runs, 'trial'), experiment.seed))
    lines.append(problem(experiment.lifelong, 'without_task_identity' in experiment.analyses))
    lines.append(gen_data.origin(experiment.data_type,
                                 gen_data.folder_of(experiment.data_type, flags.data_dir)))
    said = compositions.fields(experiment)
    lines.append(compositions.in_words(experiment.data_type, said)
                 + ('; the sizes are those of trial 0' if said else ''))
    lines.append('result file: this entry takes %s%s' % (
        'about ' if not experiment.early_stopping and experiment.lifelong else 'at most ',
        size_text(check(experiment, flags.num_runs))))
    if more_can_come(experiment) and not flags.no_continue:
        lines.append('end state: at most %s per trial, from which the same command with more tasks goes on '
                     '(--no_continue keeps none)' % size_text(_state_bytes(experiment, max(counts))))
    for name, value in sorted(dict(experiment.options, **experiment.data_options).items()):
        lines.append('%s: %s' % (name, value))
    for plugin in plugins_of(experiment.model, gen_data.DATASETS[experiment.data_type]):
        lines.append('plug-in: %s, digest %s' % (plugin.path, plugin.digest[:8]))
    return '\n'.join(map(printable, lines + _analyses(experiment, [size[2] for size in sizes])))


def _sizes_of_first(experiment, flags):
    """What gen_data.task_sizes gives of trial 0."""
    given = compositions.given_splits(flags, experiment.data_type, gen_data.DATASETS[experiment.data_type])
    return compositions.sizes_of_trial(flags, experiment.data_type, experiment.data_percent, given, 0)


def _orders(experiment, num_runs):
    """The order of tasks; where each trial draws its own, of the first trials."""
    trials = range(min(num_runs, MAX_ORDERS if experiment.order_rule == SHUFFLED else 1))
    orders = [' '.join(map(str, experiment.of_trial(number).task_order)) for number in trials]
    if experiment.order_rule != SHUFFLED:
        return ['order of tasks%s: %s' % (experiment.order_rule and ' (%s)' % experiment.order_rule,
                                          orders[0])]
    return ['order of tasks: shuffled, each trial has its own'] + _rows(
        [('trial %d' % number, order) for number, order in zip(trials, orders)]
        + ([('...', '')] if num_runs > MAX_ORDERS else []))


def _analyses(experiment, train_sizes):
    """A line for each analysis."""
    lines = []
    for name, setting in sorted(experiment.analyses.items()):
        if name == 'stl_analysis':
            lines.append('STL analysis of task %d: %d training images, patience %s, at most %s' % (
                setting['task'], enlarged_size(train_sizes, setting['task'], setting['ratio']),
                plural(experiment.early_stopping, 'epoch'), plural(experiment.training.epochs, 'epoch')))
        elif isinstance(setting, dict):
            lines.append('%s: %s' % (name, ', '.join('%s %g' % pair for pair in sorted(setting.items()))))
        else:
            lines.append('%s: %s' % (name, setting))
    return lines


def _counts(experiment, count):
    """Numbers of parameters: of the pattern; of a search, if every layer is shared and if none is."""
    depth = len(experiment.net.layers)
    patterns = ('S' * depth, 'T' * depth) if experiment.pattern is None else (experiment.pattern,)
    return [count(experiment, pattern) for pattern in patterns]


def _parameters(experiment, counts):
    if experiment.pattern is not None:
        return '{:,}{}'.format(counts[0], experiment.model.method.size_note)
    return '{:,} if every layer is shared, {:,} if none is'.format(*counts)


def _state_bytes(experiment, parameters):
    """Of the checkpoint after the last task: parameters, what the method keeps beside them, histories."""
    epochs = experiment.training.epochs * len(experiment.task_order)
    return (4 * (parameters + experiment.model.method.values_beside(parameters))
            + 8 * epochs * (len(SPLITS) * len(experiment.class_counts) + 1))
