"""The study of what LASEM shares: comparisons and posterior masses by hand; the data have in common what they
should."""
import importlib.util
import os
import re
import sys

import numpy as np
import pytest

from classification.experiment import plugin_files
from classification.report.groups import Group, Reported
from scripts import study
from tests.support import data_files
from tests.support.commands import ROOT, listed_commands
from tests.support.result_files import drawn, write
from utils import utils_env_cl as env

FINAL = {'STL': ([.5, .6], [.1, .1]), 'LASEM_HPS': ([.7, .75], [.1, .1]), 'all': ([.6, .6], [.2, .2]),
         'top2': ([.9, .5], [.3, .4]), 'top3': ([.8, .9], [.3, .3])}
FINAL.update((name, ([1., 1.], [0., 0.]))
             for name in ('top1', 'bottom1', 'bottom2', 'bottom3', 'alternating'))


def result(name):
    """A loaded experiment of two tasks: final accuracy and validation accuracy of each of two trials."""
    final, valid = FINAL[name]
    label = name if name in ('STL', 'LASEM_HPS') else 'Hybrid_HPS ' + env.pattern_from_name(name, 4)
    return reported({'final_accuracy': np.array([[one - .1, one + .1] for one in final]),
                     'final_validation_accuracy': np.array([[one, one] for one in valid])}, label)


def reported(result, label='LASEM_HPS'):
    return Reported(label, 'study_x.mat', 1, dict(result, train_valid_data_group=np.array([0, 1])), {})


def test_the_primary_comparisons_by_hand():
    """The best pattern is that of the best validation accuracy (top2), not of the best test accuracy
    (top3)."""
    found = study.primary([result(name) for name in FINAL])
    assert [row[:3] for row in found] == [
        ('HPS', 'sharing everything', 'SSSS'), ('HPS', 'sharing nothing', 'STL'),
        ('HPS', 'the best fixed pattern', 'TTSS')]
    for (_, _, _, one), (mean, error) in zip(found, [(.125, .025), (.175, .025), (.025, .225)]):
        half = 114.5880 * error     # t of one degree of freedom at 1 - 0.05 / 9 / 2, times the standard error
        np.testing.assert_allclose([one.mean, one.upper - one.mean, one.n], [mean, half, 2], rtol=1e-5)


def test_a_comparison_that_is_not_trained_is_left_out():
    assert [row[1] for row in study.primary([result('STL'), result('LASEM_HPS')])] == ['sharing nothing']
    assert study.primary([result('all')]) == []
    assert [row[1] for row in study.primary([result(name) for name in FINAL if name != 'bottom3'])] == [
        'sharing everything', 'sharing nothing']        # which pattern is the best is not known yet
    members = [result(name) for name in FINAL]
    del members[-1].result['final_validation_accuracy']         # a file of an earlier version
    assert [row[1] for row in study.primary(members)] == ['sharing everything', 'sharing nothing']


def test_all_fixed_patterns_are_those_of_the_script():
    kinds = [options[options.index('--model_type') + 1] for options in listed_commands('study')
             if 'Garments' in options]
    assert {kinds.count('Hybrid_' + mechanism) for mechanism in study.MECHANISMS} == {study.FIXED}


def test_the_mass_on_sharing_by_hand():
    """Of two layers; the last epoch of each position counts."""
    assert env.patterns_of((1, 1)) == ['SS', 'TS', 'ST', 'TT']
    rows = np.array([[1., 0, 0, 0], [.4, .3, .2, .1], [0, 1., 0, 0], [0, 0, .5, .5]])
    found = study.sharing(reported({'result_of_each_run': [
        {'history_net_prior_in_epoch': rows, 'task_changed_epoch': np.array([1, 3])}]}))
    np.testing.assert_allclose(found, [[[.6, .7], [.5, 0.]]])


def test_a_line_of_the_mass_on_sharing():
    """First layers minus last layers: 0.1 and 0.5 in the two trials."""
    runs = [{'history_net_prior_in_epoch': np.array([[1., 0, 0, 0], last]),
             'task_changed_epoch': np.array([1, 2])} for last in ([.4, .2, .3, .1], [.4, 0., .5, .1])]
    line, = study.lines_of_sharing(reported({'result_of_each_run': runs}))
    half = 12.7062          # t of one degree of freedom at 0.975, times the standard error
    expected = [[mean, mean - half * error, mean + half * error]
                for mean, error in ((.8, .1), (.5, .1), (.3, .2))]
    assert line.split()[:2] == ['1', 'colour']
    np.testing.assert_allclose(list(map(float, re.findall(r'-?\d\.\d{3}', line))), np.ravel(expected),
                               atol=6e-4)


