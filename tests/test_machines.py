"""What differs between machines and users: argparse, homes, builds of TensorFlow."""
import argparse
import hashlib
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile

import pytest

import main
from classification import download as download_command
from classification import train_wrapper
from classification.data import download, readers
from classification.experiment import flags
from classification.report import command as report
from tests.support import data_files
from tests.support.commands import SHORT, is_refused, run, run_and_listen
from tests.support.data_files import content_of, remote
from utils import paths, utils
from utils.tensorflow_version import tensorflow_distribution
from utils.utils import UserError

ROOT = os.path.dirname(os.path.abspath(main.__file__))


# ---- numbers on the command line ----

def options_of(kind):
    """Options of main.py whose value is of a kind."""
    return [action.option_strings[0] for action in flags.parser()._actions if action.type is kind]


@pytest.mark.parametrize('text', ['-1e-3', '-1E5', '-.5e2', '-1_0', '-inf', '-NaN', '-2', '-1.', '-0.5'])
def test_a_negative_number_is_a_value_in_any_notation(text):
    for option in options_of(float):
        value = getattr(flags.parser().parse_args([option, text]), option[2:])
        assert repr(value) == repr(float(text))


@pytest.mark.parametrize('text', ['-1e-3', '-1x', '-0x10', '-1,0'])
def test_what_begins_like_a_negative_number_and_is_none_is_named(text):
    for option in options_of(int):
        is_refused([option, text], "argument %s: invalid int value: '%s'" % (option, text))


def test_the_share_of_an_stl_analysis_below_zero_is_zero(folder):
    options = ['--data_type', 'DIGITS5', '--model_type', 'STL', '--lifelong', '--stl_analysis',
               '--stl_task_to_learn', '1', '--stl_total_data_ratio', '-1e-3', '--dry_run']
    assert run_and_listen(options)[::2] == (0, '')


# ---- homes ----

PATHS = [(make, action.option_strings[0] if action.option_strings else None, action)
         for make in (flags.parser, report.parser) for action in make()._actions
         if action.metavar in ('FILE', 'DIR', 'FILE.mat') or action.dest.endswith(('_dir', '_path'))]


@pytest.mark.parametrize('make, option, action', PATHS, ids=[action.dest for _, _, action in PATHS])
def test_every_path_may_begin_with_a_home(make, option, action, monkeypatch):
    monkeypatch.setenv('HOME', '/home/of/mine')
    me = pwd.getpwuid(0)
    for text, expected in (('~', '/home/of/mine'), ('~/a ~b', '/home/of/mine/a ~b'), ('a/~', 'a/~'),
                           ('./~x', './~x'),
                           ('~%s/x' % me.pw_name, os.path.join(me.pw_dir, 'x')), ('$HOME/x', '$HOME/x')):
        words = [text] if option is None else [option, text]
        found = getattr(make().parse_args((['x.mat'] if option and make is report.parser else []) + words),
                        action.dest)
        assert found in (expected, [expected])


def test_a_home_that_nobody_knows_is_refused(folder):
    is_refused(['--result_dir', '~no_such_user/results'],
               '--result_dir: ~no_such_user/results: the home folder of ~no_such_user is not known; write '
               './~no_such_user/results')
    with pytest.raises(argparse.ArgumentTypeError):
        paths.path_argument('~no_such_user')


def test_results_go_to_the_home(folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder / 'home'))
    monkeypatch.setattr(train_wrapper.Run, 'run', lambda self: 0)
    assert run(SHORT + ['--result_dir=~/results']) == 0
    assert sorted(os.listdir(str(folder))) == ['home'] and (folder / 'home' / 'results' / 'digits').is_dir()


@pytest.mark.parametrize('mirror', ['file://~/a%20mirror', 'file:~/a%20mirror/', 'file://{home}/a%20mirror',
                                    'file://localhost{home}/a%20mirror',
                                    'https://no.such.host file:{home}/a%20mirror'])
def test_a_mirror_may_be_a_folder(mirror, tmp_path, monkeypatch):
    data_files.mnist(tmp_path / 'a', 2, 1)
    shutil.copytree(str(tmp_path / 'a'), str(tmp_path / 'a mirror'))
    rows = tuple(remote(row.path, content_of(tmp_path / 'a mirror' / row.path), 'http://127.0.0.1:9')
                 for row in download.REMOTES['mnist'])
    monkeypatch.setitem(download.REMOTES, 'mnist', rows)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv(download.MIRRORS, mirror.format(home=tmp_path).split()[-1])
    assert download_command.main(['mnist', '--data_dir', str(tmp_path / 'Data')]) == 0
    assert sorted(readers.MNIST.files(str(tmp_path / 'Data'))) == sorted(readers.MNIST.files(
        str(tmp_path / 'a')))


