"""Plug-ins: what cannot be loaded is one line; what is loaded belongs to the experiment, and its copy to the
run folder."""
import hashlib
import importlib
import json
import os
import sys

import pytest

import main
from classification import download
from classification.experiment import plugin_files
from classification.experiment.mat_info import info
from classification.experiment.resolve import resolve
from classification.model.registry import MODELS
from classification.report import command as report
from classification.results.read_results import load_config, load_results
from classification.runs import provenance
from tests.support.commands import (
    EXAMPLES,
    SECONDS,
    Run,
    experiment_of,
    imports_nothing_of_tensorflow,
    inside,
    is_refused,
    place_of,
    resumptions,
    run,
    run_and_listen,
    start,
)
from utils.utils import UserError

IMPORTS = 'from classification.plugin import *\nfrom classification.plugin import Option, nn, tf\n'
PLAIN = IMPORTS + '''

@mechanism('Plain', 'a shared kernel', shared=('kernel', 'bias'), options=(
    Option('plainness', 0.5, number(0), 'Plain: plainness', flag='plainness'),))
class Plain(Mechanism):
    """A kernel."""
    def weights(self, task):
        return (self.shared('kernel', self.spec.shape, nn.truncated_normal),      # comment
                self.shared('bias', self.spec.shape[-1:], nn.bias_value))
'''
METHOD = IMPORTS + '''
@method('Mine', 'all layers shared', pattern='all', mechanism='%s')
class Mine(FixedPattern):
    pass
'''
DATA = IMPORTS + '''
import numpy as np

@data_set(%s, image_shape=(8, 8, 1), tasks=%s, network=%s)
def made(options):
    return %s
'''
NAMED, SIX, TASKS = "'Made', 'noise'", 'np.zeros((2, 6, 8, 8, 1), np.uint8)', '[[0, 1]]'
TINY = ['--num_clayers', '2', '--lifelong', '--threads', '1', '--checkpoint_minutes', '0', '--num_runs', '1',
        '--data_type', 'DIGITS5', '--num_tasks', '2', '--epochs_per_task', '2', '--quiet']


def write(path, content):
    path.write_text(content)
    return str(path)


# ---- what cannot be loaded ----

