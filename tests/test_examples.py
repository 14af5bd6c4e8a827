"""The examples of docs/extending.md: they train, are killed and go on, save and are read; and they compute
what they say."""
import os
import re
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.experiment.resolve import resolve
from classification.model.declare import MECHANISMS, METHODS
from classification.report import command as report
from classification.results.parameter_files import FINAL, load
from main import parser
from tests.support import command_line
from tests.support.commands import (
    EXAMPLES,
    ROOT,
    SECONDS,
    DaskCluster,
    Run,
    example,
    inside,
    place_of,
    resumptions,
    run_and_listen,
    start,
)
from tests.support.result_files import parameter_of, same, same_entry
from tests.support.tiny import (
    CLASSES,
    Rig,
    make_experiment,
    make_method,
    make_trial,
    random_batch,
    train,
    train_with_stops,
)

COMMON = ['--lifelong', '--threads', '1', '--checkpoint_minutes', '0', '--num_runs', '2', '--num_tasks', '2',
          '--saveparam']
DIGITS = ['--data_type', 'DIGITS5', '--num_clayers', '2', '--epochs_per_task', '6']
RUNS = {
    'low_rank': DIGITS + ['--model_type', 'LASEM_LowRank', '--rank', '3'],
    'gated_search': DIGITS + ['--model_type', 'Gated_HPS', '--share', '0.4'],
    'lwf': DIGITS + ['--model_type', 'LwF', '--lwf_weight', '0.5', '--set', 'temperature=3'],
    'stripes': ['--data_type', 'Stripes', '--model_type', 'HPS', '--transfer_config', 'top1', '--set',
                'noise=0.1', '--epochs_per_task', '15']}


def options_of(name):
    return ['--plugin', example(name)] + COMMON + RUNS[name]


# ---- whole runs ----

@pytest.fixture(scope='module')
def calm(tmp_path_factory):
    """Function name -> the Run of an example that nobody disturbed;
    all are trained, in one process, while tests go on."""
    folder = tmp_path_factory.mktemp('calm')
    runs = {name: Run(folder / name, options_of(name)) for name in RUNS}
    words = [word for name in sorted(RUNS) for word in [command_line.ONE_PROCESS] + runs[name].options]
    process = start(['-m', 'tests.support.command_line'] + words, folder / 'said.txt')

    def result(name):
        assert process.wait(SECONDS) == 0, (folder / 'said.txt').read_text()
        return runs[name]
    yield result
    if process.poll() is None:
        process.kill()
        process.wait()


def final_file(run, trial):
    """The last parameter file of a trial."""
    folder, = (run.folder / 'params').iterdir()
    return load(str(folder / ('run%d' % trial) / FINAL))


def same_runs(run, other):
    same_entry(run.entry(), other.entry())
    for trial in (0, 1):
        files = [final_file(each, trial) for each in (run, other)]
        same(dict(files[0].store), dict(files[1].store), 'store')
        same(files[0].about, files[1].about, 'about')


@pytest.mark.parametrize('name', sorted(RUNS))
def test_killed_beside_another_trial_it_goes_on_and_equals_a_calm_run(name, calm, tmp_path):
    with Run(tmp_path / 'run', options_of(name) + ['--jobs', '2']).start() as run:
        children = [run.child()]
        child, meta = run.child_stopped_when(inside(0))
        children += [other for other in _trials(run) if other.pid != child.pid]
        for other in children[1:]:
            other.kill()
        run.kill(child)
        assert run.start().wait() == 0 and run.errors() == [], run.said
    assert place_of(meta) in resumptions(run.log())
    same_runs(run, calm(name))


def _trials(run):
    import psutil
    return psutil.Process(run.parent.pid).children()


@pytest.mark.parametrize('name', sorted(RUNS))
def test_it_learns_and_is_read_without_its_file(name, calm, capsys):
    run = calm(name)
    entry = run.entry()
    assert entry['result_of_each_run'][0]['history_train_error'].max() > 0.8
    assert np.mean([np.diag(matrix) for matrix in entry['accuracy_matrix']]) > 0.65
    assert report.main([str(run.folder / 'found.mat')]) == 0
    assert RUNS[name][RUNS[name].index('--model_type')
                      + 1].split('_')[-1].lower() in capsys.readouterr().out.lower()
    file = final_file(run, 0)
    assert file.about['tasks'] == [0, 1] and file.store


def test_on_a_cluster(calm, tmp_path):
    pytest.importorskip('distributed', reason='needs Dask')
    dask = DaskCluster(tmp_path / 'dask', workers=1)
    try:
        with Run(tmp_path / 'run', options_of('low_rank') + ['--scheduler', dask.address]).start() as run:
            assert run.wait() == 0 and run.errors() == [], run.said
    finally:
        dask.end()
    same_runs(run, calm('low_rank'))