@pytest.mark.parametrize('mirror, says', [
    ('file://host/folder',
     'file://host/folder is no base URL; it must begin with http://, https:// or file:///'),
    ('file:folder', 'file:folder is no base URL'), ('file://~no_such_user/x',
                                                    'the home folder of ~no_such_user is not known')])
def test_a_mirror_that_is_no_folder_of_this_machine(mirror, says, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(download.MIRRORS, mirror)
    assert download_command.main(['mnist', '--data_dir', str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert line.startswith('error: LASEM_MIRROR: ') and says in line and line.count('\n') == 1


def environment(*arguments, **variables):
    """(status, stdout, stderr) of scripts/environment.sh."""
    child = subprocess.Popen(['bash', os.path.join(ROOT, 'scripts', 'environment.sh')] + list(arguments),
                             stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=dict(variables, PATH=os.environ['PATH'],
                                                              PYTHON=sys.executable))
    out, err = child.communicate()
    return child.returncode, out.decode('utf-8').strip(), err.decode('utf-8')


def finished_environment(folder):
    """An environment that scripts/environment.sh takes for its own; its Python."""
    files = b''.join(open(os.path.join(ROOT, name), 'rb').read()
                     for name in ('requirements.txt', 'requirements-cluster.txt'))
    made = folder / ('venv-%s-%s' % (platform.python_version(), hashlib.sha256(files).hexdigest()[:12]))
    (made / 'bin').mkdir(parents=True)
    (made / 'complete').write_text('')
    os.symlink(sys.executable, str(made / 'bin' / 'python'))
    return str(made / 'bin' / 'python')


RUNTIME = '1.14' if sys.version_info < (3, 8) else '2'


@pytest.mark.parametrize('variables, place', [
    ({'HOME': '{0}', 'LASEM_CACHE': '~/mine'}, 'mine'), ({'HOME': '{0}', 'LASEM_CACHE': '~'}, ''),
    ({'HOME': '{0}'}, '.cache/lasem'), ({'HOME': '/proc', 'TMPDIR': '{0}'}, 'lasem-%d' % os.getuid()),
    ({'XDG_CACHE_HOME': '{0}/x'}, 'x/lasem')])
def test_environments_lie_in_the_home_or_where_else_can_be_written(variables, place, tmp_path):
    python = finished_environment(tmp_path / place if place else tmp_path)
    variables = {name: value.format(tmp_path) for name, value in variables.items()}
    assert environment('make', RUNTIME, **variables) == (0, python, '')


def test_an_unknown_home_of_environments_is_named(tmp_path):
    status, out, err = environment('make', RUNTIME, HOME=str(tmp_path), LASEM_CACHE='~no_such_user/x')
    assert (status, out) == (1, '') and 'the home folder of ~no_such_user is not known' in err


def test_an_empty_environment_finds_a_python():
    status, out, err = environment('find', RUNTIME)
    assert (status, err) == (0, '') and os.path.exists(out)


# ---- builds of TensorFlow ----

@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages with a TensorFlow that nothing says where it came from."""
    (tmp_path / 'tensorflow').mkdir()
    (tmp_path / 'tensorflow' / '__init__.py').write_text('raise ImportError("it is not imported")')
    monkeypatch.setattr(sys, 'path', [str(tmp_path)] + sys.path)
    return tmp_path


def distribution(site, folder, name, version, modules=None, files=None, metadata='METADATA'):
    """Metadata of an installed distribution."""
    (site / folder).mkdir()
    (site / folder / metadata).write_text(
        'Metadata-Version: 2.1\nName: %s\nVersion: %s\nSummary: s\n\nVersion: 0\n' % (name, version))
    for file, lines in (('top_level.txt', modules), ('RECORD', files)):
        if lines is not None:
            (site / folder / file).write_text('\n'.join(lines) + '\n')


@pytest.mark.parametrize('folder, name, version', [
    ('tensorflow-2.21.0.dist-info', 'tensorflow', '2.21.0'),
    ('nvidia_tensorflow-1.15.5+nv23.3.dist-info', 'nvidia-tensorflow', '1.15.5+nv23.3'),
    ('tf_nightly-2.22.0.dev20260101.dist-info', 'tf-nightly', '2.22.0.dev20260101'),
    ('tensorflow_intel-2.15.0.dist-info', 'tensorflow-intel', '2.15.0'),
    ('mine-2.3-py3.8.egg-info', 'mine', '2.3')])
@pytest.mark.parametrize('told', ['files', 'modules'])
def test_any_distribution_may_bring_tensorflow(folder, name, version, told, site):
    distribution(site, 'a-1.0.dist-info', 'a', '1.0', ['tensorflow_io'], ['tensorflow_io/__init__.py,,'])
    distribution(site, 'tensorflow_estimator-9.0.dist-info', 'tensorflow-estimator', '9.0',
                 ['tensorflow_estimator'])
    distribution(site, '~ensorflow-0.1.dist-info', 'tensorflow', '0.1', ['tensorflow'],
                 ['tensorflow/__init__.py,,'])
    listed = dict(files=['tensorflow/__init__.py,sha256=x,1',
                         'tensorflow/a.py,,']) if told == 'files' else dict(
        modules=['tensorflow', 'tensorflow_core'])
    distribution(site, folder, name, version, metadata='METADATA' if folder.endswith('dist-info')
                 else 'PKG-INFO', **listed)
    assert tensorflow_distribution() == (name, version)


def test_the_distribution_that_has_the_files_is_the_one(site):
    distribution(site, 'tensorflow-2.15.0.dist-info', 'tensorflow', '2.15.0', ['tensorflow'],
                 ['tensorflow-2.15.0.dist-info/RECORD,,'])
    distribution(site, 'tensorflow_intel-2.15.1.dist-info', 'tensorflow_intel', '2.15.1', ['tensorflow'],
                 ['tensorflow/__init__.py,,'])
    assert tensorflow_distribution() == ('tensorflow_intel', '2.15.1')


def test_a_tensorflow_that_nothing_brought_has_no_version(site):
    with pytest.raises(UserError, match='has no version: no distribution beside it'):
        tensorflow_distribution()


# ---- users ----

NOBODY = 54321      # no user has this number


def as_nobody(arguments, **variables):
    """(status, stdout and stderr) of Python as a user whom no database knows, who may read all and write
    where all may."""
    if os.getuid() or not shutil.which('setpriv'):
        pytest.skip('becoming another user takes root and setpriv')
    child = subprocess.Popen(
        ['setpriv', '--reuid', str(NOBODY), '--clear-groups', '--inh-caps', '+dac_read_search',
         '--ambient-caps',
         '+dac_read_search', sys.executable] + arguments, env=dict(variables, PYTHONPATH=ROOT,
                                                                   CUDA_VISIBLE_DEVICES='-1'),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = child.communicate()
    return child.returncode, out.decode('utf-8')


@pytest.fixture
def open_folder(folder):
    """The current folder, which everybody may write, and which is reached through folders that everybody may
    enter."""
    place = tempfile.mkdtemp()
    os.chmod(place, 0o777)
    os.chdir(place)
    yield place
    os.chdir(str(folder))
    shutil.rmtree(place)


def test_a_user_whom_nobody_knows(open_folder):
    """Trains, reports and reads photographs, with an empty environment and with a home that cannot be
    written."""
    os.mkdir('home')
    training = [([main.__file__] + SHORT + ['--epochs_per_task', '1', '--num_runs', '1', '--quiet'],
                 'Hybrid_HPS over 1 trial in Result/digits.mat')]
    photographs = (
        "import sys; from utils.utils import prepare_process; prepare_process(); from classification.data "
        "import "
                   "readers_officehome as r; r.OFFICEHOME._packages(); import distributed, pooch")
    for variables in ({}, {'HOME': os.path.abspath('home')}):
        variables['TMPDIR'] = open_folder
        for arguments, says in training * (not variables.get('HOME')) + [
                (['-m', 'utils.report', 'Result/digits.mat', '--format', 'html', '--out', 'report'],
                 'written: report/report.html'), (['-c', photographs], '')]:
            status, said = as_nobody(arguments, **variables)
            assert status == 0 and says in said and len(said.splitlines()) < 30, said
            assert 'Matplotlib created' not in said
        assert '~' not in os.listdir('.') and os.listdir('home') == []


def test_only_a_home_that_cannot_be_written_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    names = 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'KERAS_HOME'
    for name in names:
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    (tmp_path / 'home').mkdir()
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    utils._place_for_caches()
    assert [os.environ.get(name) for name in names] == [None] * 3
    monkeypatch.setenv('HOME', str(tmp_path / 'none'))
    monkeypatch.setenv('XDG_CACHE_HOME', 'mine')
    utils._place_for_caches()
    folder = str(tmp_path / ('lasem-%d' % os.getuid()))
    assert [os.environ.get(name) for name in names] == ['mine', folder, folder]
    assert os.stat(folder).st_mode & 0o777 == 0o700
