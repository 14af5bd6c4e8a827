"""A GPU that computes wrongly trains nothing. There is none here: what it would say and compute is made
up."""
import io
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import main
from classification.experiment.resolve import resolve
from classification.runs import trial_process
from tests.support import command_line
from utils import gpu, runtime
from utils.utils import UserError

V100 = 'device: 0, name: Tesla V100-SXM2-16GB, pci bus id: 0000:00:1e.0, compute capability: 7.0'
KNOWN = {'name': 'Tesla V100-SXM2-16GB', 'compute_capability': '7.0'}


@pytest.fixture(autouse=True)
def driver(monkeypatch, tmp_path):
    path = tmp_path / 'version'
    path.write_text(
        'NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\nGCC '
        'version: 9\n')
    monkeypatch.setattr(gpu, 'DRIVER', str(path))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What a test leaves in it would make later ones on the CPU compute otherwise."""
    for name in gpu.EXACT:
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)


@pytest.fixture
def computes(monkeypatch):
    """Function that makes the GPU compute what a function makes of the CPU's result."""
    def use(change):
        on_device = gpu.convolution
        monkeypatch.setattr(gpu, 'convolution', lambda device, config: change(on_device('/cpu:0', config))
                            if device == '/gpu:0' else on_device(device, config))
    return use


def test_what_is_known_of_a_gpu():
    known = gpu.facts(V100)
    assert {name: known[name] for name in KNOWN} == KNOWN and known['driver'] == '470.57.02'
    assert {name: known[name] for name in ('cuda', 'cudnn') if name in known} == dict(runtime.cuda_versions())
    if tf.VERSION.startswith('1.14'):
        assert (known['cuda'], known['cudnn']) == ('10.0', '7')


def test_nothing_is_made_up_about_an_unknown_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, 'DRIVER', str(tmp_path / 'none'))
    assert gpu.facts('something else') == runtime.cuda_versions()


def test_the_convolution_that_is_compared_is_one():
    """By loops over NumPy arrays; its gradients by their definition, as sums over all places."""
    values = gpu.convolution('/cpu:0', runtime.session_config(1))
    state = gpu.random_state(0, purpose='GPU check')
    images, kernel, weights = [state.normal(size=shape).astype(np.float32) for shape in
                               ((8, 32, 32, 16), (3, 3, 16, 32), (8, 32, 32, 32))]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), 'constant')
    output, of_images, of_kernel = np.zeros(weights.shape), np.zeros(padded.shape), np.zeros(kernel.shape)
    for row in range(3):
        for column in range(3):
            part = np.s_[:, row:row + 32, column:column + 32]
            output += padded[part].dot(kernel[row, column])
            of_images[part] += weights.dot(kernel[row, column].T)
            of_kernel[row, column] = np.einsum('nhwc,nhwd->cd', padded[part], weights)
    for name, expected in (('a convolution', output), ('the gradient of its images',
                                                       of_images[:, 1:-1, 1:-1]),
                           ('the gradient of its kernel', of_kernel)):
        np.testing.assert_allclose(values[name], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max(),
                                   err_msg=name)


def test_a_gpu_that_rounds_otherwise_is_used(computes):
    computes(lambda values: {name: value * np.float32(1 + 1e-3) for name, value in values.items()})
    gpu.check(runtime.session_config(1, True), KNOWN)


@pytest.mark.parametrize('name', ['a convolution', 'the gradient of its images',
                                  'the gradient of its kernel'])
@pytest.mark.parametrize('change', [lambda value: 0 * value, lambda value: value + np.float32(np.nan),
                                    lambda value: np.where(np.arange(value.shape[-1]) == 3, 0, value)])
def test_a_gpu_that_computes_wrongly_is_refused(name, change, computes):
    computes(lambda values: dict(values, **{name: change(values[name])}))
    with pytest.raises(UserError) as caught:
        gpu.check(runtime.session_config(1, True), KNOWN)
    text = str(caught.value)
    assert 'Tesla V100-SXM2-16GB (compute capability 7.0) computes %s wrongly' % name in text
    assert 'TensorFlow %s' % tf.VERSION in text and '--gpu -1' in text and '\n' not in text