@pytest.mark.parametrize('name', sorted(RUNS))
def test_list_and_dry_run(name, plugins, folder, monkeypatch):
    status, listed, _ = run_and_listen(['--plugin', example(name), '--list'])
    declared, = re.findall(r"^@\w+\('(\w+)', '", open(example(name)).read(), re.MULTILINE)
    assert status == 0 and re.search(r'^  (\w+_)?%s(_\w+)?  ' % declared, listed, re.MULTILINE)
    for option in re.findall(r"Option\('(\w+)', ", open(example(name)).read()):
        assert re.search('^  %s  ' % option, listed, re.MULTILINE)
    command_line.change(monkeypatch.setitem)
    status, planned, _ = run_and_listen(options_of(name) + ['--dry_run'])
    assert status == 0 and 'plug-in: %s, digest' % example(name) in planned and re.search(
        '^parameters: [1-9]', planned, re.M)
    experiment = resolve(parser().parse_args(options_of(name)), lambda line: None)
    for option, value in list(experiment.options.items()) + list(experiment.data_options.items()):
        assert '%s: %s' % (option, value) in planned.splitlines()
    assert os.listdir(str(folder)) == []


# ---- every selection, every mechanism ----

SELECTIONS = [declared.name for declared in METHODS.values() if declared.mechanism is None]


def goes_on_and_is_saved(model_type, tmp_path, **options):
    """Trains a small trial, stops it after each epoch, compares;
    returns the parameters of its file by published field."""
    experiment = make_experiment(model_type, depth=1, **options)._replace(analyses={'saveparam': True})
    for name in ('calm', 'stopped', 'params'):
        (tmp_path / name).mkdir()
    calm = make_trial(experiment, tmp_path / 'calm', parameter_folder=str(tmp_path / 'params'))
    record = calm.run()
    stopped, stopped_record, _ = train_with_stops(experiment, tmp_path / 'stopped',
                                                  parameter_folder=str(tmp_path / 'stopped'))
    same(record._asdict(), stopped_record._asdict(), 'record')
    same(dict(calm.store), dict(stopped.store), 'store')
    path = tmp_path / 'params' / 'run0' / FINAL
    same(dict(load(str(path)).store), dict(calm.store), 'file')
    assert load(str(path)).about['state'] == calm.method.state
    return calm, parameter_of(path)


@pytest.mark.parametrize('selection', SELECTIONS)
def test_the_mechanism_under_every_selection(selection, plugins, tmp_path):
    plugins.load(example('low_rank'))
    # one layer
    options = {'Hybrid': dict(pattern='S'), 'LASEM_fixed': dict(favoured='S')}.get(selection, {})
    trial, fields = goes_on_and_is_saved('%s_LowRank' % selection, tmp_path, **options)
    assert 'other_weights' not in fields and {'shared_conv', 'TS', 'conv_generated_weights'} <= set(fields)
    assert ('DARTS_selection_param' in fields) == (selection == 'DARTS')
    shared = [task for task in (0, 1) if trial.method.pattern_of(task) == 'S']
    if shared:
        left, right = [trial.store['conv0/task%d/lowrank/%s' % (shared[0], part)]
                       for part in ('left', 'right')]
        kernel = trial.store['conv0/shared/lowrank/kernel']
        made = fields['conv_generated_weights'][0, shared[0]].ravel()[0]
        np.testing.assert_allclose(np.reshape(made, kernel.shape),
                                   kernel + np.dot(left, right).reshape(kernel.shape), atol=1e-6)


@pytest.mark.parametrize('mechanism', [declared.name for declared in MECHANISMS.values()] + ['LowRank'])
def test_the_selection_with_every_mechanism(mechanism, plugins, tmp_path):
    plugins.load(example('gated_search'), example('low_rank'))
    trial, _ = goes_on_and_is_saved('Gated_%s' % mechanism, tmp_path)
    assert all(trial.method.pattern_of(task) in 'ST' for task in (0, 1))


# ---- what they compute ----

def test_the_update_is_zero_at_first_and_of_low_rank_then(plugins):
    plugins.load(example('low_rank'))
    method = make_method('hybrid', 'lowrank', pattern='SSS', rank=2, update_decay=0.5)

    class Weighed(Rig):
        def built(self):
            layer = method.mechanism(self.parameters, 2)
            self.found = layer.weights(0)[0], layer.extra_loss(0)
    with Weighed(method, {}, 0, [0]) as rig:
        for steps in (0, 5):
            for number in range(steps):
                rig.step(*random_batch(number, CLASSES[0]), rate=0.05)
            values, (kernel, penalty) = rig.values(), rig.session.run(rig.found)
            shared, update = values['conv2/shared/lowrank/kernel'], np.dot(
                values['conv2/task0/lowrank/left'], values['conv2/task0/lowrank/right'])
            assert np.linalg.matrix_rank(update) == (2 if steps else 0) and min(update.shape) > 2
            np.testing.assert_allclose(kernel, shared + update.reshape(shared.shape), atol=1e-6)
            np.testing.assert_allclose(penalty, 0.25 * np.square(update).sum(), rtol=1e-5)


