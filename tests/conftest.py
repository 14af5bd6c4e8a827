"""Prepares TensorFlow once, before any test imports it."""
import os

import pytest

os.environ['CUDA_VISIBLE_DEVICES'] = '-1'

from utils import runtime  # noqa: F401,E402


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
