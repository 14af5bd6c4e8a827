"""Nothing that a file holds is run, nothing leaves the machine, nobody else can change what is written."""
import ast
import os
import pathlib
import pickle
import stat
import subprocess
import sys
import tempfile

import pytest

import main
from classification.data import readers
from tests.bad_input.corpus import ENTRIES
from tests.bad_input.pickles import ODD, PICKLES
from tests.bad_input.trial import Materials, Outcome, faults, listed, replace
from tests.support import data_files
from utils.utils import UserError

ROOT = os.path.dirname(os.path.abspath(main.__file__))


# ---- pickles ----

@pytest.mark.parametrize('content', [row[1] for row in PICKLES], ids=[row[0] for row in PICKLES])
def test_a_malicious_pickle_would_work_elsewhere_and_does_not_here(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data_files.cifar100(tmp_path, 1, 1)
    replace(tmp_path / 'cifar-100-python' / 'test', content)
    with pytest.raises(UserError, match='test: is no CIFAR-100 file, .* which no data file needs'):
        readers.CIFAR100.labels(str(tmp_path))
    assert not (tmp_path / 'sprung').exists()
    try:
        pickle.loads(content, encoding='bytes')
    except Exception:
        pass
    assert (tmp_path / 'sprung').exists()


@pytest.mark.parametrize('content', [row[1] for row in ODD], ids=[row[0] for row in ODD])
def test_an_odd_pickle_changes_nothing(content, tmp_path):
    data_files.cifar100(tmp_path, 1, 1)
    path = tmp_path / 'cifar-100-python' / 'test'
    good, before = path.read_bytes(), [dict(vars(one)) for one in (readers._Type, readers._Array,
                                                                   readers._encoded)]
    replace(path, content)
    with pytest.raises(UserError):
        readers.CIFAR100.labels(str(tmp_path))
    assert [dict(vars(one)) for one in (readers._Type, readers._Array, readers._encoded)] == before
    replace(path, good)
    assert len(readers.CIFAR100.labels(str(tmp_path))['test']) == 100


# ---- the source ----

FORBIDDEN = {'eval', 'exec', 'compile', '__import__', 'os.system', 'os.popen', 'os.startfile', 'pickle.load',
             'pickle.loads',
             'pickle.Unpickler', 'marshal.load', 'marshal.loads', 'yaml.load', 'shelve.open', 'joblib.load',
             'tempfile.mktemp', 'subprocess.getoutput', 'subprocess.getstatusoutput', 'os.chmod'}
NETWORK = {'socket', 'ssl', 'http', 'urllib', 'ftplib', 'smtplib', 'telnetlib', 'xmlrpc', 'asyncio',
           'socketserver', 'requests', 'pooch', 'distributed', 'dask', 'dask_jobqueue', 'paramiko'}
# Files that may speak to other machines, and with what; only because --download or --scheduler asks for it.
MAY_USE_NETWORK = {
    os.path.join('classification', 'data', 'download.py'): {'pooch', 'requests'},
    os.path.join('classification', 'data', 'http_download.py'): {'requests'},
    os.path.join('classification', 'runs', 'cluster.py'): {'asyncio', 'distributed'},
    os.path.join('classification', 'runs', 'cluster_trial.py'): {'asyncio'},
    os.path.join('scripts', 'slurm_dask.py'): {'dask_jobqueue'},
}


def product():
    """Paths of the program's files, from its folder."""
    found = []
    for place, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(('.', 'tests', 'env', 'venv', 'Data',
                                                                       'Result'))]
        found += [os.path.relpath(os.path.join(place, name), ROOT) for name in files if name.endswith('.py')]
    return sorted(found)


def dotted(node):
    """'os.path.join' of such an expression."""
    if isinstance(node, ast.Attribute):
        return '%s.%s' % (dotted(node.value), node.attr)
    return node.id if isinstance(node, ast.Name) else '?'


def complaints(text):
    """What a source text does that it should not: dict complaint -> modules of the network it imports."""
    found, network = [], set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name, keywords = dotted(node.func), {one.arg: one.value for one in node.keywords}
            if name in FORBIDDEN or name.startswith(('os.exec', 'os.spawn')):
                found.append(name)
            if 'shell' in keywords:
                found.append('%s with a shell' % name)
            if name in ('np.load', 'numpy.load', 'np.lib.format.read_array') and not (
                    'allow_pickle' in keywords and getattr(keywords['allow_pickle'], 'value', None) is False):
                found.append('%s without allow_pickle=False' % name)
        elif isinstance(node, ast.Import):
            network |= {one.name.split('.')[0] for one in node.names} & NETWORK
        elif isinstance(node, ast.ImportFrom) and not node.level:
            network |= {node.module.split('.')[0]} & NETWORK
            found += ['%s.%s' % (node.module, one.name) for one in node.names if '%s.%s'
                      % (node.module, one.name) in FORBIDDEN]
    return found, network


