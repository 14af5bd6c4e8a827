"""What an experiment is: what changes its numbers changes its fingerprint."""
import json
import os
import shutil

import pytest

from classification.experiment.experiment import Experiment, numeric_versions
from classification.experiment.mat_info import info
from classification.experiment.task_orders import by_type
from classification.model.registry import MODELS
from tests.support import data_files
from tests.support.commands import DIGITS, experiment_of, run


@pytest.mark.parametrize('options', [
    '--seed 1', '--epochs_per_task 49', '--num_tasks 4', '--task_order_type 1', '--transfer_config top3',
    '--model_type TF', '--model_type STL', '--early_stopping 5', '--data_augment', '--leep', '--saveparam',
    '--mutual_info'])
def test_what_changes_the_numbers_changes_the_fingerprint(options):
    assert experiment_of(*options.split()).fingerprint() != experiment_of().fingerprint()


@pytest.mark.parametrize('options', [
    '--num_runs 3', '--threads 2', '--gpu 0', '--jobs 3', '--gpu 0,1 --jobs 2', '--gpu_memory_fraction 0.4',
    '--data_dir elsewhere', '--result_dir elsewhere', '--save_mat_name x.mat',
    '--checkpoint_minutes 0', '--quiet', '--restart', '--savegraph', '--tensorboard', '--epochs_per_task 50',
    '--num_tasks 5',
    '--test_type 14', '--transfer_config top2', '--transfer_config ttss', '--model_type hybrid_hps',
    '--num_clayers 4',
    '--data_type digits5', '--phase1_max_epoch 7', '--em_maxP 0.5', '--darts_approx_order 2',
    '--normalize train'])
def test_what_changes_no_number_does_not_change_the_fingerprint(options):
    assert experiment_of(*options.split()) == experiment_of()


def analysed(*options):
    return experiment_of('--model_type', 'STL', '--stl_analysis', '--stl_task_to_learn', '2', *options)


def test_the_stl_analysis_is_an_experiment_of_one_task():
    experiment = analysed()
    assert experiment.task_order == (2,) and len(experiment.class_counts) == 5
    assert ((experiment.early_stopping, experiment.training.epochs) == (50, 5 * 50)
            and experiment.training.patience == 50)
    fields = info(experiment)
    assert [(name, fields[name]) for name in fields if 'STL' in name] == [
        ('STL_analysis', True), ('STL_analysis_task', 2), ('STL_analysis_ratio', 1.),
        ('STL_analysis_comparable_epoch', 101)]
    assert fields['early_stopping_para'] == [50., 1.5]
    others = [analysed('--stl_total_data_ratio', '0.5'), analysed('--stl_task_to_learn', '1'),
              experiment_of('--model_type', 'STL')]
    assert len({one.fingerprint() for one in [experiment] + others}) == 4
    assert analysed('--stl_total_data_ratio', '1.5') == experiment and analysed('--stl_total_data_ratio',
                                                                                '-1').analyses[
        'stl_analysis']['ratio'] == 0
    assert (analysed('--epochs_per_task', '3').training.epochs,
            analysed('--epochs_per_task', '3').early_stopping) == (15, 3)


def test_settings_of_mutual_information_are_part_of_the_result():
    default, other = [experiment_of('--mutual_info', *more) for more in ((), ('--mutual_info_kernel_h', '2'))]
    assert default.fingerprint() != other.fingerprint() and info(other)['mutual_info_kernel_h'] == 2
    assert Experiment.from_json(other.to_json()) == other
    assert experiment_of().differences(json.loads(other.to_json())).startswith(
        'analyses.mutual_info.alpha 1.01 instead of null')


def test_a_dry_run_tells_the_analyses(capsys, folder):
    options = ('--model_type STL --stl_analysis --stl_task_to_learn 1 --stl_total_data_ratio 0.9 '
               '--data_augment --dry_run')
    assert run(DIGITS + options.split()) == 0
    assert capsys.readouterr().out.rstrip().split('\n')[-2:] == [
        'data_augment: True',
        'STL analysis of task 1: 392 training images, patience 50 epochs, at most 250 epochs']
    assert os.listdir(str(folder)) == []