@pytest.mark.parametrize('content, line, says', [
    ('def x(:\n', 1, 'invalid syntax'),
    ('x = 1\nreturn x\n', 2, 'outside function'),
    ('x = 1\n\nx[0] = 2\n', 3, 'TypeError'),
    ('import sys\nsys.exit(3)\n', 2, 'SystemExit'),
    ('def f():\n    raise ValueError("no\\nway")\nf()\n', 2, 'ValueError: no'),
    ('import numpy\nimport neighbour\n', 2, 'a plug-in is one file'),
    ('def f():\n    from neighbour import x\n', 2, 'a plug-in is one file'),
    ('import folder.part\n', 1, 'a plug-in is one file'),
    ('from . import neighbour\n', 1, 'a plug-in is one file'),
    ('from .neighbour import x\n', 1, 'a plug-in is one file'),
    ('import tests.support.commands\n', 1, 'a plug-in is one file'),
    ('from examples import stripes\n', 1, 'a plug-in is one file'),
    ('import no_such_module\n', 1, 'no_such_module'),
    (PLAIN.replace("'Plain',", "'HPS',"), 4, 'exists already'),
    (PLAIN.replace("'Plain',", "'Hps',"), 4, 'exists already'),
    (PLAIN.replace("'Plain',", "'SNN',"), 4, 'SNN exists already'),
    (PLAIN.replace("'Plain',", "'no name',"), 4, 'letters, digits'),
    (PLAIN.replace("'a shared kernel'", "''"), 4, 'help needs one line'),
    (PLAIN.replace("'a shared kernel', ", ""), 4, 'help'),
    (PLAIN.replace('def weights', 'def weight'), 4, 'a method weights is needed'),
    (PLAIN.replace('shared=(', 'shard=('), 4, 'shard'),
    (PLAIN.replace("flag='plainness'", "flag='em_maxP'"), 4, '--em_maxP exists already'),
    (PLAIN.replace("flag='plainness'", "flag='seed'"), 4, '--seed exists already'),
    (PLAIN.replace("flag='plainness'", "flag='help'"), 4, '--help exists already'),
    (PLAIN.replace("flag='plainness'", "flag='given'"), 4, '--given exists already'),
    (PLAIN.replace("'plainness', 0.5", "'learning_rate', 0.5"), 4, 'another field'),
    (PLAIN.replace("'plainness', 0.5", "'em_maxP', 0.5"), 4, 'two options are called em_maxP'),
    (PLAIN.replace("number(0)", "float"), 4, 'needs a check'),
    (METHOD.replace("'Mine',", "'SNN',") % 'hps', 4, 'exists already'),
    (METHOD.replace("'Mine',", "'LASEM_HPS',") % 'hps', 4, 'exists already'),
    (METHOD.replace("'Mine',", "'Mine', aliases=('HPS',), help=") % 'hps', 4, 'HPS exists already'),
    (METHOD % 'hp', 4, 'there is no mechanism hp'),
    (METHOD.replace('FixedPattern', 'Method') % 'hps', 4, 'a method build is needed'),
    (METHOD.replace('FixedPattern', 'PatternSearch') % 'hps', 4, 'a method build_search is needed'),
    (METHOD.replace('FixedPattern', 'object') % 'hps', 4, 'a method build is needed'),
    (DATA % ("'DIGITS5', 'x'", TASKS, "'digits5'", SIX), 6, 'exists already'),
    (DATA % ("'digits5', 'x'", TASKS, "'digits5'", SIX), 6, 'exists already'),
    (DATA % ("'cifar100', 'x'", TASKS, "'digits5'", SIX), 6, 'exists already'),
    (DATA % (NAMED, TASKS, "'digit'", SIX), 6, 'no family digit'),
    (DATA % ("'Made', ''", TASKS, "'digits5'", SIX), 6, 'help needs one line'),
    (DATA % (NAMED + ", options=(Option('a', 1., number(), 'a', 'a'),)", TASKS, "'digits5'", SIX), 6,
     'have no flags'),
])
def test_what_cannot_be_loaded_is_one_line_with_file_and_line(content, line, says, folder, plugins):
    write(folder / 'neighbour.py', 'x = 1\n')
    (folder / 'folder').mkdir()
    write(folder / 'folder' / '__init__.py', '')
    path = write(folder / 'mine.py', content)
    before = sorted(os.listdir(str(folder)))
    status, out, err = run_and_listen(['--plugin', path, '--dry_run'])
    assert (status, out, err.count('\n')) == (2, '', 1), err
    assert err.startswith('error: --plugin %s, line ' % path) and says in err, err
    found = int(err.split(', line ')[1].split(':')[0])
    assert line <= found <= line + (3 if line in (4, 6) else 0), err       # Python 3.7 names the class's
    assert sorted(os.listdir(str(folder))) == before


@pytest.mark.parametrize('name, says', [
    ('none.py', 'No such file'), ('folder.py', 'directory'), ('mine.txt', 'a Python file is needed'),
    ('my-file.py', 'a Python file is needed'), ('', 'a path is needed'), ('bad.py', ''), ('latin.py', '')])
def test_what_is_no_plug_in(name, says, folder, plugins):
    (folder / 'folder.py').mkdir()
    write(folder / 'mine.txt', '')
    write(folder / 'my-file.py', '')
    (folder / 'bad.py').write_bytes(b'x = 1\0')
    (folder / 'latin.py').write_bytes(b'x = "\xe4"\n')
    is_refused(['--plugin', name, '--list'], says)


def test_a_plug_in_needs_a_file(folder):
    is_refused(['--plugin'], '--plugin')


def test_two_plug_ins_of_one_name(folder, plugins):
    for name in ('a', 'b'):
        (folder / name).mkdir()
        write(folder / name / 'mine.py', 'x = %r\n' % name)
    is_refused(['--plugin', 'a/mine.py', '--plugin', 'b/mine.py', '--list'],
               'another plug-in has the name mine.py')