def test_a_gpu_that_is_not_there_is_not_taken_for_one_that_works():
    """Nor is its work silently done by the CPU."""
    with pytest.raises(UserError) as caught:
        gpu.check(runtime.session_config(1, True), KNOWN)
    assert 'fails to compute a convolution' in str(caught.value) and '\n' not in str(caught.value)


def test_a_trial_on_such_a_gpu_ends_before_it_trains(computes, monkeypatch, tmp_path, capsys):
    computes(lambda values: {name: 0 * value for name, value in values.items()})
    asked = []
    monkeypatch.setattr(runtime, 'usable_gpus', lambda config: asked.append(config) or [V100])
    options = ['--data_type', 'DIGITS5', '--model_type', 'STL', '--lifelong', '--gpu', '0']
    command_line.change(monkeypatch.setitem)
    experiment = resolve(main.parser().parse_args(options), pytest.fail)
    settings = dict(data_dir='', gpu=[0], gpu_memory_fraction=0.25, threads=1, checkpoint_minutes=0,
                    graph_folder=None, parameter_folder=None, tensorfactor_file=None, tensorboard=False)
    (tmp_path / 'trial0').mkdir()
    with io.open(str(tmp_path / trial_process.CONFIG), 'w') as stream:
        stream.write(json.dumps({'experiment': json.loads(experiment.to_json()), 'settings': settings}))
    assert trial_process.run_trial_process(str(tmp_path), 0, stop=lambda: False) == 2
    assert asked[0].gpu_options.allow_growth and asked[0].gpu_options.per_process_gpu_memory_fraction == 0.25
    assert 'GPU' not in asked[0].device_count
    device, error = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert device['device']['compute_capability'] == '7.0' and device['device']['driver'] == '470.57.02'
    assert error['error'].startswith(
        'the GPU Tesla V100-SXM2-16GB') and 'computes a convolution wrongly' in error['error']
    assert sorted(path.name for path in (tmp_path / 'trial0').iterdir()
                  if not path.name.startswith('.')) == ['state.json']


# ---- finding it ----

def test_the_first_contact_takes_memory_as_the_session_will(monkeypatch):
    """The first call that opens a GPU decides for the whole process;
    without a config it would take all memory."""
    from tensorflow.python.client import device_lib
    asked = []
    monkeypatch.setattr(device_lib, 'list_local_devices', lambda config=None: asked.append(config) or [])
    gpu.find(runtime.session_config(1, True, 0.25))
    assert asked[0].gpu_options.allow_growth and asked[0].gpu_options.per_process_gpu_memory_fraction == 0.25


def test_a_gpu_computes_in_full_precision_and_the_same_each_time(monkeypatch):
    seen = {}
    monkeypatch.setenv('TF_CUDNN_DETERMINISTIC', 'mine')

    def cards(config):
        seen.update((name, os.environ.get(name)) for name in gpu.EXACT)
        return [V100]
    monkeypatch.setattr(runtime, 'usable_gpus', cards)
    assert gpu.find(runtime.session_config(1, True))['name'] == KNOWN['name']
    assert seen == {'NVIDIA_TF32_OVERRIDE': '0', 'TF_DETERMINISTIC_OPS': '1',
                    'TF_CUDNN_DETERMINISTIC': 'mine'}
    assert {name: os.environ[name] for name in gpu.EXACT} == seen


def test_without_a_gpu_the_cpu_computes_as_ever(monkeypatch):
    monkeypatch.setenv('TF_CUDNN_DETERMINISTIC', 'mine')
    assert gpu.find(runtime.session_config(1, True)) is None
    assert {name: os.environ.get(name) for name in gpu.EXACT} == {
        'NVIDIA_TF32_OVERRIDE': None, 'TF_DETERMINISTIC_OPS': None, 'TF_CUDNN_DETERMINISTIC': 'mine'}


def test_a_gpu_that_cannot_be_opened_is_one_line(monkeypatch):
    def full(config):
        raise RuntimeError('cudaSetDevice() on GPU:0 failed. Status: out of memory\nmore')
    monkeypatch.setattr(runtime, 'usable_gpus', full)
    with pytest.raises(UserError) as caught:
        gpu.find(runtime.session_config(1, True))
    assert 'out of memory; nvidia-smi' in str(caught.value) and '\n' not in str(caught.value)
