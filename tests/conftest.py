"""Prepares TensorFlow once, before any test imports it."""
import gc
import itertools
import os
import shutil
import time

import pytest

os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
os.environ['SLURM_CPUS_PER_TASK'] = '1'       # one trial after the other, with one thread

from classification.model import registry  # noqa: F401,E402  it declares the project's own
from classification.runs import supervisor  # noqa: E402
from classification.trial import checkpoint  # noqa: E402
from tests.support import command_line  # noqa: E402
from tests.support.commands import Plugins  # noqa: E402
from tests.support.result_files import EARLIER  # noqa: E402
from utils import runtime  # noqa: F401,E402

OWN = Plugins()


def pytest_collection_finish():
    """What was imported stays: the garbage collector need not walk through it again and again while graphs
    are built."""
    gc.collect()
    if hasattr(gc, 'freeze'):       # from Python 3.7 on
        gc.freeze()


@pytest.fixture(autouse=True)
def nothing_is_left_declared():
    """A test that loads or imports a plug-in would leave other methods and data sets to the tests after
    it."""
    yield
    assert OWN.added() == []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def falling_clock(monkeypatch):
    """Each look at the wall clock finds it set back by two hours."""
    looks = itertools.count()
    monkeypatch.setattr(time, 'time', lambda: 1e9 - 7200. * next(looks))


@pytest.fixture
def handed_on(monkeypatch):
    """List of (parameter store, state of the method) that each position handed on."""
    seen, save = [], checkpoint.save

    def spy(path, meta, groups):
        if meta['position'] == len(seen) + 1 and not meta['inside']:
            seen.append((dict(groups['store']), meta['state']))
        save(path, meta, groups)
    monkeypatch.setattr(checkpoint, 'save', spy)
    return seen


@pytest.fixture
def result(tmp_path, monkeypatch):
    """Result/ as the earlier version left it, in the current folder: pathlib.Path."""
    shutil.copytree(EARLIER, str(tmp_path / 'Result'))
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'Result'


@pytest.fixture
def plugins():
    """Plugins; what a test loads is forgotten at its end."""
    made = Plugins()
    yield made
    made.forget()


@pytest.fixture
def train_here(monkeypatch):
    """Trials are trained in this process, on a network of two layers."""
    command_line.change(monkeypatch.setitem)
    monkeypatch.setattr(supervisor, 'choose_pool', lambda flags, trials, say: command_line.PoolHere())
