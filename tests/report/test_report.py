"""The report: numbers worked out by hand, what is compared with what, the formats, the plots, the page in a
browser."""
import csv
import io
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml
from collections import OrderedDict

import numpy as np
import pytest

from classification.report import command as report
from classification.report.groups import read_groups
from classification.report.statistics import (
    METRICS,
    check_baseline,
    compare,
    interval,
    paired,
    summary,
)
from tests.support.commands import ROOT
from tests.support.result_files import drawn, record, write, write_published
from utils.utils import UserError

NAN = np.nan
KNOWN = 'Task-incremental: the task of a test image is known.'
ALWAYS = [metric for metric in METRICS.values() if not metric.where_known]

STL_TRIALS = [record([[0.8, NAN], [0.8, 0.9]], trial=trial, seconds=10. + trial) for trial in range(3)]
HPS_TRIALS = [record([[0.9, NAN], [0.6, 0.8]], peak=[0.92, 0.8], trial=0),
              record([[0.8, NAN], [0.6, 0.9]], trial=1),
              record([[0.7, NAN], [0.6, 0.7]], peak=[0.75, 0.7], trial=2, parameters=1234)]


@pytest.fixture
def two(tmp_path):
    """A file with STL and HPS, three trials of two tasks."""
    path = write(tmp_path / 'x.mat', 'STL', STL_TRIALS, config=True)
    return write(path, 'Hybrid_HPS', HPS_TRIALS, pattern='TTSS', config=True)


def compared(*paths, **options):
    """The Comparison of the only group of these files."""
    (group,), _ = read_groups(list(paths))
    return compare(group, **options)


def run(*options):
    """Exit status of the command line."""
    try:
        return report.main(list(options))
    except SystemExit as end:
        return end.code


# ---- numbers ----

BY_HAND = {     # of HPS: (mean, sample standard deviation, n)
    'peak': (np.mean([0.86, 0.85, 0.725]), np.std([0.86, 0.85, 0.725], ddof=1), 3),
    'final': (0.7, 0.05, 3),                                                # 0.7, 0.75, 0.65
    'incremental': (0.75, np.sqrt((0.05 ** 2 + 0.025 ** 2 + 0.075 ** 2) / 2), 3),     # 0.8, 0.775, 0.675
    'transfer': (-0.2, 0.1, 3),                                             # -0.3, -0.2, -0.1
    'forgetting': (0.2, 0.1, 3),
    'ratio': (np.mean([0.6 / 0.92, 0.75, 0.8]), np.std([0.6 / 0.92, 0.75, 0.8], ddof=1), 3),
    'peak_gain': (np.mean([0.01, 0., -0.125]), np.std([0.01, 0., -0.125], ddof=1), 3),
    'final_gain': (-0.15, 0.05, 3),                                         # -0.15, -0.1, -0.2
    'time': (10., 0., 3),
    'parameters': (1234, NAN, 1),
}


def test_numbers_worked_out_by_hand(two):
    made = compared(two)
    assert ([row.label for row in made.rows] == ['STL', 'Hybrid_HPS TTSS']
            and made.baseline == 'STL' and made.notes == [KNOWN])
    assert set(BY_HAND) == set(made.metrics)
    for name, expected in BY_HAND.items():
        np.testing.assert_allclose(made.rows[1].summaries[name], expected, atol=1e-12, err_msg=name)
    stl = made.rows[0].summaries
    np.testing.assert_allclose(stl['time'], (11., 1., 3))
    np.testing.assert_allclose(stl['ratio'], (1., 0., 3))
    assert stl['final_gain'].n == 0 and np.isnan(stl['final_gain'].mean) and made.rows[0].differences == {}


def test_three_tasks_by_hand(tmp_path):
    R = [[0.5, NAN, NAN], [0.7, 0.4, NAN], [0.4, 0.5, 0.9]]
    made = compared(write(tmp_path / 'x.mat', 'EWC', [record(R, peak=[0.5, 0.8, 0.9])]))
    values = {name: made.rows[0].summaries[name].mean for name in METRICS}
    expected = {'peak': 2.2 / 3, 'final': 0.6, 'incremental': (0.5 + 0.55 + 0.6) / 3, 'transfer': 0.,
                'forgetting': 0.1,
                'ratio': (0.8 + 0.625) / 2, 'peak_gain': NAN, 'final_gain': NAN, 'time': 10.,
                'parameters': 1000}
    np.testing.assert_allclose([values[name] for name in expected], list(expected.values()), atol=1e-12)
    assert made.baseline is None and 'one trial' in made.notes[-1] and 'No gain over STL' in made.notes[-2]


