"""The report's plots, for print, for grey print and for colour-blind readers.

Colours are Okabe and Ito's (jfly.uni-koeln.de/color), each with a line style and a marker of its own; maps
are cividis. matplotlib is imported when the first plot is made.
"""
import io

import numpy as np

from classification.report.marks import bracketed
from classification.report.statistics import METRICS, correction
from classification.results.metrics import mean_and_std, mean_and_std_where_defined
from classification.results.read_results import test_curves
from utils import utils_env_cl as env
from utils.utils import plural, write_atomically

CLASS_PANELS = 12     # tasks in a plot by class
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
STYLES = ('-', '--', '-.', ':')
MARKERS = 'osD^vP*X<>'
WIDTH = 7.0                 # inches
MANY_TASKS = 6              # more than this: a panel per task
MAX_CELLS = 12             # tasks up to which the accuracy matrix has its numbers written in
MAX_PATTERNS = 16          # rows of a posterior
MAX_PANELS = 3             # trials whose posterior is drawn
MAX_POINTS = 600           # of a curve
PNG_DPI = 150
BAND = 'band: one sample standard deviation to either side of the mean over %s'


def _pyplot():
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    pyplot.rcParams.update({'font.size': 9, 'axes.titlesize': 9, 'axes.spines.top': False,
                            'axes.spines.right': False,
                            'legend.frameon': False, 'figure.max_open_warning': 0, 'svg.hashsalt': 'report'})
    return pyplot


def _figure(rows=1, columns=1, height=2.6, width=WIDTH, **more):
    more.setdefault('constrained_layout', True)
    return _pyplot().subplots(rows, columns, figsize=(width, height), squeeze=False, **more)


def save(figure, path):
    """Writes path.png and path.svg."""
    for ending in ('png', 'svg'):
        write_atomically('%s.%s' % (path, ending), image(figure, ending))


def image(figure, kind):
    """The bytes of a figure: kind png or svg."""
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=PNG_DPI, metadata={'Date': None} if kind == 'svg' else {})
    return stream.getvalue()


def close(figure):
    """Frees a figure."""
    _pyplot().close(figure)


def plots_of(one):
    """The plots of one experiment that its fields allow.

    Args:
        one: Reported.
    Returns:
        generator of (name, what it shows, figure); close a figure before the next one is asked for.
    """
    runs = one.result['result_of_each_run']
    if 'accuracy_matrix' in one.result:
        yield 'accuracy_matrix', 'Accuracy matrix: test accuracy on each task after each position, %s.' % (
            'mean over those of %d trials that have learned the task by then, each in an order of its own'
            % len(runs) if one.orders_differ else
            'mean over %d trials' % len(runs) if len(runs) > 1 else 'of one trial'), accuracy_matrix(one)
    if all('history_test_error' in run for run in runs):
        yield ('learning_curves',) + learning_curves(one)
    shares = class_shares(one)
    if shares:
        yield ('confusion',) + confusion(one, shares)
        yield ('class_accuracy',) + class_accuracy(one, shares)
    if all('history_net_prior_in_epoch' in run for run in runs):
        yield ('posterior',) + posterior(one)
    if all('conv_sharing' in run for run in runs):
        yield 'chosen_layers', 'Chosen layers of each task, input side left: %s.' % (
            'S shared, T task-specific' if len(runs) == 1
            else 'number of trials in which the layer is shared / of all'
        ), chosen_layers(one)
    if all('history_DARTS_arch_select' in run for run in runs):
        yield ('mixture_weights',) + mixture_weights(one)
    if all('den_widths' in run for run in runs):
        yield ('widths',) + widths(one)


def plots_of_group(comparison):
    """The plots that compare the methods of a group: as `plots_of`."""
    yield ('comparison',) + method_comparison(comparison)
    if comparison.baseline:
        yield ('differences',) + method_differences(comparison)


# ---- one experiment ----

