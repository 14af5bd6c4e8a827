"""Prepares TensorFlow once, before any test imports it."""
import gc
import itertools
import os
import time

import pytest

os.environ['CUDA_VISIBLE_DEVICES'] = '-1'

from utils import runtime  # noqa: F401,E402


def pytest_collection_finish():
    """What was imported stays: the garbage collector need not walk through it again and again while graphs are built."""
    gc.collect()
    if hasattr(gc, 'freeze'):       # from Python 3.7 on
        gc.freeze()


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
