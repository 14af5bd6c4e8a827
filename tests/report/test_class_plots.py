"""Plots by class: the numbers that they show, by hand."""
import numpy as np

from classification.report import class_plots, figures, plots
from classification.report.groups import read_groups
from classification.results.ragged import packed
from tests.support import result_files


def reported(tmp_path, *counts):
    """An experiment of tasks 1 and 3, a trial for each dict (position, task) -> confusion matrix."""
    records = []
    for trial, matrices in enumerate(counts):
        values, parts = packed({key: np.array(matrix) for key, matrix in matrices.items()})
        records.append(result_files.record([[0.5, np.nan], [0.5, 0.5]], trial=trial, order=(1, 3))._replace(
            confusion=values, confusion_parts=parts))
    path = result_files.write(tmp_path / 'x.mat', 'STL', records, (1, 3))
    (group,), _ = read_groups([path])
    return group.members[0]


def test_shares_are_means_over_trials(tmp_path):
    """Also where a trial tests more images than another."""
    one = reported(tmp_path, {(0, 1): [[4, 0], [2, 2]], (1, 1): [[3, 1], [0, 4]], (1, 3): [[1]]},
                   {(0, 1): [[2, 2], [0, 8]], (1, 1): [[1, 1], [8, 0]], (1, 3): [[5]]})
    shares = class_plots.class_shares(one)
    assert shares[0].tolist() == [[[0.75, 0.25], [0.25, 0.75]], [[0.625, 0.375], [0.5, 0.5]]]
    assert np.isnan(shares[1][0]).all() and shares[1][1].tolist() == [[1.]]
    found = {name: figure for name, _, figure in plots.plots_of(one)}
    panel = found['confusion'].axes[0]
    assert panel.images[0].get_array().tolist() == [[0.625, 0.375], [0.5, 0.5]]
    assert (panel.get_title(), panel.get_xlabel(), panel.get_ylabel()) == ('task 1', 'answer', 'true class')
    assert {text.get_position(): text.get_text() for text in panel.texts} == {      # (column, row)
        (0, 0): '0.62', (1, 0): '0.38', (0, 1): '0.50', (1, 1): '0.50'}
    lines = found['class_accuracy'].axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[0.75, 0.625], [0.75, 0.5]]
    for figure in found.values():
        figures.close(figure)


def test_what_is_not_known_is_not_drawn(tmp_path):
    assert class_plots.class_shares(reported(tmp_path, {(0, 1): [[4, 0], [2, 2]]})) == {}