def accuracy_matrix(one):
    """Heat map; row: after learning a position; column: task evaluated."""
    statistics = mean_and_std_where_defined if one.orders_differ else mean_and_std
    with np.errstate(all='ignore'):
        matrix = statistics(one.result['accuracy_matrix'])[0]
    positions, tasks = matrix.shape
    figure, ((axes,),) = _figure(height=max(1.6, min(6., 1. + 0.3 * positions)),
                                 width=max(3.6, min(WIDTH, 2. + 0.45 * tasks)))
    shown = axes.imshow(np.ma.masked_invalid(matrix), cmap='cividis', vmin=0, vmax=1, aspect='auto')
    axes.set_facecolor('#e8e8e8')
    axes.set(xlabel='task evaluated', ylabel=_after(one), title=one.label)
    _number_ticks(axes.xaxis, one.tasks)
    _number_ticks(axes.yaxis, _positions(one) if positions > 1 else ['all'])
    for row, column in np.argwhere(~np.isnan(matrix)) if max(positions, tasks) <= MAX_CELLS else ():
        axes.text(column, row, '%.2f' % matrix[row, column], ha='center', va='center', fontsize=7,
                  color='black' if matrix[row, column] > 0.6 else 'white')
    figure.colorbar(shown, ax=axes, label='test accuracy')
    return figure


def _number_ticks(axis, names):
    """A tick for each name, thinned out where there are many."""
    indices = np.arange(0, len(names), 1 if len(names) <= 20 else 5)
    axis.set_ticks(indices)
    axis.set_ticklabels([str(names[index]) for index in indices])


def _after(one):
    """Label of an axis whose ticks are `_positions`."""
    return 'after position' if one.orders_differ else 'after learning task'


def _positions(one):
    """Name of each position in the order of tasks: the task, where all trials have the same."""
    return list(range(len(one.orders[0]))) if one.orders_differ else one.orders[0]


