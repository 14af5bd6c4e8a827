"""Parameter files: the published fields, the way back into the store, folders, resumed runs, tensor factors
from a file."""
import os
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import loadmat

from classification.experiment.tensor_factors import tensor_factors
from classification.model.cnn_darts_model import LEFT
from classification.model.registry import MODELS
from classification.model.search import PatternSearch
from classification.results import parameter_files
from classification.results.parameter_files import FINAL, load, new_folder, path_of
from classification.trial import checkpoint
from classification.trial.task_graph import TaskGraph
from tests.support.result_files import parameter_of
from tests.support.tiny import accuracies, learned, make_experiment, make_trial
from utils.declarations import KERNEL
from utils.utils import UserError

SIZES = {'conv': 2, 'fc': 1}
ABOUT = dict(schema_version=1, model_type='?', trial=0, position=1, task=1, tasks=[0, 1],
             state='{"patterns": {}}')


def experiment_of(model_type, order=(0, 1), epochs=1, **more):
    return make_experiment(model_type, order, epochs, **more)._replace(analyses={'saveparam': True})


def trained(experiment, folder, **more):
    """(trial, path of its run folder) of a trial that writes parameter files."""
    (folder / 'trial').mkdir()
    trial = make_trial(experiment, folder / 'trial', parameter_folder=str(folder / 'params'), **more)
    trial.run()
    return trial, folder / 'params' / 'run0'


def made_of(patterns):
    """Kernels and selections, as the trial adds them."""
    made = {KERNEL.format(task=task, layer=layer): np.full((3, 3, (1, 3)[layer], (3, 4)[layer]), 7,
                                                           np.float32)
            for task, pattern in enumerate(patterns) for layer, letter in enumerate(pattern) if letter == 'S'}
    made.update((LEFT.format(layer=layer), np.array([layer, 5], np.float32)) for layer in (0, 1))
    return made


def written(model_type, patterns, path):
    """(store, path) of a file of tasks that were learned with these patterns."""
    store, model = learned(model_type, patterns)[1], MODELS[model_type]
    parameter_files.save(str(path), store, model.parameter_fields(), list(range(len(patterns))), SIZES,
                         dict(ABOUT, model_type=model_type, tasks=list(range(len(patterns)))),
                         made_of(patterns))
    return store


def same_store(one, other):
    assert set(one) == set(other)
    for name in one:
        assert one[name].dtype == other[name].dtype and one[name].shape == other[name].shape, name
        assert one[name].tobytes() == other[name].tobytes(), name


# ---- round trip, for every method ----

@pytest.mark.parametrize('model_type', sorted(MODELS))
def test_a_file_gives_the_store_back(model_type, tmp_path):
    patterns = {'searched': ['ST', 'TT', 'SS'], 'asked': ['TS'] * 3, 'all': ['SS'] * 3, 'none': ['TT'] * 3}
    store = written(model_type, patterns[MODELS[model_type].pattern], tmp_path / 'file.mat')
    file = load(str(tmp_path / 'file.mat'))
    same_store(file.store, store)
    assert file.about == dict(ABOUT, model_type=model_type, tasks=[0, 1, 2], state={'patterns': {}})
    assert os.listdir(str(tmp_path)) == ['file.mat']
    if model_type != 'APD':       # its published fields have no place for a task's own layers
        assert 'other_weights' not in parameter_of(tmp_path / 'file.mat')


@pytest.mark.parametrize('model_type', ['LASEM_DFCNN', 'Hybrid_HPS'])
def test_a_trials_files_give_its_store_back(model_type, tmp_path):
    experiment = experiment_of(model_type, depth=1)
    trial, folder = trained(experiment, tmp_path)
    final = load(str(folder / FINAL))
    same_store(final.store, trial.store)
    assert final.about['model_type'] == model_type and final.about['tasks'] == [0, 1]
    assert (final.about['trial'], final.about['position'], final.about['task']) == (0, 1, 1)
    assert final.about['state'] == trial.method.state and final.about[
        'fingerprint'] == experiment.fingerprint()
    # nothing is missing in it
    found = accuracies(experiment, final.store, final.about['state'], (0, 1))
    np.testing.assert_array_equal([found[task][2] for task in (0, 1)], trial.state.history.final[:, 2])
    assert sorted(os.listdir(str(folder))) == [FINAL, 'model_parameter_taskC0_task0.mat',
                                               'model_parameter_taskC1_task1.mat']
    assert (folder / FINAL).read_bytes() == (folder / 'model_parameter_taskC1_task1.mat').read_bytes()
    same_store({name: value for name, value in load(path_of(str(tmp_path / 'params'), 0, 0, 0)).store.items()
                if 'task0' in name},
               {name: value for name, value in trial.store.items() if 'task0' in name})


