"""What all plots of the report share: for print, for grey print and for colour-blind readers.

Colours are Okabe and Ito's (jfly.uni-koeln.de/color), each with a line style and a marker of its own; maps
are cividis. matplotlib is imported when the first plot is made.
"""
import importlib.util
import io
import os

import numpy as np

from utils.paths import home_folder
from utils.utils import UserError, write_atomically

COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
STYLES = ('-', '--', '-.', ':')
MARKERS = 'osD^vP*X<>'
WIDTH = 7.0                 # inches
MAX_POINTS = 600           # of a curve
PNG_DPI = 150
BAND = 'band: one sample standard deviation to either side of the mean over %s'


def check_matplotlib():
    """Before the first plot is made.

    Raises:
        UserError: matplotlib is not installed.
    """
    if home_folder() is None:       # older versions cannot be imported then
        os.environ['HOME'] = os.environ.get('XDG_CACHE_HOME', '/')
    if importlib.util.find_spec('matplotlib') is None:
        raise UserError(
            'matplotlib, which makes the plots, is not installed; run: python3 -m pip install -r '
            'requirements.txt')


def _pyplot():
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    pyplot.rcParams.update({'font.size': 9, 'axes.titlesize': 9, 'axes.spines.top': False,
                            'axes.spines.right': False,
                            'legend.frameon': False, 'figure.max_open_warning': 0, 'svg.hashsalt': 'report'})
    return pyplot


def new_figure(rows=1, columns=1, height=2.6, width=WIDTH, **more):
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


def number_ticks(axis, names):
    """A tick for each name, thinned out where there are many."""
    indices = np.arange(0, len(names), 1 if len(names) <= 20 else 5)
    axis.set_ticks(indices)
    axis.set_ticklabels([str(names[index]) for index in indices])


def after(one):
    """Label of an axis whose ticks are `positions_of`."""
    return 'after position' if one.orders_differ else 'after learning task'


def positions_of(one):
    """Name of each position in the order of tasks: the task, where all trials have the same."""
    return list(range(len(one.orders[0]))) if one.orders_differ else one.orders[0]


def curve(axes, trials, number, same, label):
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
    """(epochs, values at these) of every k-th epoch and the last, MAX_POINTS about."""
    epochs = np.arange(0, len(values), max(1, len(values) // MAX_POINTS))
    epochs = np.append(epochs, len(values) - 1) if epochs[-1] < len(values) - 1 else epochs
    return epochs, np.asarray(values)[epochs]


def boundaries(axes, starts, order, rows, colour='#777777', named='task '):
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


def outer_labels(axes, panels, below, left):
    """Labels of a grid: only beside and below its outer panels, which also keep their numbers."""
    rows, columns = axes.shape
    for index in range(panels):
        row, column = divmod(index, columns)
        if column == 0:
            axes[row, column].set_ylabel(left)
        if index + columns >= panels:
            axes[row, column].set_xlabel(below)
            axes[row, column].tick_params(labelbottom=True)