def learning_curves(one):
    """(what it shows, figure): test accuracy of every task over all epochs."""
    order, runs = one.orders[0], one.result['result_of_each_run']
    curves = [test_curves(run, of_trial) for run, of_trial in zip(runs, one.orders)]
    starts = [np.ravel(run.get('task_changed_epoch', [1])) for run in runs]
    same = len({curve.shape for curve in curves}) == 1 and not one.orders_differ and all(
        np.array_equal(of_trial, starts[0]) for of_trial in starts)
    many = len(one.tasks) > MANY_TASKS or one.orders_differ
    columns = 4 if many else 1
    rows = -(-len(one.tasks) // columns) if many else 1
    height = 0.9 + 1.1 * rows if many else 3.
    figure, axes = _figure(rows, columns, height=height, sharex=True, sharey=True,
                           constrained_layout=not many)
    if many:        # twenty panels would take the automatic layout seconds
        figure.subplots_adjust(left=0.1, right=0.985, bottom=0.45 / height, top=1 - 0.5 / height, hspace=0.4,
                               wspace=0.1)
    for index, task in enumerate(one.tasks):
        panel = axes.flat[index if many else 0]
        _curve(panel, [curve[:, index] for curve in curves], 0 if many else index, same,
               'task %d' % task)
        if many:
            panel.set_title('task %d' % task, pad=2)
            if not one.orders_differ:
                _mark_training(panel, starts[0], order, task, len(curves[0]))
    for panel in axes.flat[len(one.tasks):]:
        panel.set_visible(False)
    if not many:
        _boundaries(axes[0, 0], starts[0], order, len(curves[0]))
        axes[0, 0].legend(loc='center left', bbox_to_anchor=(1., 0.5))
        axes[0, 0].set(xlabel='epoch', ylabel='test accuracy')
    else:
        _outer_labels(axes, len(one.tasks), 'epoch', 'test\naccuracy')
    axes[0, 0].set_ylim(-0.02, 1.02)
    if many:
        figure.suptitle(one.label, fontsize=9)
    else:
        axes[0, 0].set_title(one.label, pad=16)
    if one.orders_differ:
        return ('Test accuracy of every task over all epochs, a panel per task; each trial by itself, since '
                'they learn the tasks in different orders; a line begins where its trial begins the task.',
                figure)
    return _curves_in_words(len(runs), same, many, 'task_changed_epoch' in runs[0]), figure


def _curves_in_words(trials, same, many, lifelong):
    parts = ['Test accuracy of every task over all epochs']
    if trials > 1:
        parts.append('mean over trials, ' + BAND % plural(trials, 'trial') if same else
                     'each trial by itself, since they differ in length; boundaries of the first trial')
    if lifelong:
        parts.append('grey: the epochs in which the task itself was trained' if many else
                     'vertical lines: another task begins, named above')
    return '; '.join(parts) + '.'


def _curve(axes, trials, number, same, label):
    """One task: mean and band where the trials have the same epochs, else a line for each."""
    look = dict(color=COLOURS[number % len(COLOURS)], linestyle=STYLES[number % len(STYLES)], linewidth=1.3)
    if not same:
        for trial, values in enumerate(trials):
            axes.plot(*_thinned(values), label=label if trial == 0 else None, **dict(look, linewidth=0.8))
        return
    mean = np.mean(trials, axis=0)
    epochs, means = _thinned(mean)
    axes.plot(epochs, means, label=label, marker=MARKERS[number % len(MARKERS)], markersize=3,
              markevery=max(1, len(epochs) // 12), **look)
    if len(trials) > 1:
        std = np.std(trials, axis=0, ddof=1)
        axes.fill_between(epochs, means - std[epochs], means + std[epochs], color=look['color'], alpha=0.2,
                          linewidth=0)


def _thinned(values):
    """(epochs, values at these) of every k-th epoch and the last, MOST_POINTS about."""
    epochs = np.arange(0, len(values), max(1, len(values) // MAX_POINTS))
    epochs = np.append(epochs, len(values) - 1) if epochs[-1] < len(values) - 1 else epochs
    return epochs, np.asarray(values)[epochs]


def _boundaries(axes, starts, order, rows, colour='#777777', named='task '):
    """A line where each position begins; its task above, where there is room."""
    ends = np.append(starts[1:] - 1, rows - 1)
    for start in starts[1:]:
        axes.axvline(start - 0.5, color=colour, linewidth=0.8, linestyle=(0, (2, 2)))
    if len(starts) != len(order):
        return
    every = -(-len(order) // 24)
    for position, (start, end, task) in enumerate(zip(starts, ends, order)):
        if position % every == 0:
            axes.text((start + end) / 2., 1.02, (named if len(order) <= 8 else '') + str(task), ha='center',
                      va='bottom', fontsize=7, transform=axes.get_xaxis_transform())


def _mark_training(axes, starts, order, task, rows):
    ends = np.append(starts[1:] - 1, rows - 1)
    for start, end, trained in zip(starts, ends, order):
        if trained == task and len(starts) == len(order):
            axes.axvspan(start - 0.5, end + 0.5, color='#cccccc', linewidth=0)


def _outer_labels(axes, panels, below, left):
    """Labels of a grid: only beside and below its outer panels, which also keep their numbers."""
    rows, columns = axes.shape
    for index in range(panels):
        row, column = divmod(index, columns)
        if column == 0:
            axes[row, column].set_ylabel(left)
        if index + columns >= panels:
            axes[row, column].set_xlabel(below)
            axes[row, column].tick_params(labelbottom=True)


def class_shares(one):
    """{place of a task: [positions, classes, classes]}: shares of a true class's test images (row) that were
    given each class, mean over the trials; NaN where not learned or not known. Only tasks known after the last
    position."""
    runs, shares = [run.get('confusion') for run in one.result['result_of_each_run']], {}
    if not all(isinstance(run, list) and run and all(isinstance(row, list) for row in run) for run in runs):
        return {}
    for place in range(min(len(row) for run in runs for row in run)):
        counts = [[row[place] for row in run] for run in runs]
        shape = np.shape(counts[0][-1])
        if len(shape) != 2 or shape[0] != shape[1] or not shape[0] or any(
                np.shape(trial[-1]) != shape or len(trial) != len(counts[0]) for trial in counts):
            continue
        known = np.array([[np.asarray(one, np.float64) if np.shape(one) == shape else np.full(shape, np.nan)
                           for one in trial] for trial in counts])
        with np.errstate(all='ignore'):
            shares[place] = mean_and_std_where_defined(known / known.sum(axis=-1, keepdims=True))[0]
    return shares


def _panels(one, shares):
    """(figure, [(place of a task, its panel)], axes): of at most CLASS_PANELS tasks."""
    chosen = sorted(shares)[:CLASS_PANELS]
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = _figure(rows, columns, height=0.6 + 2.1 * rows, width=max(3.6, WIDTH * columns / 3.))
    for panel in axes.flat[len(chosen):]:
        panel.set_visible(False)
    figure.suptitle(one.label, fontsize=9)
    for place, panel in zip(chosen, axes.flat):
        panel.set_title('task %d' % one.tasks[place])
    return figure, list(zip(chosen, axes.flat)), axes


def _of_classes(one, shares):
    trials = len(one.result['result_of_each_run'])
    return '%s%s.' % ('; mean over %d trials' % trials if trials > 1 else '', '; the first %d of %d tasks' % (
        CLASS_PANELS, len(shares)) if len(shares) > CLASS_PANELS else '')


def confusion(one, shares):
    """(what it shows, figure): answers by true class after the last position, a panel per task."""
    figure, panels, axes = _panels(one, shares)
    for place, panel in panels:
        matrix = shares[place][-1]
        drawn = panel.imshow(np.ma.masked_invalid(matrix), cmap='cividis', vmin=0, vmax=1)
        for axis in (panel.xaxis, panel.yaxis):
            _number_ticks(axis, range(len(matrix)))
        panel.set(xlabel='answer', ylabel='true class')
        for row, column in np.argwhere(~np.isnan(matrix)) if len(matrix) <= 5 else ():
            panel.text(column, row, '%.2f' % matrix[row, column], ha='center', va='center', fontsize=7,
                       color='black' if matrix[row, column] > 0.6 else 'white')
    figure.colorbar(drawn, ax=axes.ravel().tolist(), label='share of the true class')
    return 'Confusion matrices on the test split after the last position' + _of_classes(one, shares), figure


def class_accuracy(one, shares):
    """(what it shows, figure): test accuracy of each class after each position, a panel per task."""
    figure, panels, _ = _panels(one, shares)
    for place, panel in panels:
        by_class = np.diagonal(shares[place], axis1=1, axis2=2)
        for number, values in enumerate(by_class.T):
            panel.plot(np.arange(len(values)), values, color=COLOURS[number % len(COLOURS)],
                       linestyle=STYLES[number % len(STYLES)], marker=MARKERS[number % len(MARKERS)],
                       markersize=3, linewidth=1., label='class %d' % number)
        _number_ticks(panel.xaxis, _positions(one) if len(by_class) > 1 else ['all'])
        panel.set(xlabel=_after(one), ylabel='test accuracy', xlim=(-0.5, len(by_class) - 0.5),
                  ylim=(-0.02, 1.02))
        if by_class.shape[1] <= 10:
            panel.legend(fontsize=5)
    return 'Test accuracy of each class after each position' + _of_classes(one, shares), figure


def posterior(one):
    """(what it shows, figure): LASEM's mean posterior over patterns in each epoch, a panel per trial."""
    runs = one.result['result_of_each_run']
    chosen = runs[:MAX_PANELS]
    patterns = _patterns(one, chosen[0]['history_net_prior_in_epoch'].shape[1])
    with np.errstate(all='ignore'):
        weight = np.nanmean(np.concatenate([run['history_net_prior_in_epoch'] for run in chosen]), axis=0)
    kept = np.sort(np.argsort(-weight, kind='stable')[:MAX_PATTERNS])
    others = len(patterns) - len(kept)
    figure, axes = _figure(len(chosen), 1, height=0.5 + len(chosen)
                           * (0.9 + 0.14 * (len(kept) + (others > 0))), sharex=True)
    for panel, run, trial, order in zip(axes[:, 0], chosen, one.trials, one.orders):
        history = run['history_net_prior_in_epoch'].astype(np.float64)
        rows = history[:, kept].T
        if others:
            rows = np.vstack([rows, 1. - rows.sum(axis=0)])
        drawn = panel.imshow(np.ma.masked_invalid(rows), cmap='cividis', vmin=0,
                             vmax=max(np.nanmax(rows), 1e-6), aspect='auto',
                             interpolation='nearest', extent=(0.5, len(history) + 0.5, len(rows) - 0.5, -0.5))
        panel.set_facecolor('#e8e8e8')
        panel.set_yticks(range(len(rows)))
        panel.set_yticklabels([patterns[index] for index in kept] + ['%d others' % others] * (others > 0),
                              family='monospace', fontsize=7)
        panel.set_ylabel('pattern')
        panel.set_title('%s, trial %d' % (one.label, trial), pad=17)
        _boundaries(panel, np.ravel(run['task_changed_epoch']), order, len(history) + 1, colour='white')
        figure.colorbar(drawn, ax=panel, label='posterior')
    axes[-1, 0].set_xlabel('epoch')
    return 'Posterior over patterns (S shared, T task-specific, input side first), mean over the steps of ' \
        'each epoch; above: the task%s%s.' % (
        '; the %d with the highest mean, the others added up' % len(kept) if others else '',
        '; the first %d of %d trials' % (len(chosen), len(runs)) if len(chosen) < len(runs) else ''), figure


def _patterns(one, number):
    """Names of the patterns that LASEM searched."""
    info = one.result['model_specific_info']
    groups = info.get('layer_group_config')
    groups = (1,) * len(np.ravel(info['channel_sizes'])) if groups is None else tuple(
        int(size) for size in groups)
    return env.patterns_of(groups) if 2 ** len(groups) == number else [
        'pattern %d' % index for index in range(number)]


def chosen_layers(one):
    """Grid of tasks x layers: the share of trials in which the layer is shared."""
    runs = one.result['result_of_each_run']
    shared = np.sum([np.asarray(run['conv_sharing'], dtype=int) for run in runs], axis=0)
    tasks, layers = shared.shape
    figure, ((axes,),) = _figure(height=max(1.6, 1. + 0.24 * tasks),
                                 width=max(3.6, min(WIDTH, 2. + 0.5 * layers)))
    axes.imshow(shared / float(len(runs)), cmap='Greys', vmin=0, vmax=1.3, aspect='auto')
    for row, column in np.ndindex(tasks, layers):
        text = 'TS'[int(shared[row, column])] if len(runs) == 1 else '%d/%d' % (shared[row, column], len(
            runs))
        axes.text(column, row, text, ha='center', va='center', fontsize=7,
                  color='white' if shared[row, column] > 0.7 * len(runs) else 'black')
    for number in range(1, max(tasks, layers)):
        if number < tasks:
            axes.axhline(number - 0.5, color='#777777', linewidth=0.5)
        if number < layers:
            axes.axvline(number - 0.5, color='#777777', linewidth=0.5)
    axes.set(xlabel='convolution layer', ylabel='task', title=one.label)
    _number_ticks(axes.xaxis, list(range(1, layers + 1)))
    _number_ticks(axes.yaxis, one.tasks[:tasks])
    return figure


def mixture_weights(one):
    """(what it shows, figure): weight of the shared kernel in DARTS' mixture of each layer, through the
    epochs."""
    runs, order = one.result['result_of_each_run'], _positions(one)
    histories = [run['history_DARTS_arch_select'].astype(np.float64) for run in runs]
    same = len({history.shape for history in histories}) == 1 and not one.orders_differ
    # softmax of two
    weights = [1 / (1 + np.exp(history[:, 0::2] - history[:, 1::2])) for history in histories]
    figure, ((axes,),) = _figure(height=3.)
    for layer in range(weights[0].shape[1]):
        trials = [np.append(np.nan, weight[:, layer]) for weight in weights]
        _curve(axes, trials, layer, same, 'layer %d' % (layer + 1))
    axes.axhline(0.5, color='#777777', linewidth=0.7)
    axes.set(xlabel='epoch', ylabel='weight of the shared kernel')
    axes.set_title(one.label, pad=16)
    _boundaries(axes, np.ravel(runs[0]['task_changed_epoch']), order, len(histories[0]) + 1,
                named='position ' if one.orders_differ else 'task ')
    axes.legend(loc='center left', bbox_to_anchor=(1., 0.5), ncol=1 if weights[0].shape[1] <= 9 else 2)
    return 'DARTS: softmax weight of the shared kernel in each layer (1: input side); above 0.5 it is ' \
        'chosen%s.' % (
        '' if len(runs) == 1 else '; mean over trials, ' + BAND % plural(len(runs), 'trial') if same else
        '; each trial by itself, since they learn the tasks in different orders; above: the position'
        if one.orders_differ else '; each trial by itself'), figure


def widths(one):
    """(what it shows, figure): units of each of DEN's hidden layers after each position."""
    runs = one.result['result_of_each_run']
    # [trials, positions, layers]
    counts = np.array([run['den_widths'][[one.tasks.index(task) for task in order]]
                       for run, order in zip(runs, one.orders)], dtype=np.float64)
    figure, ((axes,),) = _figure(height=3.)
    indices = np.arange(counts.shape[1])
    for layer in range(counts.shape[2]):
        number = layer % len(COLOURS)
        mean = counts[:, :, layer].mean(axis=0)
        axes.plot(indices, mean, color=COLOURS[number], linestyle=STYLES[layer % len(STYLES)],
                  marker=MARKERS[layer % len(MARKERS)],
                  markersize=4, linewidth=1.3, label='layer %d' % (layer + 1))
        if len(runs) > 1:
            std = counts[:, :, layer].std(axis=0, ddof=1)
            axes.fill_between(indices, mean - std, mean + std, color=COLOURS[number], alpha=0.2, linewidth=0)
    axes.set(xlabel=_after(one), ylabel='units', title=one.label)
    axes.set_ylim(bottom=0)
    _number_ticks(axes.xaxis, _positions(one))
    axes.legend(loc='center left', bbox_to_anchor=(1., 0.5))
    return 'DEN: units of each hidden layer (1: input side) after each %s%s.' % (
        'position, which the trials fill with different tasks' if one.orders_differ else 'task',
        '; mean over trials, ' + BAND % plural(len(runs), 'trial') if len(runs) > 1 else ''), figure


# ---- several experiments ----

def method_comparison(comparison):
    """(what it shows, figure): bars of the means over trials with their intervals."""
    rows, names = comparison.rows, ('peak', 'final', 'forgetting')
    figure, axes = _figure(1, len(names), height=0.9 + 0.3 * max(2, len(rows)), sharey=True)
    indices = np.arange(len(rows))
    for name, panel, hatch, colour in zip(names, axes[0], ('', '', '//'), COLOURS):
        for index, row in enumerate(rows):
            summary = row.summaries[name]
            if summary.n:
                panel.barh(index, summary.mean, height=0.7, color=colour, alpha=0.75, hatch=hatch,
                           edgecolor='white', linewidth=0)
            half = _half(summary)
            if half is not None:
                panel.errorbar(summary.mean, index, xerr=half, color='black', capsize=2.5, linewidth=1)
        _zero_line(panel, any(row.summaries[name].n for row in rows))
        panel.set_xlabel(METRICS[name].title.replace(' test accuracy', '\ntest accuracy'))
        panel.set_yticks(indices)
        panel.set_yticklabels([_marked(row) for row in rows])
        panel.invert_yaxis() if name == names[0] else panel.tick_params(labelleft=False)
    several = any(_half(row.summaries['final']) is not None for row in rows)
    return 'Means over trials%s.' % (
        "; whiskers: 95 % interval of the mean, Student's t over trials, each for itself" if several else
        '; no intervals: they need two trials'), figure


def _zero_line(panel, defined):
    panel.axvline(0, color='black', linewidth=0.8)
    if defined:
        panel.locator_params(axis='x', nbins=3)
    else:
        panel.set_xticks([])
        panel.text(0.5, 0.5, 'undefined', ha='center', transform=panel.transAxes)


def _half(summary):
    """Half the width of the 95 % interval of a mean over trials; None for fewer than two."""
    if summary.n < 2:
        return None
    from scipy.special import stdtrit
    return stdtrit(summary.n - 1, 0.975) * summary.std / np.sqrt(summary.n)


def method_differences(comparison):
    """(what it shows, figure): each method minus the baseline, with the simultaneous intervals."""
    rows = [row for row in comparison.rows if row.differences]
    names = ('peak', 'final', 'forgetting')
    figure, axes = _figure(1, len(names), height=0.9 + 0.3 * max(2, len(rows)), sharey=True)
    for number, (name, panel) in enumerate(zip(names, axes[0])):
        for index, row in enumerate(rows):
            difference = row.differences[name]
            half = None if np.isnan(difference.lower) else (difference.upper - difference.lower) / 2
            panel.errorbar(difference.mean, index, xerr=half, color=COLOURS[number], marker=MARKERS[number],
                           markersize=5, capsize=2.5, linewidth=1.3)
        _zero_line(panel, any(row.differences[name].n for row in rows))
        panel.set_xlabel(METRICS[name].title.replace(' test accuracy', '\ntest accuracy')
                         + '\nminus that of ' + _wrapped(comparison.baseline))
        panel.set_yticks(range(len(rows)))
        panel.set_yticklabels([_marked(row) for row in rows])
        panel.set_ylim(len(rows) - 0.5, -0.5) if number == 0 else panel.tick_params(labelleft=False)
    intervals = 'whiskers: ' + correction(
        comparison) if comparison.has_intervals else 'no intervals: they need two trials'
    return 'Means over trials of the differences to %s; %s.' % (comparison.baseline, intervals), figure


def _marked(row):
    return (_wrapped(row.label) + '\n' + bracketed(row.marks)).rstrip()


def _wrapped(label):
    """A label on lines of at most 26 letters, broken at commas."""
    lines = ['']
    for part in label.split(', '):
        part = part if len(part) <= 26 else part[:25] + '...'
        if lines[-1] and len(lines[-1]) + len(part) > 26:
            lines.append('')
        lines[-1] += (', ' if lines[-1] else '') + part
    return '\n'.join(lines)
