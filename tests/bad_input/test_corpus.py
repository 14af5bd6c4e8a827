"""Every entry of the corpus of bad inputs: one line that names the thing, status 2, nothing written, no
traceback."""
import pathlib
import tempfile

import pytest

from tests.bad_input.corpus import ENTRIES
from tests.bad_input.trial import Materials, faults, tried


@pytest.fixture(scope='module')
def materials():
    with tempfile.TemporaryDirectory() as folder:
        yield Materials(pathlib.Path(folder))


@pytest.mark.parametrize('entry', ENTRIES, ids=lambda entry: '%s: %s' % (entry.kind, ascii(entry.name)))
def test_a_bad_input(entry, materials):
    with tempfile.TemporaryDirectory(dir=str(materials.folder)) as folder:
        outcome = tried(entry, pathlib.Path(folder), materials)
        assert faults(entry, outcome) == [], outcome
        assert entry.check is None or entry.check(pathlib.Path(folder), outcome), outcome


def test_the_corpus_is_large_and_no_entry_is_there_twice():
    names = [(entry.kind, entry.name) for entry in ENTRIES]
    assert len(set(names)) == len(names) and sum(not entry.works for entry in ENTRIES) >= 150