def test_what_no_row_names_is_kept_too(tmp_path):
    store = {'conv0/task0/own/kernel': np.ones((1, 1, 1, 2), np.float32),
             'conv0/shared/new/mask': np.arange(3.), 'fc0/task0/own/kernel': np.zeros((2, 2), np.float32)}
    for fields, rest in (((), 3), (MODELS['Hybrid_HPS'].parameter_fields(), 1)):
        path = str(tmp_path / ('%d.mat' % rest))
        parameter_files.save(path, store, fields, [0], {'conv': 1, 'fc': 1}, ABOUT)
        assert loadmat(path)['parameter']['other_weights'][0, 0].shape == (1, rest)
        same_store(load(path).store, store)


def test_a_file_of_newer_code_is_refused_as_such(tmp_path):
    path, newer = str(tmp_path / 'newer.mat'), parameter_files.SCHEMA_VERSION + 1
    parameter_files.save(path, {'fc0/task0/own/bias': np.ones(2, np.float32)}, (), [0], SIZES,
                         dict(ABOUT, schema_version=newer))
    with pytest.raises(UserError, match=r'newer\.mat was written by newer code \(version %d' % newer):
        load(path)


# ---- the published fields ----

def dump(value):
    """A cell as nested lists of (class, shape)."""
    if value.dtype == object:
        return [dump(one) for one in value.flat]
    return value.dtype.name, value.shape


NONE = ('int64', (1, 1))
CONVOLUTIONS = [[('float32', (3, 3, 1, 3)), ('float32', (1, 3))],
                [('float32', (3, 3, 3, 4)), ('float32', (1, 4))]]
HEADS = [[('float32', (16, 2)), ('float32', (1, 2))]] * 2
FACTORS = [[('float32', (size, size)) for size in layer] + [('float32', (1, layer[-1]))]
           for layer in ((3, 3, 1, 3), (3, 3, 3, 4))]
TENSORS = [[('float32', (3, 3, 3, 2)), ('float32', (1, 1, 1, 3)), ('float32', (3,) + ends),
            ('float32', (1, ends[-1]))]
           for ends in ((1, 3), (3, 4))]


def whole(layers, pattern, letter):
    """The layers' arrays one after the other, absent where the pattern has another letter."""
    return [leaf if found == letter else NONE for layer, found in zip(layers, pattern) for leaf in layer]