def test_intervals_by_the_table_of_student():
    """t of 2 degrees of freedom: 4.302653 at 0.975, 6.205347 at 0.9875, which two intervals need."""
    np.testing.assert_allclose(interval([0.1, 0.2, 0.3]), (0.2, 0.2 - 4.302653 * 0.1 / 3 ** 0.5,
                                                           0.2 + 4.302653 * 0.1 / 3 ** 0.5, 3), rtol=1e-6)
    np.testing.assert_allclose(interval([0.3, NAN, 0.1, 0.2], 2)[1], 0.2 - 6.205347 * 0.1 / 3 ** 0.5,
                               rtol=1e-6)
    assert interval([0.1])[0] == 0.1 and np.isnan(interval([0.1])[1:3]).all() and interval([0.1]).n == 1
    assert np.isnan(interval([])[:3]).all() and interval([NAN]).n == 0
    assert np.isnan(summary([0.5]).std) and summary([0.5, NAN]).n == 1


def test_differences_are_paired_by_the_number_of_the_trial(tmp_path):
    np.testing.assert_array_equal(paired([1., 2., 3.], [0, 2, 5], [10., 20.], [5, 0]), [-19., NAN, -7.])
    path = write(tmp_path / 'x.mat', 'STL', [STL_TRIALS[2], STL_TRIALS[1]])
    made = compared(write(path, 'Hybrid_HPS', HPS_TRIALS, pattern='TTSS'))
    difference = made.rows[1].differences['final']      # trials 1 and 2 only
    np.testing.assert_allclose((difference.mean, difference.n), (-0.15, 2))
    half = 12.706205 * np.std([-0.1, -0.2], ddof=1) / 2 ** 0.5
    np.testing.assert_allclose((difference.lower, difference.upper), (-0.15 - half, -0.15 + half), rtol=1e-6)


def test_more_methods_widen_the_intervals(two):
    half = 0.05 / 3 ** 0.5
    np.testing.assert_allclose(compared(two).rows[1].differences['final'].lower, -0.15 - 4.302653 * half,
                               rtol=1e-6)
    made = compared(write(two, 'EWC', STL_TRIALS))
    assert made.compared == 2
    np.testing.assert_allclose(made.rows[1].differences['final'].lower, -0.15 - 6.205347 * half, rtol=1e-6)
    made = compared(two, baseline='hps')
    assert made.baseline == 'Hybrid_HPS TTSS'
    np.testing.assert_allclose(made.rows[0].differences['final'].mean, 0.15)


# ---- what is compared with what ----

def test_only_the_same_data_are_compared(two, tmp_path):
    other = write(tmp_path / 'y.mat', 'EWC', STL_TRIALS, data_percent=4)
    write(other, 'SNN', STL_TRIALS, seed=1)
    write(other, 'ProgNN', [record([[0.8, NAN], [0.8, 0.9]], order=(1, 0))], (1, 0))
    write(other, 'ChannelGate', STL_TRIALS, data_type='MNIST5')
    groups, _ = read_groups([two, other])
    assert [(group.title, len(group.members)) for group in groups] == [
        ('DIGITS5, 2 tasks, order of tasks 0 1, seed 0', 2),
        ('DIGITS5 at 4 %, 2 tasks, order of tasks 0 1, seed 0', 1),
        ('DIGITS5, 2 tasks, order of tasks 0 1, seed 1', 1), ('DIGITS5, 2 tasks, order of tasks 1 0, seed 0',
                                                              1),
        ('MNIST5, 2 tasks, order of tasks 0 1, seed 0', 1)]


def test_files_that_do_not_say_their_data_are_compared_on_request(tmp_path):
    paths = [str(tmp_path / name) for name in ('x.mat', 'y.mat')]
    for path in paths:
        write_published(path)
    groups, _ = read_groups(paths)
    assert [len(group.members) for group in groups] == [1, 1]
    assert 'does not say on what data' in groups[0].notes[0] and 'Computed from the histories' in groups[
        0].notes[1]
    group, = read_groups(paths, assume_same_data=True)[0]
    assert [one.label for one in group.members] == ['Hybrid_HPS TTSS, x.mat', 'Hybrid_HPS TTSS, y.mat']
    np.testing.assert_allclose(compare(group).rows[0].summaries['peak'].mean, 0.397 / 3)


