"""Plots of what a network answers to the test images of each class."""
import numpy as np

from classification.report.figures import (
    COLOURS,
    MARKERS,
    STYLES,
    WIDTH,
    after,
    new_figure,
    number_ticks,
    positions_of,
)
from classification.results.metrics import mean_and_std_where_defined

CLASS_PANELS = 12     # tasks in a plot


def class_shares(one):
    """{place of a task: [positions, classes, classes]}: shares of a true class's test images (row) that were
    given each class, mean over the trials; NaN where not learned or not known. Only tasks known after the
    last position."""
    runs, shares = [run.get('confusion') for run in one.result['result_of_each_run']], {}
    if not all(isinstance(run, list) and run and all(isinstance(row, list) for row in run) for run in runs):
        return {}
    for place in range(min(len(row) for run in runs for row in run)):
        counts = [[row[place] for row in run] for run in runs]
        shape = np.shape(counts[0][-1])
        if len(shape) != 2 or shape[0] != shape[1] or not shape[0] or any(
                np.shape(trial[-1]) != shape or len(trial) != len(counts[0]) for trial in counts):
            continue
        known = np.array([[np.asarray(matrix, np.float64) if np.shape(matrix) == shape
                           else np.full(shape, np.nan) for matrix in trial] for trial in counts])
        with np.errstate(all='ignore'):
            shares[place] = mean_and_std_where_defined(known / known.sum(axis=-1, keepdims=True))[0]
    return shares


def _panels(one, shares):
    """(figure, [(place of a task, its panel)], axes): of at most CLASS_PANELS tasks."""
    chosen = sorted(shares)[:CLASS_PANELS]
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = new_figure(rows, columns, height=0.6 + 2.1 * rows, width=max(3.6, WIDTH * columns / 3.))
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
            number_ticks(axis, range(len(matrix)))
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
        number_ticks(panel.xaxis, positions_of(one) if len(by_class) > 1 else ['all'])
        panel.set(xlabel=after(one), ylabel='test accuracy', xlim=(-0.5, len(by_class) - 0.5),
                  ylim=(-0.02, 1.02))
        if by_class.shape[1] <= 10:
            panel.legend(fontsize=5)
    return 'Test accuracy of each class after each position' + _of_classes(one, shares), figure