# of two tasks; a search chose ST for both, the other patterns are TS, or what the method shares
FIELDS = {
    'STL': dict(conv_trainable_weights=[whole(CONVOLUTIONS, 'TT', 'T')] * 2, fc_weights=HEADS),
    'SNN': dict(conv_trainable_weights=[whole(CONVOLUTIONS, 'SS', 'S')] * 2, fc_weights=HEADS),
    # shared ones again
    'Hybrid_HPS': dict(conv_trainable_weights=[whole(CONVOLUTIONS, 'TT', 'T')] * 2, fc_weights=HEADS),
    'EWC': dict(conv_trainable_weights=[whole(CONVOLUTIONS, 'SS', 'S')] * 2, fc_weights=HEADS),
    'Hybrid_TF': dict(
        conv_KB=[NONE, CONVOLUTIONS[1][0]], conv_TS=[whole(FACTORS, 'TS', 'S')] * 2,
        conv_generated_weights=[whole(CONVOLUTIONS, 'TS', 'S')] * 2,
        conv_trainable_weights=[whole(CONVOLUTIONS, 'TS', 'T')] * 2, fc_weights=HEADS),
    'Hybrid_DFCNN': dict(
        conv_KB=[NONE, ('float32', (1, 2, 2, 2))], conv_TS=[whole(TENSORS, 'TS', 'S')] * 2,
        conv_generated_weights=[whole(CONVOLUTIONS, 'TS', 'S')] * 2,
        conv_trainable_weights=[whole(CONVOLUTIONS, 'TS', 'T')] * 2, fc_weights=HEADS),
    'LASEM_HPS': dict(conv_shared_weights=whole(CONVOLUTIONS, 'ST', 'S'),
                      conv_taskspecific_weights=[whole(CONVOLUTIONS, 'ST', 'T')] * 2, fc_weights=HEADS),
    'LASEM_TF': dict(conv_KB=[CONVOLUTIONS[0][0], NONE], conv_TS=[whole(FACTORS, 'ST', 'S')] * 2,
                     conv_trainable_weights=[whole(CONVOLUTIONS, 'ST', 'T')] * 2, fc_weights=HEADS),
    'LASEMG_DFCNN': dict(conv_KB=[('float32', (1, 2, 2, 2)), NONE], conv_TS=[whole(TENSORS, 'ST', 'S')] * 2,
                         conv_trainable_weights=[whole(CONVOLUTIONS, 'ST', 'T')] * 2, fc_weights=HEADS),
    'DARTS_HPS': dict(DARTS_selection_param=[('float32', (1, 2))] * 2,
                      shared_conv=whole(CONVOLUTIONS, 'ST', 'S'),
                      TS_conv=[whole(CONVOLUTIONS, 'SS', 'S')] * 2, fc_weights=HEADS),
    'DARTS_DFCNN': dict(DARTS_selection_param=[('float32', (1, 2))] * 2, KB=[('float32', (1, 2, 2, 2)), NONE],
                        TS=[whole(TENSORS, 'ST', 'S')] * 2, TS_conv=[whole(CONVOLUTIONS, 'ST', 'T')] * 2,
                        fc_weights=HEADS),
    'ProgNN': dict(
        conv_trainable_weights=[whole(CONVOLUTIONS, 'TT', 'T')] * 2,
        conv_lateral_weights=[[NONE] * 8, [NONE] * 4 + [
            ('float32', (1, 1)), ('float32', (1, 1, 3, 1)), ('float32', (1, 1)), ('float32', (3, 3, 1, 4))]],
        fc_weights=HEADS),
    'APD': dict(shared_conv=whole(CONVOLUTIONS, 'SS', 'S'),
                conv_mask_weights=[[layer[0] for layer in CONVOLUTIONS]] * 2,
                conv_APD_weights=[[layer[0] for layer in CONVOLUTIONS]] * 2, fc_weights=HEADS),
}


@pytest.mark.parametrize('model_type', sorted(FIELDS))
def test_fields_shapes_and_types_are_the_published_ones(model_type, tmp_path):
    pattern = {'searched': 'ST', 'asked': 'TS', 'all': 'SS', 'none': 'TT'}[MODELS[model_type].pattern]
    written(model_type, [pattern if model_type != 'APD' else 'SS'] * 2, tmp_path / 'file.mat')
    fields = parameter_of(tmp_path / 'file.mat')
    expected = FIELDS[model_type]
    assert {name: dump(value) for name, value in fields.items()} == expected
    for name, value in fields.items():      # rows of cells, in rows of cells where they are per task
        assert value.shape[0] == 1
        assert isinstance(expected[name][0], tuple) or all(row.shape[0] == 1 for row in value.flat)


def test_values_stand_where_they_belong(file_of_tf):
    trial, path = file_of_tf
    fields, store = parameter_of(path), trial.store
    np.testing.assert_array_equal(fields['conv_KB'][0, 1], store['conv1/shared/tf/core'])
    for task in (0, 1):
        factors, made = fields['conv_TS'][0, task][0, 5:], fields['conv_generated_weights'][0, task][0]
        for axis, factor in zip('hwio', factors):
            np.testing.assert_array_equal(factor, store['conv1/task%d/tf/mix_%s' % (task, axis)])
        # W = sum K U0 U1 U2 U3, in NumPy.
        kernel = np.einsum('ijkl,ip,jq,kr,ls->pqrs', store['conv1/shared/tf/core'].astype(float),
                           *factors[:4])
        np.testing.assert_allclose(made[2], kernel, atol=1e-5)
        np.testing.assert_array_equal(made[3].ravel(), store['conv1/task%d/tf/bias' % task])
        np.testing.assert_array_equal(fields['fc_weights'][0, task][0, 0],
                                      store['fc0/task%d/own/kernel' % task])
        np.testing.assert_array_equal(fields['fc_weights'][0, task][0, 1].ravel(),
                                      store['fc0/task%d/own/bias' % task])