def test_an_experiment_that_is_there_twice_counts_once(two, tmp_path):
    copy = shutil.copy(two, str(tmp_path / 'copy.mat'))
    (group,), notes = read_groups([two, copy])
    assert [one.path for one in group.members] == [copy, copy] and len(notes) == 2
    assert notes[0] == 'STL of %s, experiment 1 is left out: the same experiment again' % two


def test_equal_methods_are_told_apart(tmp_path):
    path = str(tmp_path / 'x.mat')
    for number, fingerprint in enumerate(('a' * 64, 'b' * 64)):
        write(path, 'EWC', STL_TRIALS, fingerprint=fingerprint, run_id=fingerprint, config=True)
    assert [row.label for row in compared(path).rows] == ['EWC, experiment 1', 'EWC, experiment 2']
    with pytest.raises(UserError,
                       match='--baseline STL: choose one of: EWC, experiment 1; EWC, experiment 2'):
        check_baseline(read_groups([path])[0], 'STL')
    made = compared(path, baseline='EWC')
    assert made.baseline is None and 'No differences to EWC: 2 methods have this name' in made.notes[1]
    assert compared(path, baseline='ewc, experiment 2').baseline == 'EWC, experiment 2'


# ---- formats ----

def test_text_has_each_definition_above_its_numbers(two, capsys):
    assert run(two) == 0
    out = capsys.readouterr().out
    lines = out.split('\n')
    place = lines.index('final average test accuracy: test accuracy after the last task; mean over tasks')
    assert lines[place + 1:place + 4] == [
        '  method           mean    sample std  n  difference to STL  95 % interval       pairs',
        '  STL              0.8500  0.0000      3  -                  baseline            -',
        '  Hybrid_HPS TTSS  0.7000  0.0500      3  -0.1500            [-0.2742, -0.0258]  3']
    assert all('%s: %s' % (metric.title, metric.definition) in lines for metric in ALWAYS)
    assert lines.count('Note: ' + KNOWN) == 1
    assert ('Bonferroni correction for 1 method compared with STL' in out
            and '+/-' not in out and u'\xb1' not in out)


def test_csv_is_read_back(two, capsys):
    assert run(two, '--format', 'csv') == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 2 * len(ALWAYS)
    row, = [row for row in rows if (row['method'], row['metric'])
            == ('Hybrid_HPS TTSS', 'final average test accuracy')]
    np.testing.assert_allclose([float(row[name]) for name in ('mean', 'sample_std', 'n',
                                                              'difference_to_baseline',
                                                              'interval_lower', 'pairs', 'confidence',
                                                              'compared_methods')],
                               [0.7, 0.05, 3, -0.15, -0.15 - 4.302653 * 0.05 / 3 ** 0.5, 3, 0.95, 1],
                               rtol=1e-6)
    assert (row['correction'], row['baseline'], row['file']) == ('Bonferroni', 'STL', two)


def test_latex(two, capsys):
    assert run(two, '--format', 'latex') == 0
    out = capsys.readouterr().out
    assert r'Hybrid\_HPS TTSS & 0.8117 (0.0752) & 0.7000 (0.0500) & 0.7500 (0.0661) & 3 \\' in out
    assert r'Hybrid\_HPS TTSS & $-$0.0383 [$-$0.2252, 0.1485] & $-$0.1500 [$-$0.2742, $-$0.0258]' in out
    assert not re.search(r'(?<!\\)[_#]|(?<!\\)%(?! Needs| Note)', out.replace('tab:lifelong', ''))
    assert out.count(r'\begin{table}') == out.count(r'\end{table}') == out.count(r'\toprule') == 5
    for table in out.split(r'\begin{tabular}')[1:]:
        columns = len(re.match(r'\{(l?r*)\}', table).group(1))
        assert {line.count(' & ') for line in table.split('\n') if line.endswith(r'\\')} == {columns - 1}


