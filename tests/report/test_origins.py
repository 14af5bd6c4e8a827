"""What the report says of methods whose numbers have different origins: data, code."""
import json

import pytest

from classification.model.registry import MODELS
from classification.report.groups import read_groups
from classification.report.origins import COMMON, OF_SCHEDULE
from classification.runs import provenance
from tests.support.commands import experiment_of
from tests.support.result_files import NAN, record, write, write_published
from utils import source_digest

R = [[0.8, NAN], [0.8, 0.9]]
MODULES = ['classification.train', 'classification.gen_data', 'classification.trial.state',
           'classification.data.source', OF_SCHEDULE[0], 'classification.model.mechanisms']
ORIGIN = {'versions': {'numpy': '1.16.6'}, 'source_modules': MODULES,
          'source_digests': ['same'] * len(MODULES), 'numeric_versions': 'numerics 2',
          'data_checksum': 'c0ffee', 'design_checksum': None}
CODE = 'Not all methods were trained with the same code: '
DATA = 'It is not known whether all methods were trained on the same data'


def made(path, model, *stretches, **more):
    """Appends an experiment of one trial with these stretches; without them its origin is not known."""
    trial = record(R)._replace(origin=json.dumps(stretches) if stretches else None)
    return write(path, model, [trial], **more)


def groups_of(*paths, **options):
    return read_groups(list(paths), **options)[0]


def notes(path, begin):
    """Those of the only group that begin so."""
    group, = groups_of(path)
    return [note for note in group.notes if note.startswith(begin)]


# ---- data ----

@pytest.mark.parametrize('field', ['data_checksum', 'design_checksum'])
def test_files_alone_with_other_checksums_are_not_compared(field, tmp_path):
    path = made(tmp_path / 'x.mat', 'STL', ORIGIN)
    other = made(tmp_path / 'y.mat', 'Hybrid_HPS', dict(ORIGIN, **{field: 'another'}))
    assert [len(group.members) for group in groups_of(path, other)] == [1, 1]
    assert [len(group.members) for group in groups_of(path, made(tmp_path / 'z.mat', 'EWC', ORIGIN))] == [2]


def test_config_and_origin_tell_the_same_data(tmp_path):
    path = made(tmp_path / 'x.mat', 'STL', config=True)
    made(path, 'Hybrid_HPS', ORIGIN)
    assert notes(path, DATA) == []
    made(path, 'EWC', dict(ORIGIN, data_checksum='another'))
    assert [len(group.members) for group in groups_of(path)] == [2, 1]


def test_a_trial_that_continues_a_shorter_experiment_is_of_the_data_of_the_longer_one(tmp_path):
    path = made(tmp_path / 'x.mat', 'STL', ORIGIN)
    made(path, 'Hybrid_HPS', dict(ORIGIN, data_checksum='of fewer tasks'), ORIGIN)
    assert notes(path, DATA) == []


def test_unknown_data_are_said_once(tmp_path):
    path = made(tmp_path / 'x.mat', 'STL', ORIGIN)
    assert notes(path, DATA) == []
    made(path, 'Hybrid_HPS')
    made(path, 'EWC')
    assert notes(path, DATA) == [DATA + ': there are no checksums of Hybrid_HPS, EWC.']
    alone, = groups_of(made(tmp_path / 'alone.mat', 'EWC', fingerprint='f' * 64))
    assert not any(note.startswith(DATA) for note in alone.notes)


def test_files_of_the_authors_release_have_their_own_note_of_it(tmp_path):
    paths = [str(tmp_path / name) for name in ('x.mat', 'y.mat')]
    for path in paths:
        write_published(path)
    group, = groups_of(*paths, assume_same_data=True)
    assert 'does not say on what data' in group.notes[0] and not any(
        note.startswith(DATA) for note in group.notes)


# ---- code ----

def edited(*modules):
    return dict(ORIGIN, source_digests=['new' if name in modules else 'same' for name in MODULES])


@pytest.mark.parametrize('other, said', [
    (ORIGIN, []), (edited(OF_SCHEDULE[0], 'classification.model.mechanisms'), []),
    (edited('classification.train'), [CODE + 'classification.train.']),
    (edited(*MODULES[:4]), [
        CODE + 'classification.train, classification.gen_data, classification.trial.state '
               'and 1 more.']),
    (dict(edited('classification.train'), numeric_versions='lasem 2, numerics 1'),
     [CODE + 'numerics 2 (STL), 1 (LASEM_HPS); classification.train.']),
    (dict(ORIGIN, numeric_versions=''), [])], ids=[
        'same', 'of methods', 'one', 'many', 'numerics', 'unknown'])
def test_other_code_of_what_methods_have_in_common_is_said(other, said, tmp_path):
    path = made(tmp_path / 'x.mat', 'STL', ORIGIN)
    assert notes(made(path, 'LASEM_HPS', other), CODE) == said


def test_no_digest_of_a_common_module_depends_on_the_method():
    files, digests = source_digest.Source(), {}
    for lifelong in (True, False):
        for name in sorted(MODELS):
            experiment = experiment_of()._replace(model_type=name, lifelong=lifelong)
            for module, digest in provenance.source(experiment, files).items():
                if module.startswith(COMMON) and module not in OF_SCHEDULE:
                    digests.setdefault(module, set()).add(digest)
    assert 'classification.train' in digests and not [
        module for module, found in digests.items() if len(found) > 1]