def test_normalisation_changes_the_fingerprint_where_images_are_standardised(tmp_path):
    data_files.cifar100(tmp_path)
    options = ['--data_type', 'CIFAR100_10', '--data_percent', '4', '--data_dir', str(tmp_path),
               '--normalize']
    split, train = [experiment_of(*options + [how]) for how in ('split', 'train')]
    assert (split.normalize, train.normalize) == ('split',
                                                  'train') and split.fingerprint() != train.fingerprint()


def test_fingerprint_depends_on_the_data_and_not_on_their_place(tmp_path):
    data_files.mnist(tmp_path / 'a', per_class_train=24)
    data_files.mnist(tmp_path / 'b', per_class_train=24, seed=1)
    shutil.copytree(str(tmp_path / 'a'), str(tmp_path / 'c'))
    options = ['--data_type', 'MNIST5', '--test_type', '0', '--data_percent']
    a, b, c, more = [experiment_of(*options + [percent, '--data_dir', str(tmp_path / place)]).fingerprint()
                     for place, percent in (('a', '1'), ('b', '1'), ('c', '1'), ('a', '3'))]
    assert a == c and len({a, b, more}) == 3


@pytest.mark.parametrize('model_type', sorted(MODELS))
def test_an_experiment_survives_json(model_type):
    order = '1' if MODELS[model_type].method.revisits else '0'
    experiment = experiment_of('--model_type', model_type, '--test_type', '1', '--task_order_type', order)
    again = Experiment.from_json(json.dumps(json.loads(experiment.to_json()), indent=1))
    assert again == experiment and again.fingerprint() == experiment.fingerprint()
    assert json.loads(experiment.to_json())['training']['lr'] == 1e-3


@pytest.mark.parametrize('model_type, published, paper', [
    ('ChannelGate', ['sparsity_loss_weight', 'gating_module_size', 'gating_temperature'],
     ['channel_gate_bias', 'channel_gate_hidden', 'channel_gate_mode', 'channel_gate_relevance',
      'channel_gate_sparsity', 'channel_gate_sparsity_start', 'channel_gate_temperature']),
    ('APD', ['lambda1', 'lambda2', 'conv_sharing'],
     ['lambda1', 'lambda2', 'apd_consolidate_every', 'apd_consolidate_spread', 'apd_mode', 'apd_tau_start',
      'apd_train_past_masks', 'conv_sharing'])])
def test_fields_of_both_modes(model_type, published, paper):
    options = ['--model_type', model_type, '--test_type', '0']
    default, asked, other = [experiment_of(*(options + more)) for more in (
        [], ['--apd_mode', 'published_code', '--channel_gate_mode', 'published_code'],
        ['--apd_mode', 'paper', '--channel_gate_mode', 'paper'])]
    assert default == asked and default.fingerprint() != other.fingerprint()
    assert not default.numeric_versions and set(other.numeric_versions) <= {'apd paper', 'channel_gate paper'}
    for experiment, fields in ((default, published), (other, paper)):
        assert sorted(list(info(experiment))[17:]) == sorted(fields)
        assert Experiment.from_json(experiment.to_json()) == experiment


def test_differences_name_the_settings():
    other = json.loads(experiment_of('--seed', '1', '--epochs_per_task', '3', '--transfer_config',
                                     'all').to_json())
    assert experiment_of().differences(other) == (
        'pattern "SSSS" instead of "TTSS", seed 1 instead of 0, training.epochs 3 instead of 50, '
        'training.patience 3 instead of 50')


@pytest.mark.parametrize('tasks, kind, order', [
    (5, 0, [0, 1, 2, 3, 4]), (5, 1, [0, 1, 0, 1, 2, 3, 4]), (3, 2, [0, 1, 2, 0, 1, 2]), (1, 1, [0]),
    (10, 1, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), (10, 2, 2 * list(range(10)))])
def test_order_of_tasks(tasks, kind, order):
    assert list(by_type(tasks, kind)) == order


def test_a_numeric_version_belongs_to_one_method():
    of_model = {name: numeric_versions(model, {}) for name, model in MODELS.items()}
    assert {name for name, versions in of_model.items() if 'den' in versions} == {'DEN'}
    experiment = experiment_of('--model_type', 'DEN')
    assert experiment.numeric_versions == {'den': 2}
    assert experiment._replace(numeric_versions={}).fingerprint() != experiment.fingerprint()