@pytest.mark.parametrize('options, says', [
    (['none.mat'], 'none.mat cannot be read'), (['x.mat', '--baseline', 'DEN'],
                                                'choose one of: Hybrid_HPS TTSS; STL'),
    ([], 'the following arguments are required'), (['x.mat', '--format', 'pdf'], "invalid choice: 'pdf'"),
    (['x.mat', '--out', 'x.mat'], '--out x.mat cannot be written'), (['text.mat'], 'not a MATLAB file'),
    (['x.mat', '--form', 'csv'], '--form')])
def test_a_mistake_gets_one_line(options, says, two, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text.mat').write_text(u'text')
    assert run(*options) == 2
    out, err = capsys.readouterr()
    assert says in err and err.count('\n') == 1 and err.startswith('error: ') and not out


def test_neither_tensorflow_nor_matplotlib_is_imported(two):
    code = 'import sys; from utils import report; report.main(sys.argv[1:]); ' \
           'import main, classification.train_wrapper; ' \
           'sys.exit(any(name.split(".")[0] in ("tensorflow", "matplotlib") for name in sys.modules))'
    assert subprocess.call([sys.executable, '-c', code, two], cwd=ROOT, stdout=subprocess.DEVNULL) == 0


def test_the_command_works_from_any_folder(two, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert report.command_for('Result/a b.mat') == "python3 -m utils.report 'Result/a b.mat'"
    monkeypatch.chdir(tmp_path)
    command = report.command_for('x.mat').replace('python3', sys.executable)
    assert 'Hybrid_HPS TTSS' in subprocess.check_output(command, shell=True).decode('ascii')


# ---- plots and page ----

SEARCHES = ('STL', 'LASEM_HPS', 'DARTS_HPS', 'DEN')
OF_ALL = {'accuracy_matrix', 'learning_curves'}
PLOTS = {'STL': OF_ALL, 'LASEM_HPS': OF_ALL | {'posterior', 'chosen_layers'},
         'DARTS_HPS': OF_ALL | {'mixture_weights', 'chosen_layers'}, 'DEN': OF_ALL | {'widths'}}


def searches(path, tasks, trials, order=None):
    """A file with an experiment of each kind of plot."""
    for model in SEARCHES:
        write(path, model, [drawn(model, tasks, trial, order) for trial in range(trials)], order, config=True)
    return str(path)


def test_plots_are_written(tmp_path, capsys):
    path, out = searches(tmp_path / 'x.mat', 3, 2), tmp_path / 'out'
    assert run(path, '--out', str(out)) == 0
    names = {'comparison', 'differences', 'parameters'} | {'%s_%s' % (model, plot) for model in SEARCHES
                                             for plot in PLOTS[model]}
    assert set(os.listdir(str(out / 'plots'))) == {name + ending for name in names
                                                   for ending in ('.png', '.svg')}
    assert os.listdir(str(out)).count('report.txt') == 1 and '%d as PNG and SVG' % len(
        names) in capsys.readouterr().out
    for name in names:
        assert (out / 'plots' / (name + '.png')).read_bytes()[:8] == b'\x89PNG\r\n\x1a\n'
        assert xml.parse(str(out / 'plots' / (name + '.svg'))).getroot().tag.endswith('svg')


def test_curves_and_bands_are_the_numbers(two):
    """Task 0 of HPS at the end: 0.6 in each trial; task 1: 0.8, 0.9, 0.7."""
    from classification.report import figures, plots
    group, = read_groups([two])[0]
    words, figure = plots.learning_curves(group.members[1])
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines if line.get_label().startswith('task')}
    assert lines['task 0'].get_ydata()[-1] == pytest.approx(0.6) and lines['task 1'].get_ydata()[
        -1] == pytest.approx(0.8)
    band = axes.collections[1].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(0.9) and 'one sample standard deviation' in words
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines.values()}) == 2
    boundary, = [line.get_xdata()[0] for line in axes.lines if not line.get_label().startswith('task')]
    assert boundary == 4.5      # four epochs a task
    figures.close(figure)


@pytest.mark.parametrize('tasks, trials, order', [(3, 1, None), (20, 3, None),
                                                  (6, 2, (0, 1, 2, 0, 1, 2, 3, 4, 5)), (1, 1, None)],
                         ids=str)
