"""Plots of what a method does: LASEM's posterior and chosen layers, DARTS' mixture weights, DEN's widths."""
import numpy as np

from classification.report.figures import (
    BAND,
    COLOURS,
    MARKERS,
    STYLES,
    WIDTH,
    after,
    boundaries,
    curve,
    new_figure,
    number_ticks,
    positions_of,
)
from utils import utils_env_cl as env
from utils.utils import plural

MAX_PATTERNS = 16          # rows of a posterior
MAX_PANELS = 3             # trials whose posterior is drawn


def posterior(one):
    """(what it shows, figure): LASEM's mean posterior over patterns in each epoch, a panel per trial."""
    runs = one.result['result_of_each_run']
    chosen = runs[:MAX_PANELS]
    patterns = _patterns(one, chosen[0]['history_net_prior_in_epoch'].shape[1])
    with np.errstate(all='ignore'):
        weight = np.nanmean(np.concatenate([run['history_net_prior_in_epoch'] for run in chosen]), axis=0)
    kept = np.sort(np.argsort(-weight, kind='stable')[:MAX_PATTERNS])
    others = len(patterns) - len(kept)
    figure, axes = new_figure(len(chosen), 1, height=0.5 + len(chosen)
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
        boundaries(panel, np.ravel(run['task_changed_epoch']), order, len(history) + 1, colour='white')
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
    figure, ((axes,),) = new_figure(height=max(1.6, 1. + 0.24 * tasks),
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
    number_ticks(axes.xaxis, list(range(1, layers + 1)))
    number_ticks(axes.yaxis, one.tasks[:tasks])
    return figure


def mixture_weights(one):
    """(what it shows, figure): weight of the shared kernel in DARTS' mixture of each layer, through the
    epochs."""
    runs, order = one.result['result_of_each_run'], positions_of(one)
    histories = [run['history_DARTS_arch_select'].astype(np.float64) for run in runs]
    same = len({history.shape for history in histories}) == 1 and not one.orders_differ
    # softmax of two
    weights = [1 / (1 + np.exp(history[:, 0::2] - history[:, 1::2])) for history in histories]
    figure, ((axes,),) = new_figure(height=3.)
    for layer in range(weights[0].shape[1]):
        trials = [np.append(np.nan, weight[:, layer]) for weight in weights]
        curve(axes, trials, layer, same, 'layer %d' % (layer + 1))
    axes.axhline(0.5, color='#777777', linewidth=0.7)
    axes.set(xlabel='epoch', ylabel='weight of the shared kernel')
    axes.set_title(one.label, pad=16)
    boundaries(axes, np.ravel(runs[0]['task_changed_epoch']), order, len(histories[0]) + 1,
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
    figure, ((axes,),) = new_figure(height=3.)
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
    axes.set(xlabel=after(one), ylabel='units', title=one.label)
    axes.set_ylim(bottom=0)
    number_ticks(axes.xaxis, positions_of(one))
    axes.legend(loc='center left', bbox_to_anchor=(1., 0.5))
    return 'DEN: units of each hidden layer (1: input side) after each %s%s.' % (
        'position, which the trials fill with different tasks' if one.orders_differ else 'task',
        '; mean over trials, ' + BAND % plural(len(runs), 'trial') if len(runs) > 1 else ''), figure