def test_the_selection_is_the_last_one_of_the_search(tmp_path):
    trial, folder = trained(experiment_of('DARTS_HPS', (0, 1, 0), depth=1), tmp_path)
    rows = trial.state.history.method_rows['history_DARTS_arch_select']
    for position, task in enumerate((0, 1)):
        fields = parameter_of(folder / ('model_parameter_taskC%d_task%d.mat' % (position, task)))
        np.testing.assert_array_equal(np.ravel([one for one in fields['DARTS_selection_param'].flat]),
                                      rows[position])
    # a known task searches nothing
    assert dump(parameter_of(folder / FINAL)['DARTS_selection_param']) == [NONE]


def test_a_returning_task_has_a_file_of_its_own(tmp_path):
    trial, folder = trained(experiment_of('ProgNN', (1, 0, 1)), tmp_path)
    assert sorted(os.listdir(str(folder))) == [FINAL] + ['model_parameter_taskC%d_task%d.mat' % pair
                                                        for pair in ((0, 1), (1, 0), (2, 1))]
    assert load(str(folder / FINAL)).about['tasks'] == [1, 0]
    # cells in the order of first appearance
    lateral = parameter_of(folder / FINAL)['conv_lateral_weights']
    assert dump(lateral[0, 0]) == [NONE] * 8
    np.testing.assert_array_equal(lateral[0, 1][0, 7], trial.store['conv1/task0/lateral1/expand'])


# ---- folders, resumed runs ----

def test_folder_names():
    def name(**more):
        return parameter_files.folder_name(SimpleNamespace(**dict(dict(
            data_type='CIFAR100_10', data_percent=4, model_type='HPS', test_type=10,
            highway_connect_test_type=None, skip_connect_test_type=0), **more)))
    assert name() == 'cifar100_10_4p_HPS_t10'
    assert name(data_type='OfficeHome', data_percent=None,
                model_type='hybrid_tf') == 'officehome_100p_hybrid_tf_t10'
    assert name(skip_connect_test_type=2) == 'cifar100_10_4p_HPS_t10_s2'
    assert name(highway_connect_test_type=1) == 'cifar100_10_4p_HPS_t10_h1'


def test_a_new_folder_has_a_name_of_its_own(tmp_path):
    assert [new_folder(str(tmp_path), 'x_t0') for _ in range(3)] == ['x_t0', 'x_t0a', 'x_t0aa']
    assert sorted(os.listdir(str(tmp_path / 'params'))) == ['x_t0', 'x_t0a', 'x_t0aa']
    (tmp_path / 'file').write_text(u'')
    with pytest.raises(UserError, match='params cannot be written'):
        new_folder(str(tmp_path / 'file'), 'x')


class Killed(Exception):
    """As if the process had been killed here."""


@pytest.fixture(scope='module')
def calm(tmp_path_factory):
    """Function model type -> (trial, its run folder) that nothing disturbed."""
    found = {}

    def get(model_type):
        if model_type not in found:
            found[model_type] = trained(experiment_of(model_type, depth=1), tmp_path_factory.mktemp('calm'))
        return found[model_type]
    return get


@pytest.mark.parametrize('model_type, moment', [
    ('LASEM_HPS', 'file'), ('LASEM_HPS', 'half'), ('LASEM_HPS', 'checkpoint'),
    ('BruteForce_HPS', 'checkpoint')])