def test_the_same_file_twice_is_loaded_once(folder, plugins):
    path = write(folder / 'mine.py', PLAIN)
    plugins.load(path, 'mine.py', os.path.join(str(folder), '.', 'mine.py'))
    assert 'LASEM_Plain' in MODELS and len(plugin_files.LOADED) == 1


@pytest.mark.parametrize('classes, tasks, says', [
    ('1 / 0', TASKS, 'ZeroDivisionError'), ('np.zeros((2, 6, 8, 8, 1))', TASKS, 'uint8'),
    ('np.zeros((2, 6, 9, 9, 1), np.uint8)', TASKS, 'uint8 of shape [n, 8, 8, 1]'),
    ('3', TASKS, 'not iterable'),
    ('np.zeros((2, 2, 8, 8, 1), np.uint8)', TASKS, 'at least 3'), (SIX, '[[0, 5]]', 'class 5'),
    (SIX, '[]', 'tasks'), (SIX, '[[0, -1]]', 'tasks')])
def test_data_that_cannot_be_are_one_line(classes, tasks, says, folder, plugins):
    path = write(folder / 'mine.py', DATA % (NAMED, tasks, "'digits5'", classes))
    is_refused(['--plugin', path, '--data_type', 'Made', '--num_runs', '1'], says)
    assert os.listdir(str(folder)) == ['mine.py']


# ---- what an experiment has of a plug-in ----

@pytest.mark.parametrize('change, same', [
    (('# comment', '# another one'), True), (('"""A kernel."""', '"""Its kernel."""'), True),
    (('\n\n', '\n\n\n'), True),
    (('nn.bias_value', 'nn.zeros'), False), (('number(0)', 'number(0, 9)'), False)])
def test_what_changes_the_fingerprint(change, same, folder, plugins):
    fingerprints = []
    for content in (PLAIN, PLAIN.replace(*change)):
        plugins.load(write(folder / 'mine.py', content))
        fingerprints.append([experiment_of('--model_type', name, '--test_type', '0').fingerprint()
                             for name in ('Hybrid_Plain', 'Hybrid_HPS')])
        plugins.forget()
    assert (fingerprints[0][0] == fingerprints[1][0]) == same
    # uses no plug-in
    assert fingerprints[0][1] == fingerprints[1][1] == experiment_of('--test_type', '0').fingerprint()


def test_its_options_have_flags_and_stand_in_help(folder, plugins, capsys):
    path = write(folder / 'mine.py', PLAIN)
    assert run(['--plugin', path, '--help']) == 0
    assert 'Plain: plainness (default: 0.5)' in ' '.join(capsys.readouterr().out.split())
    flag, words, default = [main.parser(['--plugin', path]).parse_args(
        ['--plugin', path, '--data_type', 'DIGITS5', '--model_type', 'plain', '--test_type', '0'] + more)
        for more in (['--plainness', '0.25'], ['--set', 'plainness=0.25'], [])]
    flag, words, default = [resolve(flags, pytest.fail) for flags in (flag, words, default)]
    assert flag == words != default and flag.options[
        'plainness'] == 0.25 and flag.model_type == 'Hybrid_Plain'
    assert info(flag)['plainness'] == 0.25 and info(flag)['architecture'] == 'hybrid_plain_cnn'


def test_the_source_digest_reaches_what_it_uses_of_the_project(folder, plugins):
    digests = []
    for content in (PLAIN, PLAIN.replace('nn.truncated_normal', 'nn.glorot_uniform')):
        plugins.load(write(folder / 'mine.py', content))
        digests.append(provenance.source(experiment_of('--model_type', 'Plain', '--test_type', '0')))
        plugins.forget()
    changed = [name for name in digests[0] if digests[0][name] != digests[1][name]]
    assert changed == ['plugin_mine', 'utils.utils_nn'], changed


def kept_in(folder, *paths):
    """What config.json would say of loaded plug-ins, whose copies lie in a run folder."""
    files = plugin_files.of_files([str(path) for path in paths])
    return plugin_files.described(files, plugin_files.keep(files, str(folder)))


