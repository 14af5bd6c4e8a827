"""What DEN did, in words: is it selective, does it grow, does it split?"""
import numpy as np


def line(extra, row, task):
    """One task of a trial.

    Args:
        extra: dict of the fields den_* of the trial.
        row: of the task in these fields.
    """
    density = extra['den_edge_density'][row]
    stages = np.flatnonzero(~np.isnan(density[:, 0]))
    parts = []
    if len(stages):
        parts += ['edges present %s (of fresh weights %s)' % (_numbers(density[stages[-1]]),
                                                              _numbers(extra['den_fresh_density'][row]))]
    if not np.isnan(extra['den_loss_before_expansion'][row]):
        parts += ['units selected %s' % _numbers(extra['den_selected_fraction'][row]),
                  'loss before expansion %.4g' % extra['den_loss_before_expansion'][row],
                  'units added %s' % _counts(extra['den_expanded'][row]),
                  'split %s of %s that drifted' % (_counts(extra['den_split'][row]),
                                                   _counts(extra['den_split_candidates'][row]))]
    return 'task %d: %s; units per layer %s' % (task, ', '.join(parts), _counts(extra['den_widths'][row]))


def lines(extra, tasks):
    """All tasks of a trial, which are the rows of the fields."""
    return [line(extra, row, task) for row, task in enumerate(tasks)]


def _numbers(values):
    return ' '.join('%.2f' % value for value in values)


def _counts(values):
    return '/'.join('%d' % value for value in values)