def test_killed_around_the_file(model_type, moment, calm, tmp_path, monkeypatch):
    """Before the file is there, in the midst of writing it, and between the file and the checkpoint."""
    experiment, (trial, folder) = experiment_of(model_type, depth=1), calm(model_type)
    replace, save, kills = os.replace, checkpoint.save, []

    def kill(source, path):
        if path.endswith('.mat') and not kills:
            kills.append(path)
            if moment == 'half':
                with open(source, 'r+b') as stream:
                    stream.truncate(100)
            raise Killed()
        replace(source, path)

    def kill_at_checkpoint(path, meta, groups):
        if meta['position'] == 1 and not kills:
            kills.append(path)
            raise Killed()
        save(path, meta, groups)
    if moment == 'checkpoint':
        monkeypatch.setattr(checkpoint, 'save', kill_at_checkpoint)
    else:
        monkeypatch.setattr(os, 'replace', kill)
    options = dict(parameter_folder=str(tmp_path / 'params'))
    with pytest.raises(Killed):
        make_trial(experiment, tmp_path, **options).run()
    run_folder = tmp_path / 'params' / 'run0'
    assert os.listdir(str(run_folder)) == ['model_parameter_taskC0_task0.mat'
                                           + ('' if moment == 'checkpoint' else '.new')]
    again = make_trial(experiment, tmp_path, **options)
    again.run()
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob('*.mat'))
    assert kills and sorted(str(path.relative_to(run_folder)) for path in run_folder.rglob('*.*')) == names
    for name in names:
        same_store(load(str(run_folder / name)).store, load(str(folder / name)).store)
    same_store(again.store, trial.store)


@pytest.mark.parametrize('model_type', ['BruteForce_HPS', 'BruteForce_TF'])
def test_brute_force_leaves_every_pattern_it_tried(model_type, calm):
    trial, folder = calm(model_type)
    # the first task tries one
    assert [path.name for path in folder.glob('config_search*')] == ['config_search_t1']
    files = [load(str(folder / 'config_search_t1' / ('parameter_config%d.mat' % number)))
             for number in (0, 1)]
    assert [file.about['pattern'] for file in files] == ['S', 'T'] and not files[0].store.keys() == files[
        1].store.keys()
    winner = files['ST'.index(trial.method.pattern_of(1))]
    same_store(winner.store, load(str(folder / 'model_parameter_taskC1_task1.mat')).store)
    before = load(str(folder / 'model_parameter_taskC0_task0.mat')).store
    # the pattern T leaves it as it was
    for name in [name for name in before if name.startswith('conv0/shared/')]:
        assert (files[1].store[name] == before[name]).all() and (files[0].store[name] != before[name]).any()


# ---- files that are none ----

@pytest.fixture(scope='module')
def file_of_tf(tmp_path_factory):
    """(trial, path) of a parameter file of Hybrid_TF."""
    trial, folder = trained(experiment_of('Hybrid_TF', pattern='SS'), tmp_path_factory.mktemp('tf'))
    return trial, str(folder / FINAL)


def test_what_is_no_parameter_file(tmp_path, file_of_tf):
    with open(file_of_tf[1], 'rb') as stream:
        content = stream.read()
    net = make_experiment('STL').net
    for name, text, says in (('cut', content[:-2000], 'is damaged'),
                             ('text', b'no file of MATLAB', 'is not a MATLAB file'),
                             ('empty', b'', 'is not a MATLAB file')):
        (tmp_path / name).write_bytes(text)
        with pytest.raises(UserError, match=says):
            tensor_factors(str(tmp_path / name), net)
    with pytest.raises(UserError, match='cannot be read'):
        load(str(tmp_path / 'absent'))
    kernel = file_of_tf[0].store['conv1/shared/tf/core'].tobytes(order='F')[:16]
    assert content.count(kernel) == 1
    (tmp_path / 'changed').write_bytes(content.replace(kernel, bytes(bytearray(16))))
    with pytest.raises(UserError, match='damaged .*its values are not those that were written'):
        load(str(tmp_path / 'changed'))
    from classification.results.mat_file import append_entry
    append_entry(str(tmp_path / 'result.mat'), {'fingerprint': 'x', 'values': np.arange(3.)})
    with pytest.raises(UserError,
                       match='is not a parameter file that --saveparam wrote: it has no struct parameter'):
        load(str(tmp_path / 'result.mat'))