def test_one_plug_in_may_need_another_whatever_their_digests(folder, plugins):
    orders = set()
    for number in range(8):
        first, second = write(folder / 'plain.py', PLAIN), write(folder / 'mine.py', METHOD % 'plain'
                                                                 + 'x = %d' % number)
        plugins.load(first, second)
        kept = kept_in(folder / 'run', second, first)
        orders.add(kept[0]['digest'] < kept[1]['digest'])
        experiment = experiment_of('--model_type', 'Mine', '--test_type', '0')
        assert experiment.plugins == tuple(sorted(row['digest'] for row in kept))
        plugins.forget()
        plugin_files.load_kept(str(folder / 'run'), kept)
        assert MODELS['Mine'].mechanism == 'plain'
        plugins.forget()
    assert orders == {True, False}


@pytest.mark.parametrize('damage', ['another comment', 'truncated', 'gone', 'no Python'])
def test_a_damaged_copy_is_refused_in_one_line(damage, folder, plugins):
    path = write(folder / 'mine.py', PLAIN)
    plugins.load(path)
    kept, copy = kept_in(folder, path), folder / 'plugins' / 'mine.py'
    plugins.forget()
    if damage == 'gone':
        copy.unlink()
    else:
        copy.write_text({'another comment': PLAIN + '# x', 'truncated': PLAIN[:-9], 'no Python': ')'}[damage])
    with pytest.raises(UserError) as error:
        plugin_files.load_kept(str(folder), kept)
    assert str(copy) in str(error.value) and '\n' not in str(error.value) and 'Hybrid_Plain' not in MODELS


# ---- runs ----

def test_a_run_keeps_its_plug_in_and_its_result_is_read_without_it(folder, train_here, plugins, capsys):
    path = write(folder / 'mine.py', PLAIN)
    options = TINY + ['--model_type', 'Plain', '--transfer_config', 'all', '--save_mat_name', 'x.mat']
    assert run(options + ['--plugin', path]) == 0
    run_folder, = (folder / 'Result' / 'x').iterdir()
    assert (run_folder / 'plugins' / 'mine.py').read_bytes() == (folder / 'mine.py').read_bytes()
    config = json.loads((run_folder / 'config.json').read_text())
    row, = config['plugins']
    assert row['sha256'] == hashlib.sha256(PLAIN.encode()).hexdigest() and row['from'] == os.path.realpath(
        path)
    assert config['experiment']['plugins'] == [row['digest']] and row['file'] == os.path.join(
        'plugins', 'mine.py')
    assert 'plugin_mine' in config['origin_of_trial']['0'][0]['source_modules']
    assert options_of(folder) == ['Hybrid_Plain']

    plugins.forget()                 # a corrected comment is the same experiment, another expression is not
    write(folder / 'mine.py', PLAIN.replace('# comment', '# it'))
    capsys.readouterr()
    assert run([word for word in options if word != '--quiet'] + ['--plugin', path]) == 0
    assert 'nothing to train' in capsys.readouterr().out
    plugins.forget()
    write(folder / 'mine.py', PLAIN.replace('nn.bias_value', 'nn.zeros'))
    assert run(options + ['--plugin', path]) == 0
    assert len(list((folder / 'Result' / 'x').iterdir())) == 2

    plugins.forget()                 # without it
    is_refused(options, '--model_type Plain is not known')
    assert run(TINY + ['--model_type', 'HPS', '--transfer_config', 'all', '--save_mat_name', 'x.mat']) == 0
    assert options_of(folder) == ['Hybrid_Plain', 'Hybrid_Plain', 'Hybrid_HPS']
    assert report.main([os.path.join('Result', 'x.mat'), '--out', 'report']) == 0
    assert report.main([os.path.join('Result', 'x.mat'), '--format', 'html', '--out', 'page', '--plugin',
                        path]) == 0
    assert 'Plain' in ''.join(page.read_text() for page in (folder / 'report').glob('*.t*'))


def options_of(folder):
    """Model types of the experiments in the result file."""
    return [result['config']['experiment']['model_type'] for result in (
        dict(result, config=load_config(str(folder / 'Result' / 'x.mat'), result['fingerprint']))
        for result in load_results(str(folder / 'Result' / 'x.mat')))]