def test_no_text_of_a_plot_is_cut_off_or_covers_another(tasks, trials, order, tmp_path):
    from classification.report import figures, plots
    group, = read_groups([searches(tmp_path / 'x.mat', tasks, trials, order)])[0]
    comparison = compare(group)
    shown = OrderedDict((plot[0], plot) for plot in plots.plots_of_group(comparison))
    for one in group.members:       # one of each kind
        shown.update((plot[0], plot) for plot in plots.plots_of(one) if plot[0] not in shown)
    assert len(shown) == 9
    for name, words, figure in shown.values():
        figure.canvas.draw()
        renderer, whole = figure.canvas.get_renderer(), figure.bbox
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in _texts(figure)]
        for text, box in boxes:
            assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= whole.x1 + 1 and box.y1 <= whole.y1 + 1, (
                name, text)
        for place, (text, box) in enumerate(boxes):
            for other, other_box in boxes[place + 1:]:
                overlap = (min(box.x1, other_box.x1) - max(box.x0, other_box.x0),
                           min(box.y1, other_box.y1) - max(box.y0, other_box.y0))
                assert min(overlap) < 1.5, (name, text, other)
        figures.close(figure)


def _texts(figure):
    """Every text that is seen."""
    from matplotlib.text import Text
    hidden = {text for axes in figure.axes for text in axes.findobj(Text) if not axes.get_visible()}
    outside = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    outside |= {tick.label1, tick.label2}
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()
            and text not in hidden and text not in outside]


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """The path of a page over two sets of data, one with unusual names."""
    folder = tmp_path_factory.mktemp('page')
    first = searches(folder / 'x & <y>.mat', 3, 2)
    write_published(folder / 'published.mat')
    assert run(first, str(folder / 'published.mat'), '--format', 'html', '--out', str(folder / 'out')) == 0
    return str(folder / 'out' / 'report.html')


def test_the_page_holds_everything_itself(page):
    with open(page) as stream:
        content = stream.read()
    assert os.listdir(os.path.dirname(page)) == ['report.html']
    assert content.count('<img') == content.count(
        'src="data:image/svg+xml;base64,') == 3 + 2 + 4 + 4 + 3 + 1 + 2
    assert not re.search(r'(src|href)="(?!data:|#)', content) and 'http' not in content
    for fact in ('main.py --model_type DEN', 'raw c0ffee', 'tensorflow 1.14.0',
                 'no config.json of this experiment',
                 'x &amp; &lt;y&gt;.mat', 'Bonferroni correction for 3 methods', 'does not say on what data'):
        assert fact in content, fact
    for metric in ALWAYS:
        assert metric.title in content and metric.definition in content


BROWSER = next((shutil.which(name) for name in ('chromium', 'chromium-browser', 'google-chrome')
                if shutil.which(name)), None)
OPTIONS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
           '--disable-background-networking',
           '--disable-component-update', '--disable-sync', '--virtual-time-budget=4000', '--dump-dom']


def dumped(page, folder):
    """The page as Chromium holds it after its scripts have run."""
    return subprocess.check_output([BROWSER, '--user-data-dir=%s' % folder] + OPTIONS + ['file://' + page],
                                   stderr=subprocess.DEVNULL).decode('utf-8')


@pytest.mark.skipif(not BROWSER, reason='Chromium is not installed')
def test_the_page_in_a_browser(page, tmp_path):
    head = re.search('<html[^>]*>', dumped(page, tmp_path / 'profile')).group()
    assert 'data-errors="0"' in head and 'data-failed="0"' in head and 'data-images="19"' in head
    with open(page) as stream:
        content = stream.read()
    click = ('<script>undefinedFunction()</script>'
             '<script>document.querySelectorAll(".sortable th")[2].click()</script></body>')
    broken = tmp_path / 'broken.html'
    broken.write_text(content.replace('</body>', '<img src="none.png">' + click))
    made = dumped(str(broken), tmp_path / 'profile')
    head = re.search('<html[^>]*>', made).group()
    assert 'data-errors="1"' in head and 'data-failed="1"' in head and 'data-images="20"' in head
    final = [float(value)
             for value in re.findall(
                 r'<tr><td data-value="[^"]*">[^<]*</td><td [^>]*>.*?</td><td data-value="([^"]*)"',
                                     made.split('Differences to')[0])]
    assert len(final) == 4 and final == sorted(final, reverse=True)