def test_whether_the_mass_follows_by_hand():
    """Tasks 1 (colour), 2 (turn), 4 (nothing), 5 (everything) of a trial put all mass on ST, TS, TT, SS; in
    the other trial all are even."""
    follows = np.array([[.25] * 4, [0, 0, 1, 0], [0, 1, 0, 0], [.25] * 4, [0, 0, 0, 1], [1, 0, 0, 0]])
    runs = [{'history_net_prior_in_epoch': rows, 'task_changed_epoch': np.arange(1, 7)}
            for rows in (follows, np.full((6, 4), .25))]
    found = study.contrasts(reported({'result_of_each_run': runs}))
    # ST shares its first layer: leans by 1, TS by -1; so colour minus turn is 2 in the trial that follows
    assert [one.mean for one in found.values()] == [1., .5]
    np.testing.assert_allclose([one.upper - one.mean for one in found.values()], [12.7062, 12.7062 * .5],
                               rtol=1e-5)


# ---- the command line ----

@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """Function of options: (exit status, lines of output, errors) of study.py on the files in tmp_path."""
    def said(*options):
        monkeypatch.setattr('sys.argv', ['study.py', '--result_dir', str(tmp_path)] + list(options))
        try:
            status = study.main() or 0
        except SystemExit as stop:
            status = stop.code
        out, err = capsys.readouterr()
        return status, out.splitlines(), err
    return said


@pytest.fixture
def fails(said):
    """Function of words and options: study.py says only these words, in one line, and its status is 2."""
    def fails(says, *options):
        status, out, err = said(*options)
        assert (status, out) == (2, []) and err.count('\n') == 1 and says in err
    return fails


def trained(folder, model, seed=0, tasks=6, order=None, pattern=None, valid=0.9, of=0):
    """Path of a file to which two trials on Garments are appended;
    `valid`: their validation accuracy; `of`: the number of their settings."""
    trials = [drawn(model, tasks, trial, order)._replace(final_valid=np.full(tasks, valid))
              for trial in range(2)]
    key = '%d%d%s%s' % (seed, of, model, pattern or '')
    return write(folder / ('study_%s.mat' % model), model, trials, order, pattern, data_type='Garments',
                 seed=seed, run_id=key, fingerprint=('%-64s' % key).replace(' ', '0'))


def test_what_is_trained_is_shown_and_what_is_missing_is_one_line(said, fails, tmp_path):
    fails('has no study_*.mat with Garments')
    write(tmp_path / 'study_other.mat', 'STL', [drawn('STL', tasks=6)])          # of DIGITS5
    fails('has no study_*.mat with Garments')
    trained(tmp_path, 'STL')
    fails('no LASEM is trained yet', '--plot', str(tmp_path / 'study.png'))
    path = trained(tmp_path, 'LASEM_HPS')
    fails('cannot be written', '--plot', str(tmp_path / 'missing' / 'study.png'))
    status, lines, err = said('--plot', str(tmp_path / 'study.png'))
    assert (status, err) == (0, '') and (tmp_path / 'study.png').read_bytes()[1:4] == b'PNG'
    assert lines[1].split()[:3] == ['HPS', 'sharing', 'nothing'] and lines[1].endswith('  2 trials')
    assert [line.split()[0] for line in lines[3:]] == ['1', '2', '3', '4', '5', 'first', 'all']
    with open(path, 'r+b') as stream:
        stream.truncate(500)
    fails('study_LASEM_HPS.mat is damaged')


def compared(lines):
    """(against what, pattern) of each comparison in the output."""
    return re.findall(r'(?m)^  HPS +(\S.*?)  +(\S+) .* trials$', '\n'.join(lines))


def test_experiments_on_other_data_are_not_compared(said, tmp_path):
    trained(tmp_path, 'LASEM_HPS', seed=0)
    trained(tmp_path, 'STL', seed=1)
    status, lines, err = said()
    assert (status, err, compared(lines)) == (0, '', [])
    assert [line.split()[:2] + line.split()[-2:] for line in lines if line.startswith('Data')] == [
        ['Data', '1:', 'seed', '0'], ['Data', '2:', 'seed', '1']]
    assert lines.count('  none is trained yet') == 2


def test_options_of_the_data_are_in_the_title():
    config = {'experiment': {'data_options': {'noise': 0.1, 'distraction': 0.7}}}
    one = reported({}, 'STL')
    assert study.title(Group('Garments, seed 0', [one._replace(config=config)], [])) == (
        'Garments, seed 0, distraction 0.7, noise 0.1')
    assert study.title(Group('Garments, seed 0', [one], [])) == 'Garments, seed 0'


