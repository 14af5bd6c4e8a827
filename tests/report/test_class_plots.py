"""Plots by class: the numbers that they show, by hand."""
import numpy as np

from classification.report import class_plots, figures, plots
from classification.report.groups import read_groups
from classification.results.ragged import packed
from tests.support import result_files


def reported(tmp_path, *counts):
    """An experiment of two tasks, a trial for each dict (position, task) -> confusion matrix."""
    records = []
    for trial, matrices in enumerate(counts):
        values, parts = packed({key: np.array(matrix) for key, matrix in matrices.items()})
        records.append(result_files.record([[0.5, np.nan], [0.5, 0.5]], trial=trial)._replace(
            confusion=values, confusion_parts=parts))
    path = result_files.write(tmp_path / 'x.mat', 'STL', records)
    (group,), _ = read_groups([path])
    return group.members[0]


def test_shares_are_means_over_trials(tmp_path):
    one = reported(tmp_path, {(0, 0): [[4, 0], [2, 2]], (1, 0): [[3, 1], [0, 4]], (1, 1): [[1]]},
                   {(0, 0): [[2, 2], [0, 4]], (1, 0): [[1, 3], [4, 0]], (1, 1): [[5]]})
    shares = class_plots.class_shares(one)
    assert shares[0].tolist() == [[[0.75, 0.25], [0.25, 0.75]], [[0.5, 0.5], [0.5, 0.5]]]
    assert np.isnan(shares[1][0]).all() and shares[1][1].tolist() == [[1.]]
    found = {name: figure for name, _, figure in plots.plots_of(one)}
    shown = found['confusion'].axes[0].images[0].get_array()
    assert shown.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    lines = found['class_accuracy'].axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[0.75, 0.5], [0.75, 0.5]]
    for figure in found.values():
        figures.close(figure)


def test_what_is_not_known_is_not_drawn(tmp_path):
    assert class_plots.class_shares(reported(tmp_path, {(0, 0): [[4, 0], [2, 2]]})) == {}