def test_the_score_is_the_summed_slope_of_the_validation_loss(plugins):
    plugins.load(example('gated_search'))
    method, step = make_method('gated', share=0.4), 1e-5

    class WithLosses(Rig):
        """The validation loss at other shares of one layer after the other."""
        def built(self):
            def at(layer, sign):
                gates = [0.4 + sign * step * (layer == other) for other in range(3)]
                return method.mixed_loss(self.parameters, 0, self.selection, gates)
            self.sides = [[at(layer, sign) for sign in (1, -1)] for layer in range(3)]
            self.score, = [v for v in tf.global_variables() if v.op.name == 'gated/score']
    build = method.build

    def with_validation(parameters, task, batch, phase=0):
        images, labels = random_batch(7, CLASSES[0])
        WithLosses.selection = batch._replace(images=tf.constant(images, batch.images.dtype),
                                              labels=tf.constant(labels, tf.int32))
        build(parameters, task, batch._replace(selection=WithLosses.selection), phase)
    method.build = with_validation
    with WithLosses(method, {}, 0, [0], dtype=tf.float64) as rig:
        expected = np.zeros(3)
        for number in range(3):
            sides = np.array(rig.session.run(rig.sides))
            expected += (sides[:, 0] - sides[:, 1]) / (2 * step)
            rig.step(*random_batch(number, CLASSES[0]), rate=0.01)
        np.testing.assert_allclose(rig.session.run(rig.score), expected, rtol=1e-4, atol=1e-9)
        assert method.chosen_now(rig.session) == ''.join('S' if slope <= 0 else 'T' for slope in expected)
        assert np.abs(expected).min() > 1e-6


def log_softmax(logits):
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@pytest.mark.parametrize('learned', [[], [0]])
def test_the_loss_holds_what_earlier_heads_said(learned, plugins):
    plugins.load(example('lwf'))
    method = make_method('lwf', pattern='SSS', lwf_weight=0.7, temperature=2.)
    with Rig(make_method('hybrid', pattern='SSS'), {}, 0, [0]) as rig:
        # so that the images make a difference
        store = {name: 4 * value for name, value in rig.values().items()}
    method.state['learned'] = list(learned)
    images, labels = random_batch(3, CLASSES[1])
    with Rig(method, store, 1, [0, 1]) as rig:
        def answers():
            return rig.session.run(rig.logits_of, {rig.eval_images: images})
        then = answers()
        for number in range(3):
            rig.step(*random_batch(number, CLASSES[1]), rate=0.01)
        now, loss = answers(), rig.step(images, labels, fetch=method.loss)
        expected = -np.mean(log_softmax(now[1])[np.arange(len(labels)), labels])
        if learned:
            target = np.exp(log_softmax(then[0] / 2))
            expected += 0.7 * 4 * np.mean(-np.sum(target * log_softmax(now[0] / 2), axis=1))
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
        assert np.abs(then[0] - now[0]).max() > 1e-3
        after = rig.values()
        assert all((after[name] == store[name]).all() for name in store if '/task0/' in name)


def test_a_finished_task_is_remembered_once(plugins, tmp_path):
    plugins.load(example('lwf'))
    trial, _ = train(make_experiment('LwF', (0, 1, 0), depth=1), tmp_path)
    assert trial.method.state['learned'] == [0, 1]


def test_stripes_are_images_that_differ_by_class_and_are_the_same_each_time(plugins):
    plugins.load(example('stripes'))
    make = sys.modules['plugin_stripes'].stripes
    options = dict(noise=0.2, images_per_class=40)
    one, again, clean = make(options), make(dict(options)), make(dict(noise=0., images_per_class=40))
    assert [images.shape for images in one] == [(40, 12, 12, 1)] * 8 and {images.dtype for images in one} == {
        np.dtype(np.uint8)}
    same(one, again, 'images')
    power = np.array([np.abs(np.fft.fft2(images[..., 0] / 255. - 0.5)).mean(axis=0) for images in clean])
    best = [np.argmax([np.sum(power[one] * power[two]) for two in range(8)]) for one in range(8)]
    assert best == list(range(8))               # each direction has a spectrum of its own


# ---- the files ----

def test_an_example_is_short():
    files = sorted(name for name in os.listdir(EXAMPLES) if name.endswith('.py'))
    assert [name[:-len('.py')] for name in files] == sorted(RUNS)
    for name in files:
        lines = open(os.path.join(EXAMPLES, name)).read().splitlines()
        assert len(lines) <= 40 and max(map(len, lines)) <= 112, name


def test_nothing_of_the_project_names_them():
    names = re.compile(r'\b(low_?rank|gated_search|gated/|Gated_|LwF|stripes)\b', re.IGNORECASE)
    paths = [os.path.join(ROOT, 'main.py')] + [
        os.path.join(folder, name) for part in ('classification', 'utils', 'scripts')
        for folder, _, files in os.walk(os.path.join(ROOT, part)) for name in files
        if name.endswith(('.py', '.sh', '.m'))]
    assert len(paths) > 60 and not [path for path in paths
                                    if names.search(open(path, encoding='utf-8').read())]


def test_the_documentation_shows_the_files_themselves():
    text = open(os.path.join(ROOT, 'docs', 'extending.md'), encoding='utf-8').read()
    blocks = re.findall(r'```python\n(.*?)```\n', text, re.DOTALL)
    assert sorted(blocks) == sorted(open(example(name), encoding='utf-8').read() for name in RUNS)