def test_each_seed_has_a_best_fixed_pattern_of_its_own(said, fails, tmp_path):
    patterns = [env.pattern_from_name(name, 4) for name in (
        'all', 'top1', 'top2', 'top3', 'bottom1', 'bottom2', 'bottom3', 'alternating')]
    assert len(patterns) == study.FIXED
    for seed, best in enumerate(('TTSS', 'STTT')):
        trained(tmp_path, 'LASEM_HPS', seed)
        for pattern in patterns:
            trained(tmp_path, 'Hybrid_HPS', seed, pattern=pattern, valid=.9 if pattern == best else .6)
    status, lines, err = said()
    assert (status, err) == (0, '')
    assert compared(lines) == [('sharing everything', 'SSSS'), ('the best fixed pattern', 'TTSS'),
                               ('sharing everything', 'SSSS'), ('the best fixed pattern', 'STTT')]
    fails('there are 2 groups', '--plot', str(tmp_path / 'study.png'))


def test_a_method_with_several_settings_is_one_line(fails, tmp_path):
    trained(tmp_path, 'STL')
    trained(tmp_path, 'LASEM_HPS')
    trained(tmp_path, 'LASEM_HPS', of=1)
    fails('LASEM_HPS was trained with several settings')


@pytest.mark.parametrize('tasks, order', [(3, None), (6, (1, 0, 2, 3, 4, 5)), (6, (0, 1, 2, 3, 4, 5, 0))])
def test_in_another_order_of_tasks_methods_are_compared_and_no_task_is_named(tasks, order, said, fails,
                                                                             tmp_path):
    for model in ('STL', 'LASEM_HPS'):
        trained(tmp_path, model, tasks=tasks, order=order)
    status, lines, err = said()
    assert (status, err) == (0, '') and compared(lines) == [('sharing nothing', 'STL')]
    assert lines[2:] == ['What the patterns follow is left out: it is known for all 6 tasks in the order '
                         '0 1 2 3 4 5.']
    fails('all 6 tasks in the order 0 1 2 3 4 5', '--plot', str(tmp_path / 'study.png'))


def test_a_picture_that_cannot_be_drawn_is_one_line(fails, monkeypatch, tmp_path):
    trained(tmp_path, 'LASEM_HPS')
    for name in ('a.xyz', 'a'):
        fails('a name that ends with .png, .svg or .pdf is needed', '--plot', str(tmp_path / name))
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name != 'matplotlib' and find(name) or None)
    fails('matplotlib, which makes the plots, is not installed', '--plot', str(tmp_path / 'a.png'))


# ---- the data ----

@pytest.fixture
def garments(tmp_path, monkeypatch, plugins):
    """The plug-in's module; its images(**options) are those of each class of each task,
    [6][10][90, 16, 16, 3]."""
    monkeypatch.chdir(tmp_path)
    data_files.fashion('Data', 560, 12)
    plugins.load(os.path.join(ROOT, 'scripts', 'garments.py'))
    (plugin,) = plugin_files.LOADED.values()
    module = sys.modules[plugin.module]
    module.images = lambda **options: np.array(
        module.garments(dict({'noise': 0., 'distraction': 0.}, **options))).reshape(6, 10, 90, 16, 16, 3)
    return module


def test_a_task_has_the_colour_and_the_turn_that_it_says(garments):
    made = garments.images()
    assert made.dtype == np.uint8 and len(garments.TASKS) == len(study.COMMON)
    for task, (colour, turns, _) in enumerate(garments.TASKS):
        counts = made[task, ..., garments.COLOURS[colour]]
        assert counts.any() and not np.delete(made[task], garments.COLOURS[colour], axis=-1).any()
    both = garments.images(distraction=1.)
    assert np.delete(both[0], 0, axis=-1).any() and (both[0, ..., 1] == both[0, ..., 2]).all()
    np.testing.assert_array_equal(both[0, ..., 0], made[0, ..., 0])


def test_shuffled_pixels_have_other_neighbours(garments):
    made = garments.images()
    for task, (colour, _, shuffled) in enumerate(garments.TASKS):
        images = made[task, ..., garments.COLOURS[colour]].astype(float)
        alike = np.corrcoef(images[..., :-1].ravel(), images[..., 1:].ravel())[0, 1]
        assert (alike < .3) if shuffled else (alike > .5)


def test_no_garment_is_in_two_tasks(garments):
    """Whatever its place and colour: by its pixels' values."""
    made = garments.images().max(axis=-1).reshape(6, 900, -1)
    seen = [{tuple(np.sort(image)) for image in task} for task in made]
    assert all(len(one) > 850 for one in seen)
    assert not any(one & other for place, one in enumerate(seen) for other in seen[:place])