# ---- what the trials took ----

def with_resources(trial, kept, **more):
    return record([[0.5, NAN], [0.25, 0.75]], trial=trial, **more)._replace(resources={
        'trainable_parameters': np.array([70., 80.]), 'kept_parameters': np.array([60., kept]),
        'state_bytes': np.array([0., 16.]), 'training_seconds': np.array([2., 3.]),
        'evaluation_seconds': np.array([0.5, 0.25]), 'multiply_adds': np.array([100., 300.]),
        'peak_memory': np.array(2e6 + 1e6 * trial)})


def test_what_trials_took_by_hand(tmp_path):
    made = compared(write(tmp_path / 'x.mat', 'STL', [with_resources(0, 80.), with_resources(1, 90.)]),
                    write(tmp_path / 'y.mat', 'EWC',
                          [record([[0.5, NAN], [0.25, 0.75]], trial=0, parameters=55)]))
    found = {name: tuple(made.rows[0].summaries[name]) for name in (
        'parameters', 'trained', 'state', 'multiply_adds', 'memory', 'steps', 'evaluation')}
    assert found == {'parameters': (85., pytest.approx(50 ** .5), 2), 'trained': (75., 0., 2),
                     'state': (16., 0., 2), 'multiply_adds': (200., 0., 2),
                     'memory': (2.5, pytest.approx(.5 ** .5), 2), 'steps': (5., 0., 2),
                     'evaluation': (.75, 0., 2)}
    assert made.rows[1].summaries['parameters'][::2] == (55., 1) and made.rows[1].summaries['trained'].n == 0
    assert set(made.metrics) == set(METRICS) - {'no_identity', 'right_task'}


def test_accuracy_against_parameters(tmp_path):
    from classification.report import figures, plots
    stl = write(tmp_path / 'x.mat', 'STL', [with_resources(0, 80.), with_resources(1, 90.)])
    ewc = write(tmp_path / 'y.mat', 'EWC', [record([[0.5, NAN], [0.25, 1.]], trial=0, parameters=55)])
    none = write(tmp_path / 'z.mat', 'SNN', [record([[0.5, NAN], [0.25, 1.]], trial=0, parameters=0)])
    made = compared(stl, ewc, none)
    figure = {name: figure for name, _, figure in plots.plots_of_group(made)}['parameters']
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in figure.axes[0].lines
             if line.get_marker() in 'osD']
    assert marks == [(85., .5), (55., .625)]        # none without parameters
    across, upwards = [collection.get_segments()[0] for collection in figure.axes[0].collections[:2]]
    half = 12.7062 * 5.     # t of one degree of freedom at 0.975, times the standard error of 80 and 90
    np.testing.assert_allclose(across, [[85 - half, .5], [85 + half, .5]], rtol=1e-5)
    np.testing.assert_allclose(upwards, [[85., .5]] * 2)
    figures.close(figure)
    assert 'parameters' not in [name for name, _, _ in plots.plots_of_group(compared(ewc, none))]


def test_times_of_trials_that_shared_the_machine_differently(tmp_path):
    def trained(path, model, jobs, threads):
        records = [with_resources(trial, 80.) for trial in range(2)]
        return write(tmp_path / path, model, [one._replace(resources=dict(
            one.resources, jobs=np.array(jobs[one.trial]), threads=np.array(threads))) for one in records])
    first, same = trained('x.mat', 'STL', (2, 2), 1), trained('y.mat', 'EWC', (2, 2), 1)
    assert not [note for note in compared(first, same).notes if 'Times' in note]
    other, old = (trained('z.mat', 'DEN', (1, 2), 2),
                  write(tmp_path / 'o.mat', 'SNN', [record([[.5, NAN], [.25, .75]])]))
    note, = [note for note in compared(first, same, other, old).notes if 'Times' in note]
    assert note == ('Times are not comparable: 2 trials at a time with 1 thread (STL, EWC); 1 trial at a '
                    'time with 2 threads and 2 trials at a time with 2 threads (DEN); not known (SNN).')
    odd = trained('n.mat', 'APD', (NAN, float('inf')), NAN)
    note, = [note for note in compared(first, odd).notes if 'Times' in note]
    assert note.endswith('1 thread (STL); not known (APD).')
