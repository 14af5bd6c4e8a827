"""Plug-ins in tests: files that are written, loaded and forgotten again."""
import os
import sys

import pytest

from classification import gen_data
from classification.experiment import plugin_files
from classification.model import declare
from utils import utils_env_cl as env

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.path.join(ROOT, 'examples')


def example(name):
    """Path of an example."""
    return os.path.join(EXAMPLES, name + '.py')


class Plugins(object):
    """Loads plug-ins, and forgets them again: the tables are then what they were."""

    def __init__(self):
        self.tables = (declare.MECHANISMS, declare.METHODS, declare.MODELS, gen_data.DATASETS, env.TRAINING, env.NETWORKS,
                       plugin_files._loaded)
        self.kept = [list(table.items()) for table in self.tables]

    def load(self, *paths):
        plugin_files.load(list(map(str, paths)))

    def forget(self):
        for table, rows in zip(self.tables, self.kept):
            table.clear()
            table.update(rows)
        for name in [name for name in sys.modules if name.startswith(plugin_files.PREFIX)]:
            del sys.modules[name]


@pytest.fixture
def plugins():
    """Plugins; what a test loads is forgotten at its end."""
    made = Plugins()
    yield made
    made.forget()