@pytest.mark.parametrize('path', product())
def test_the_source_runs_no_text_and_opens_no_connection(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as stream:
        found, network = complaints(stream.read())
    assert not found
    assert network <= MAY_USE_NETWORK.get(path, set())


@pytest.mark.parametrize('text', ['eval("1")', 'import os\nos.system("x")', 'from os import system',
                                  'f(x, shell=True)', 'np.load(path)',
                                  'np.load(path, allow_pickle=True)', 'import pickle\npickle.load(f)',
                                  'import requests',
                                  'from urllib.request import urlopen', 'def f():\n    import socket',
                                  'os.execv(a, b)', 'yaml.load(x)'])
def test_the_search_finds_what_it_looks_for(text):
    found, network = complaints(text)
    assert found or network


def test_all_of_the_program_is_searched():
    assert {'main.py', os.path.join('classification', 'data', 'readers.py'),
            os.path.join('utils', 'report.py')} <= set(product())


# ---- whole programs ----

# What Python runs when it starts, in the command and in its trials: a connection is an error, and leaves a
# trace.
NO_NETWORK = u"""
import socket, traceback
def refuse(*arguments, **more):
    open(%r, 'a').write(''.join(traceback.format_stack()))
    raise OSError('no network here')
class Lonely(socket.socket):
    connect = connect_ex = sendto = sendmsg = refuse
socket.socket, socket.getaddrinfo, socket.gethostbyname = Lonely, refuse, refuse
"""


@pytest.fixture(scope='module')
def tiny_run(tmp_path_factory):
    """(ended process, stdout, stderr, folder) of a run without network, umask or language, in folders of odd
    names."""
    folder = tmp_path_factory.mktemp('run')
    (folder / 'sitecustomize.py').write_text(NO_NETWORK % str(folder / 'network'))
    data_files.mnist(folder / u'D\u00e4t\u00e4 \u4e2d', 24, 2)
    options = ['--data_type', 'MNIST5', '--data_percent', '1', '--model_type', 'SNN', '--lifelong',
               '--num_tasks', '2', '--num_runs', '1',
               '--epochs_per_task', '1', '--threads', '1', '--data_dir', u'D\u00e4t\u00e4 \u4e2d',
               '--result_dir', u'Ergebn\u00eds',
               '--save_mat_name', u'\u00e4.mat', '--saveparam', '--savegraph']
    environment = dict(os.environ, PYTHONPATH=str(folder), LC_ALL='C', PYTHONCOERCECLOCALE='0',
                       PYTHONUTF8='0', PYTHONIOENCODING='ascii', TF_USE_LEGACY_KERAS='1')
    child = subprocess.Popen([sys.executable, main.__file__] + [os.fsencode(option) for option in options],
                             cwd=str(folder),
                             env=environment, preexec_fn=lambda: os.umask(0), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    out, err = child.communicate()
    return child, out.decode('utf-8'), err.decode('utf-8'), folder


def test_a_run_in_any_language(tiny_run):
    child, out, err, folder = tiny_run
    log, = folder.rglob('log.txt')
    assert (child.returncode, err) == (0, ''), log.read_text()
    assert 'SNN over 1 trial in Ergebn' in out
    assert (folder / u'Ergebn\u00eds' / u'\u00e4.mat').exists()


def test_a_run_opens_no_connection(tiny_run):
    trace = tiny_run[3] / 'network'
    assert not trace.exists(), trace.read_text()


def test_what_a_run_writes_nobody_else_can_change(tiny_run):
    folder, modes = tiny_run[3], {}
    for top in (u'Ergebn\u00eds', u'D\u00e4t\u00e4 \u4e2d/cache'):
        for name in [''] + list(listed(folder / top)):
            path = os.path.join(str(folder), top, name)
            modes[path] = os.lstat(path).st_mode
    assert len(modes) > 15 and any('events' in path for path in modes) and any('params' in path
                                                                               for path in modes)
    assert [path for path, mode in modes.items() if mode & stat.S_IWOTH] == []


PROCESSES = [entry for entry in ENTRIES if entry.name in (
    'photograph cut off', 'idx images cut off', 'malicious pickle: INST', 'result file of version 7.3',
    'record cut off',
    'report: file of version 7.3', r'--model_type HPS=TF', '--model_type=HPS=TF', r'--data_type DIGITS5\nrm')]


@pytest.mark.parametrize('entry', PROCESSES, ids=lambda entry: ascii(entry.name))
def test_as_a_process(entry):
    program = [main.__file__] if entry.program is main else ['-m', 'utils.report']
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place) / 'here'
        folder.mkdir()
        options = entry.make(folder, Materials(pathlib.Path(place)))
        before = listed(folder)
        child = subprocess.Popen([sys.executable] + program + options, cwd=str(folder),
                                 env=dict(os.environ, PYTHONPATH=ROOT),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = [text.decode('utf-8') for text in child.communicate()]
        assert faults(entry, Outcome(child.returncode, out, err, '', ())) == [], err
        assert listed(folder) == before


def test_processes_are_tried():
    assert len(PROCESSES) == 8