def test_trials_load_the_copy_whatever_becomes_of_the_file(tmp_path):
    path = write(tmp_path / 'mine.py', PLAIN)
    options = ['--num_clayers', '2', '--lifelong', '--threads', '1', '--checkpoint_minutes', '0',
               '--num_runs', '2',
               '--data_type', 'DIGITS5', '--num_tasks', '1', '--epochs_per_task', '4', '--model_type',
               'Plain', '--transfer_config', 'all', '--plugin', path]
    with Run(tmp_path / 'run', options).start() as moved:
        child, meta = moved.child_stopped_when(inside(0))
        os.remove(path)
        moved.kill(child)
        assert moved.start().wait() == 2 and moved.errors() == [
            'error: --plugin %s: No such file or directory' % path]
        write(tmp_path / 'mine.py', PLAIN.replace('# comment', '# another one'))
        child = moved.start().child()
        write(tmp_path / 'mine.py', 'raise SystemExit')
        assert moved.wait() == 0 and moved.errors() == [], moved.said
    first, = resumptions([line for line in moved.log() if ' trial 0: ' in line])
    assert first == place_of(meta)
    assert 'another one' in (moved.folder_of_run / 'plugins' / 'mine.py').read_text()


# ---- time ----

@pytest.mark.parametrize('option', ['--help', '--list'])
def test_declarations_need_no_tensorflow(option):
    files = [word for name in sorted(os.listdir(EXAMPLES)) if name.endswith('.py')
             for word in ('--plugin', os.path.join(EXAMPLES, name))]
    status, out = imports_nothing_of_tensorflow(files + [option])
    assert status == 0 and ('LASEM_LowRank' in out or option == '--help' and '--rank' in out)


def test_a_plug_in_may_import_tensorflow_itself(tmp_path):
    path = write(tmp_path / 'mine.py', PLAIN.replace('Option, nn, tf',
                                                     'Option, nn\nimport tensorflow.compat.v1 as tf').replace(
        'nn.bias_value', 'lambda shape, state: nn.zeros(shape, state) + float(tf.float32.max > 1)'))
    said = tmp_path / 'said.txt'
    asked = start([main.__file__, '--plugin', path, '--data_type', 'DIGITS5', '--model_type', 'Plain',
                   '--dry_run'], said)
    assert asked.wait(SECONDS) == 0, said.read_text()
    assert 'plug-in: %s, digest ' % os.path.realpath(
        path) in said.read_text() and 'parameters: ' in said.read_text()


# ---- other commands ----

def test_every_command_takes_plug_ins(folder, plugins, capsys, monkeypatch):
    path = write(folder / 'mine.py', DATA % (NAMED, TASKS, "'digits5'", SIX))
    assert download.main(['Made', '--plugin', path]) == 0
    bad = write(folder / 'bad.py', 'x[0]\n')
    for command in (report.main, download.main):
        capsys.readouterr()
        assert command(['x.mat', '--plugin', bad]) == 2
        err = capsys.readouterr().err
        assert err.startswith('error: --plugin %s, line 1: ' % bad) and err.count('\n') == 1
    monkeypatch.setattr(sys, 'argv', ['bench', '--plugin', bad])
    capsys.readouterr()
    assert importlib.import_module('scripts.bench').main() == 2
    assert capsys.readouterr().err.startswith('error: --plugin %s, line 1: ' % bad)


def test_the_benchmark_hands_plug_ins_to_its_processes(folder, plugins, monkeypatch):
    bench, started = importlib.import_module('scripts.bench'), []

    def start_none(words, **more):
        started.append(words)
        raise KeyboardInterrupt
    path = write(folder / 'mine.py', PLAIN)
    monkeypatch.setattr(sys, 'argv', ['bench', '--plugin', path, '--models', 'LASEM_Plain'])
    monkeypatch.setattr(bench.subprocess, 'run', start_none)
    with pytest.raises(KeyboardInterrupt):
        bench.main()
    assert started[0][-2:] == ['--plugin', os.path.realpath(path)] and 'LASEM_Plain' in started[0]