def test_tensor_factors_of_another_network_or_method(tmp_path, file_of_tf):
    path, net = file_of_tf[1], make_experiment('STL').net
    assert len(tensor_factors(path, net)) == 2 * (1 + 2 * 5)
    with pytest.raises(UserError,
                       match='conv1/shared/tf/core has the shape 3x3x3x4, this network has 1 layers'):
        tensor_factors(path, make_experiment('STL', depth=1).net)
    wider = net._replace(layers=(net.layers[0]._replace(out_channels=5), net.layers[1]))
    with pytest.raises(UserError,
                       match='conv0/shared/tf/core has the shape 3x3x1x3, this network needs 3x3x1x5'):
        tensor_factors(path, wider)
    written('Hybrid_HPS', ['TS'], tmp_path / 'hps.mat')
    with pytest.raises(UserError, match='no knowledge base of tensor factors: it is of Hybrid_HPS'):
        tensor_factors(str(tmp_path / 'hps.mat'), net)


# ---- --tensorfactor_param_path ----

@pytest.mark.filterwarnings('ignore:invalid value')       # no step, no posterior
@pytest.mark.parametrize('model_type', ['Hybrid_TF', 'LASEM_TF'])
def test_a_model_starts_from_a_file(model_type, file_of_tf, tmp_path, monkeypatch):
    source, path = file_of_tf
    given = tensor_factors(path, source.experiment.net)
    starts, init = [], TaskGraph.__init__

    def spy(self, *arguments):
        init(self, *arguments)
        starts.append(self.values())
    monkeypatch.setattr(TaskGraph, '__init__', spy)
    experiment = make_experiment(model_type, (1, 0, 2), 1, seed=9,
                                 **(dict(pattern='SS') if 'Hybrid' in model_type else {}))
    monkeypatch.setattr(PatternSearch, 'chosen_now', lambda self, session: 'ST')
    monkeypatch.setattr(TaskGraph, 'step', lambda self, *more, **options: 0.)
    trial = make_trial(experiment, tmp_path, given=given)
    trial.method.start_epoch = lambda graph, task: graph.set_values(
        {name: value + 1 for name, value in graph.values().items() if '/shared/' in name})
    record = trial.run()
    for task, values in zip((1, 0, 2), starts):
        own = [name for name in values if '/task%d/tf/' % task in name]
        assert len(own) == 10
        for name in own:      # the file knows tasks 0 and 1; task 2's factors are drawn
            assert (name in given) == (task < 2)
            assert task == 2 or (values[name] == given[name]).all()
    assert all((starts[0][name] == value).all() for name, value in given.items() if '/shared/' in name)
    # a layer that no task shares leaves nothing behind: the next starts from the file
    if 'Hybrid' not in model_type:
        assert (starts[1]['conv1/shared/tf/core'] == given['conv1/shared/tf/core']).all()
        assert not any(name.startswith(('conv1/shared', 'conv1/task0/tf')) for name in trial.store)
    # as task 1 left it
    assert (starts[1]['conv0/shared/tf/core'] == given['conv0/shared/tf/core'] + 1).all()
    assert record.num_parameters == sum(value.size for value in trial.store.values())


def test_the_checksum_is_of_the_values(file_of_tf):
    given = tensor_factors(file_of_tf[1], file_of_tf[0].experiment.net)
    same = {name: value.copy() for name, value in given.items()}
    assert parameter_files.checksum(same) == parameter_files.checksum(given)
    same['conv0/shared/tf/core'][0, 0, 0, 0] += 1e-6
    assert parameter_files.checksum(same) != parameter_files.checksum(given)
    assert path_of('p', 3, 1, 4) == os.path.join('p', 'run3', 'model_parameter_taskC1_task4.mat')


def test_files_of_a_shorter_experiment_are_taken_over_but_not_its_last_one(tmp_path):
    names = ['model_parameter_taskC0_task0.mat', 'config_search_t1/parameter_config0.mat']
    for name in names + [parameter_files.FINAL, 'half.mat.new']:
        path = tmp_path / 'shorter' / 'run3' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert parameter_files.take_over(str(tmp_path / 'shorter'), str(tmp_path / 'longer'), 3)
    assert not parameter_files.take_over(str(tmp_path / 'shorter'), str(tmp_path / 'longer'), 4)
    found = {str(path.relative_to(tmp_path / 'longer' / 'run3')): path.read_text()
             for path in (tmp_path / 'longer').glob('**/*') if path.is_file()}
    assert found == {name: name for name in names}
