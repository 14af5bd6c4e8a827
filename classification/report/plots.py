"""The report's plots: of an experiment by itself, and of the methods of a group."""
import numpy as np

from classification.report import class_plots, method_plots
from classification.report.figures import (
    BAND,
    COLOURS,
    MARKERS,
    WIDTH,
    after,
    boundaries,
    curve,
    new_figure,
    number_ticks,
    outer_labels,
    positions_of,
)
from classification.report.marks import bracketed
from classification.report.statistics import METRICS, correction
from classification.results.metrics import mean_and_std, mean_and_std_where_defined
from classification.results.read_results import test_curves
from utils.utils import plural

MANY_TASKS = 6              # more than this: a panel per task
MAX_CELLS = 12             # tasks up to which the accuracy matrix has its numbers written in


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
    shares = class_plots.class_shares(one)
    if shares:
        yield ('confusion',) + class_plots.confusion(one, shares)
        yield ('class_accuracy',) + class_plots.class_accuracy(one, shares)
    if all('history_net_prior_in_epoch' in run for run in runs):
        yield ('posterior',) + method_plots.posterior(one)
    if all('conv_sharing' in run for run in runs):
        yield 'chosen_layers', 'Chosen layers of each task, input side left: %s.' % (
            'S shared, T task-specific' if len(runs) == 1
            else 'number of trials in which the layer is shared / of all'
        ), method_plots.chosen_layers(one)
    if all('history_DARTS_arch_select' in run for run in runs):
        yield ('mixture_weights',) + method_plots.mixture_weights(one)
    if all('den_widths' in run for run in runs):
        yield ('widths',) + method_plots.widths(one)


def plots_of_group(comparison):
    """The plots that compare the methods of a group: as `plots_of`."""
    yield ('comparison',) + method_comparison(comparison)
    if len([row for row in comparison.rows if _placed(row)]) > 1:
        yield ('parameters',) + accuracy_against_parameters(comparison)
    if comparison.baseline:
        yield ('differences',) + method_differences(comparison)


# ---- one experiment ----

def accuracy_matrix(one):
    """Heat map; row: after learning a position; column: task evaluated."""
    statistics = mean_and_std_where_defined if one.orders_differ else mean_and_std
    with np.errstate(all='ignore'):
        matrix = statistics(one.result['accuracy_matrix'])[0]
    positions, tasks = matrix.shape
    figure, ((axes,),) = new_figure(height=max(1.6, min(6., 1. + 0.3 * positions)),
                                 width=max(3.6, min(WIDTH, 2. + 0.45 * tasks)))
    shown = axes.imshow(np.ma.masked_invalid(matrix), cmap='cividis', vmin=0, vmax=1, aspect='auto')
    axes.set_facecolor('#e8e8e8')
    axes.set(xlabel='task evaluated', ylabel=after(one), title=one.label)
    number_ticks(axes.xaxis, one.tasks)
    number_ticks(axes.yaxis, positions_of(one) if positions > 1 else ['all'])
    for row, column in np.argwhere(~np.isnan(matrix)) if max(positions, tasks) <= MAX_CELLS else ():
        axes.text(column, row, '%.2f' % matrix[row, column], ha='center', va='center', fontsize=7,
                  color='black' if matrix[row, column] > 0.6 else 'white')
    figure.colorbar(shown, ax=axes, label='test accuracy')
    return figure


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
    figure, axes = new_figure(rows, columns, height=height, sharex=True, sharey=True,
                           constrained_layout=not many)
    if many:        # twenty panels would take the automatic layout seconds
        figure.subplots_adjust(left=0.1, right=0.985, bottom=0.45 / height, top=1 - 0.5 / height, hspace=0.4,
                               wspace=0.1)
    for index, task in enumerate(one.tasks):
        panel = axes.flat[index if many else 0]
        curve(panel, [curve[:, index] for curve in curves], 0 if many else index, same,
               'task %d' % task)
        if many:
            panel.set_title('task %d' % task, pad=2)
            if not one.orders_differ:
                _mark_training(panel, starts[0], order, task, len(curves[0]))
    for panel in axes.flat[len(one.tasks):]:
        panel.set_visible(False)
    if not many:
        boundaries(axes[0, 0], starts[0], order, len(curves[0]))
        axes[0, 0].legend(loc='center left', bbox_to_anchor=(1., 0.5))
        axes[0, 0].set(xlabel='epoch', ylabel='test accuracy')
    else:
        outer_labels(axes, len(one.tasks), 'epoch', 'test\naccuracy')
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


def _mark_training(axes, starts, order, task, rows):
    ends = np.append(starts[1:] - 1, rows - 1)
    for start, end, trained in zip(starts, ends, order):
        if trained == task and len(starts) == len(order):
            axes.axvspan(start - 0.5, end + 0.5, color='#cccccc', linewidth=0)


# ---- several experiments ----

def method_comparison(comparison):
    """(what it shows, figure): bars of the means over trials with their intervals."""
    rows, names = comparison.rows, ('peak', 'final', 'forgetting')
    figure, axes = new_figure(1, len(names), height=0.9 + 0.3 * max(2, len(rows)), sharey=True)
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


def accuracy_against_parameters(comparison):
    """(what it shows, figure): a mark per method, whiskers in both directions."""
    figure, ((panel,),) = new_figure(height=3.4)
    for index, row in enumerate(comparison.rows):
        if _placed(row):
            final, parameters = row.summaries['final'], row.summaries['parameters']
            panel.errorbar(parameters.mean, final.mean, xerr=_half(parameters), yerr=_half(final),
                           color=COLOURS[index % len(COLOURS)], marker=MARKERS[index % len(MARKERS)],
                           markersize=5, capsize=2.5, linewidth=1., linestyle='none', label=_marked(row))
    panel.set_xscale('log')
    panel.set(xlabel='parameters that are kept after the last task', ylabel=METRICS['final'].title)
    panel.legend(loc='center left', bbox_to_anchor=(1., 0.5), fontsize=7)
    several = any(_half(row.summaries['final']) is not None for row in comparison.rows)
    return 'Accuracy against parameters, means over trials%s.' % (
        "; whiskers: 95 % intervals of the means, Student's t" if several else ''), figure


def _placed(row):
    return row.summaries['final'].n and row.summaries['parameters'].n and row.summaries['parameters'].mean > 0


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
    figure, axes = new_figure(1, len(names), height=0.9 + 0.3 * max(2, len(rows)), sharey=True)
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
