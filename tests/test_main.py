"""The command line as a user sees it: options in, lines on the screen."""
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pytest

import main
from classification.results.mat_file import append_entry
from classification.runs.local_pool import visible_devices
from tests.support import data_files
from tests.support.commands import (
    DIGITS,
    SHORT,
    experiment_of,
    imports_nothing_of_tensorflow,
    is_refused,
    process,
    run,
)

# ---- answers at once ----

@pytest.mark.parametrize('options, status, says', [
    (['--help'], 0, '--checkpoint_minutes'), (['--list'], 0, 'LASEMG_DFCNN'),
    (['--nonsense'], 2, '--nonsense'),
    (['--seed', 'x'], 2, "'x'"), (['--lifelon'], 2, '--lifelon'), (['--lifelong', '--model_type', 'HSP'], 2,
                                                                   'HPS'),
])
def test_answers_within_a_second_without_tensorflow(options, status, says):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child, out, err = process([main.__file__] + options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # of its own: others may be busy
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert child.returncode == status and 0 < seconds < 1
    assert says in (err if status else out) and (not out if status else not err)
    assert err.count('\n') == (1 if status else 0) and 'Traceback' not in err
    imports_nothing_of_tensorflow(options)


@pytest.mark.parametrize('option', ['--list', '--help'])
def test_a_reader_that_leaves_early_is_no_error(option):
    child = subprocess.Popen([sys.executable, main.__file__, option], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    child.stdout.close()
    assert child.stderr.read() == b''
    child.wait()


def test_help_tells_every_option_and_its_default(capsys):
    assert run(['--help']) == 0
    shown = capsys.readouterr().out
    for group in main.parser()._action_groups:
        for action in group._group_actions:
            assert re.search(r'^ +(-h, )?%s\b' % action.option_strings[-1], shown,
                             re.MULTILINE) and action.help
            if action.nargs == 0 or group.title == 'accepted without effect':
                continue
            assert 'default' in action.help, action.dest
            if action.default is not None:
                text = action.default if isinstance(action.default, str) else '%g' % action.default
                by_table = 'default: the data set' in action.help      # the number -1 only means that
                assert by_table or '(default: %s)' % text in ' '.join(shown.split()), action.dest


def test_published_options_keep_their_defaults():
    flags = vars(main.parser().parse_args([]))
    published = dict(gpu=(-1,), data_type='MNIST5', model_type='STL', save_mat_name='delete_this.mat',
                     test_type=0, task_order_type=0, cnn_padtype_valid=False, lifelong=False, savegraph=False,
                     skip_connect_test_type=0, num_clayers=-1, reset_prior=False, em_fix_maxC='top1',
                     em_maxP=0.9,
                     em_cnt_prior=False, em_prior_init_cnt=1, darts_approx_order=1, saveparam=False,
                     data_augment=False,
                     tensorfactor_param_path=None, stl_analysis=False, stl_task_to_learn=-1,
                     stl_total_data_ratio=1,
                     mutual_info=False, mutual_info_alpha=1.01, mutual_info_kernel_h=1,
                     mutual_info_kernel_h_backward=1)
    new = dict(seed=0, num_runs=5, data_dir='Data', result_dir='Result', checkpoint_minutes=5,
               normalize='split')
    assert {name: flags[name] for name in list(published) + list(new)} == dict(published, **new)


def test_a_missing_library_gets_one_line(tmp_path):
    """Not a traceback."""
    (tmp_path / 'sitecustomize.py').write_text(
        u'import sys\n'
        u'class Hide(object):\n'
        u'    def find_spec(self, name, path=None, target=None):\n'
        u'        if name == "psutil":\n'
        u'            raise ModuleNotFoundError("No module named " + name, name=name)\n'
        u'sys.meta_path.insert(0, Hide())\n')
    child = subprocess.Popen([sys.executable, main.__file__, '--data_type', 'DIGITS5'],
                             stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(tmp_path)))
    out, err = [text.decode('utf-8') for text in child.communicate()]
    assert (child.returncode, out) == (2, '')
    assert err == ('error: psutil is not installed for this Python; '
                   'run: python3 -m pip install -r requirements.txt\n')


# ---- mistakes ----

MISTAKES = [      # options, split at each space, and a part of the line
    ('--data_type CIFAR100',
     'CIFAR100 is not known (did you mean CIFAR100_10?); choose one of: CIFAR100_10, CIFAR100_20'),
    ('--data_type DIGITS6', 'did you mean DIGITS5?'),
    ('--model_type LASEM_HP', 'LASEM_HP is not known (did you mean LASEM_HPS?); choose one of: '),
    ('--model_type DFCNN_tc2', 'Hybrid_DFCNN'),
    ('--data_type CIFAR100_10 --data_percent 5',
     '--data_percent 5: CIFAR100_10 has no such row; choose one of 2, 4, 6'),
    ('--data_type MNIST5 --data_percent 4', 'choose one of 1, 3, 5, 7, 9, 10, 30, 50, 70, 90, 100'),
    ('--test_type 45', '--test_type 45 has no transfer configuration for 4 layers; choose 0 to 44'),
    ('--test_type -1', 'choose 0 to 44'), ('--model_type LASEM_HPS --test_type -1', '--test_type -1'),
    ('--num_clayers 5', '--num_clayers 5 is not defined for DIGITS5; choose one of: 4'),
    ('--data_type OfficeHome --num_clayers 17', 'OfficeHome; choose one of: 4, 6, 8'),
    ('--transfer_config most',
     '--transfer_config most is not known for 4 layers; choose all, none, top1..top3'),
    ('--transfer_config TTSSS', '4 letters'),
    ('--model_type LASEM_HPS --transfer_config all', 'LASEM_HPS, which searches for it'),
    ('--model_type STL --transfer_config all', 'STL, which shares no layers'),
    ('--model_type DARTS_APD --apd_mode paper',
     '--apd_mode paper is not defined for DARTS_APD, which searches'),
    ('--channel_gate_mode papers', 'papers'),
    ('--skip_connect_test_type 4',
     '--skip_connect_test_type 4 is not defined for this network; choose one of: 0'),
    ('--data_type CIFAR100_10 --skip_connect_test_type 4', 'choose one of: 0, 1, 2, 3'),
    ('--cnn_padtype_valid', 'layer 2 shrinks images of 8x8 to nothing'),
    ('--data_type CIFAR100_10',
     'CIFAR-100: Data/cifar-100-python/train is missing; get cifar-100-python.tar.gz from https'),
    ('--data_type STL10_20t --data_dir elsewhere', 'elsewhere/stl10_binary/train_X.bin is missing'),
    ('--task_order_type 3', '--task_order_type 3 is not known; choose 0'),
    ('--num_tasks 6', '--num_tasks 6: DIGITS5 has 1 to 5 tasks'), ('--num_tasks 0', 'has 1 to 5 tasks'),
    ('--epochs_per_task 0', '--epochs_per_task 0: at least 1'),
            ('--epochs_per_task 2.5', 'invalid int value'),
    ('--num_runs 0', '--num_runs 0: at least 1'), ('--eval_interval 0', '--eval_interval 0: at least 1'),
    ('--early_stopping 0', '--early_stopping 0: at least 1'),
    ('--seed -1', '--seed -1: at least 0'), ('--seed 9223372036854775808', 'at most 2^63 - 1'),
    ('--checkpoint_minutes nan', '--checkpoint_minutes nan'), ('--checkpoint_minutes -1', 'at least 0'),
    ('--threads 0', '--threads 0: at least 1'),
            ('--gpu -2', '--gpu -2: -1 (the CPU) or different numbers from 0 on'),
    ('--gpu 0,-1', '--gpu 0,-1: -1 (the CPU) or'), ('--gpu 1,1', '--gpu 1,1: -1 (the CPU) or'),
    ('--gpu 0,1', '--gpu 0,1: a trial uses one GPU; for 2 trials side by side add --jobs 2'),
            ('--gpu 0,', 'invalid list of GPUs'),
    ('--jobs 0', '--jobs 0: at least 1'), ('--gpu_memory_fraction 1.5',
                                           '--gpu_memory_fraction 1.5: a share above 0'),
    ('--save_mat_name folder/x.mat', '--save_mat_name folder/x.mat: a plain file name'),
    ('--save_mat_name params --data_type STL10_15t', 'not "params"'),
    ('--save_mat_name params.mat', 'not "params"'), ('--save_mat_name temp_x.mat',
                                                     'not starting with "temp_"'),
    ('--save_mat_name ', 'a plain file name'), ('--save_mat_name .mat', 'a plain file name'),
    ('--save_mat_name ..', 'a plain file name'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type LASEM_HPS',
     'LASEM_HPS would search 131072 patterns of 17 layers; at most 512 are possible: use LASEMG'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type BruteForce_TF', 'at most 512'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type LASEMG_HPS --test_type 25', 'choose 0 to 24'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type DFCNN',
     'Hybrid_DFCNN is not defined for 17 layers'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type DARTS_DFCNN', 'not defined for 17 layers'),
    ('--model_type LASEMG_HPS --layer_groups 2,1',
     '--layer_groups 2,1: sizes of groups are needed that add up to 4'),
    ('--model_type LASEMG_HPS --layer_groups 4,0', '4,0: sizes'),
    ('--model_type LASEMG_HPS --layer_groups \xb2,2', 'sizes of groups'),
    ('--model_type LASEM_fixed_TF --em_maxP 2', '--em_maxP 2: a probability between 0 and 1'),
    ('--model_type LASEM_fixed_TF --em_maxP nan', '--em_maxP nan'),
    ('--model_type LASEM_fixed_TF --em_fix_maxC top4', '--em_fix_maxC top4 is not known for 4 layers'),
    ('--model_type LASEM_TF --em_cnt_prior --em_prior_init_cnt inf', '--em_prior_init_cnt inf'),
    ('--model_type LASEM_TF --em_prior_init_cnt -1', '--em_prior_init_cnt -1'),
    ('--model_type DARTS_HPS --darts_approx_order 3', '--darts_approx_order'),
    ('--model_type STL --stl_analysis',
     '--stl_task_to_learn -1: --stl_analysis needs the number of a task, 0 to 4'),
    ('--model_type STL --stl_analysis --stl_task_to_learn 3 --num_tasks 3', 'the number of a task, 0 to 2'),
    ('--stl_analysis --stl_task_to_learn 1', 'which is --model_type STL; Hybrid_HPS was asked for'),
    ('--model_type STL --stl_task_to_learn 1',
     '--stl_task_to_learn is a setting of --stl_analysis; add --stl_analysis'),
    ('--stl_total_data_ratio 0.5', '--stl_total_data_ratio is a setting of --stl_analysis'),
    ('--model_type STL --stl_analysis --stl_task_to_learn 1 --stl_total_data_ratio nan', 'between 0 and 1'),
    ('--model_type STL --stl_analysis --stl_task_to_learn 1 --early_stopping 3', 'leave it away'),
    ('--mutual_info_kernel_h 2', '--mutual_info_kernel_h is a setting of --mutual_info'),
    ('--mutual_info --mutual_info_alpha 0', '--mutual_info_alpha 0: a number greater than 0'),
    ('--mutual_info --mutual_info_kernel_h_backward nan', '--mutual_info_kernel_h_backward nan'),
    ('--tensorfactor_param_path x.mat', 'Hybrid_HPS has no tensor factors; use a model ending in TF'),
    ('--model_type LASEM_TF --tensorfactor_param_path x.mat',
     'x.mat: there is no such file, neither below Result'),
    ('--model_type TF --tensorfactor_param_path .', 'a folder is none'),
    ('--model_type DEN --task_order_type 1', 'DEN learns each task once; use --task_order_type 0'),
    ('--model_type DEN --early_stopping 5',
     'DEN hands on the last epoch of each task; leave --early_stopping away'),
    ('--model_type DEN --data_type CIFAR100_10 --num_clayers 17', 'DEN has no skip connections'),
    ('--model_type DEN --data_type CIFAR100_10 --skip_connect_test_type 1', 'DEN has no skip connections'),
    ('--model_type DEN --transfer_config top1', 'DEN, which shares all layers'),
]


@pytest.mark.parametrize('options, says', MISTAKES)
def test_a_mistake_gets_one_line(options, says, folder):
    is_refused(DIGITS + options.split(' '), says)
    assert os.listdir(str(folder)) == []


def test_lifelong_must_be_said(folder):
    for model_type in ('LASEM_HPS', 'DEN', 'EWC', 'ChannelGate'):
        is_refused([option for option in DIGITS if option != '--lifelong']
                   + ['--model_type', model_type, '--test_type', '0'],
                   '%s learns one task after the other; add --lifelong' % model_type)
    for options in (['--leep'], ['--without_task_identity'],
                    ['--model_type', 'STL', '--stl_analysis', '--stl_task_to_learn', '1']):
        is_refused([word for word in DIGITS if word != '--lifelong'] + options,
                   'one after the other; add --lifelong')
    for option in ('--task_order_type 1', '--early_stopping 3', '--eval_interval 2'):
        is_refused([word for word in DIGITS if word != '--lifelong'] + option.split(), option.split()[0]
                   + ' has no meaning where')
    assert os.listdir(str(folder)) == []


def test_one_output_layer_needs_equal_numbers_of_classes(folder, tmp_path_factory):
    data = tmp_path_factory.mktemp('data')
    data_files.officehome(data, domains=('Product',))
    is_refused(['--data_type', 'OfficeHome_Incremental', '--model_type', 'SNN', '--lifelong', '--data_dir',
                str(data)],
               'SNN has one output layer for all tasks, but their numbers of classes differ: '
               '3, 4, 5, 6, 7, 8')
    assert os.listdir(str(folder)) == [] and os.listdir(str(data)) == ['OfficeHomeDataset_10072016']


def test_too_few_images_for_a_batch(folder, tmp_path_factory):
    data = tmp_path_factory.mktemp('data')
    per_class = np.full(65, 4)
    per_class[13] = 10
    data_files.officehome(data, domains=('Product',), per_class=per_class)
    is_refused(['--data_type', 'OfficeHome_Incremental', '--model_type', 'STL', '--lifelong', '--data_dir',
                str(data)],
               'task 0 has 10 training images, fewer than one batch of 16\n')


@pytest.mark.parametrize('content, says', [
    (b'nothing of MATLAB', 'is not a MATLAB file'), (b'', 'is not a MATLAB file'), (None, 'is damaged')])
def test_a_broken_result_file_is_refused_and_kept(content, says, folder):
    path = folder / 'digits.mat'
    if content is None:
        append_entry(str(path), {'fingerprint': 'x' * 64, 'values': np.arange(1000.)})
        content = path.read_bytes()[:3000]
    path.write_bytes(content)
    files = os.listdir(str(folder))
    is_refused(SHORT + ['--result_dir', '.'], 'digits.mat ' + says)
    assert os.listdir(str(folder)) == files and path.read_bytes() == content


def test_a_result_folder_that_is_a_file(folder):
    (folder / 'Result').write_text(u'a file')
    is_refused(SHORT, '--result_dir Result cannot be written')
    assert os.listdir(str(folder)) == ['Result'] and (folder / 'Result').read_text() == 'a file'


def test_options_without_effect_say_so(capsys, folder):
    options = '--dry_run --highway_connect_test_type 1 --phase1_max_epoch 3 --num_classes 2 --data_percent 4'
    assert run(DIGITS + options.split()) == 0
    assert capsys.readouterr().out.split('\n')[:4] == [
        '--highway_connect_test_type has no effect', '--phase1_max_epoch has no effect',
        '--num_classes has no effect', '--data_percent is ignored: DIGITS5 has no size table']


@pytest.mark.parametrize('gpu, inherited, expected', [
    (-1, None, '-1'), (-1, '0,1', '-1'), (0, None, '0'), (3, None, '3'), (0, '2,5', '2'),
    (1, '2, 5', '5'), (1, 'GPU-a,GPU-b', 'GPU-b'), (0, '', '-1'), (2, '-1', '-1'), (0, '4,-1,5', '4')])
def test_gpu_counts_the_visible_devices(gpu, inherited, expected):
    assert visible_devices(gpu, inherited) == expected


def test_gpu_that_is_not_visible(folder, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,4')
    is_refused(SHORT + ['--gpu', '2'],
               '--gpu 2: only 2 devices visible (CUDA_VISIBLE_DEVICES=3,4); 0 is the first')
    assert os.listdir(str(folder)) == []


# ---- --dry_run ----

def test_dry_run(capsys, folder):
    assert run(DIGITS + ['--dry_run']) == 0
    fingerprint = experiment_of().fingerprint()[:8]
    shown, end = capsys.readouterr().out.rsplit('result file: ', 1)
    assert re.match(r'this entry takes about \d+ kB\n$', end)        # test_sizes.py says how many
    assert shown == """\
Hybrid_HPS on DIGITS5, fingerprint %s
  task  classes  training  validation  test
  0     2        218       35          107
  1     2        218       35          107
  2     2        219       36          108
  3     2        218       35          107
  4     2        213       35          106
order of tasks: 0 1 2 3 4
  layer  kernel  channels  pool  output  shared
  0      3x3     1 -> 16   1     8x8     no
  1      3x3     16 -> 16  2     4x4     no
  2      3x3     16 -> 32  1     4x4     yes
  3      3x3     32 -> 32  2     2x2     yes
head: 128 -> 32 -> classes; padding SAME; skip connections: none
parameters: 47,258
50 epochs per task, batch 10, learning rate 0.001 / (1 + 0.004 * epoch), 5 trials, seed 0
task-incremental: the task of a test image is known
data: DIGITS from scikit-learn (bundled)
composition of tasks: fixed, the same in all trials and for all seeds
""" % fingerprint
    assert os.listdir(str(folder)) == []


def test_dry_run_of_the_first_sample(capsys, folder):
    data_files.cifar100('Data')
    assert run(
        ('--gpu 0 --data_type CIFAR100_10 --data_percent 4 --num_clayers 4 --model_type HPS --test_type 10 '
         '--lifelong --save_mat_name cifar100_hpsTop2.mat --dry_run').split()) == 0
    lines = capsys.readouterr().out.split('\n')
    assert lines[0].startswith('Hybrid_HPS on CIFAR100_10 at 4 %, fingerprint ')
    assert [line.split() for line in lines[2:12]] == [[str(task), '10', '170', '30', '40']
                                                      for task in range(10)]
    assert [line.split()[-1] for line in lines[14:18]] == ['no', 'no', 'yes', 'yes']
    assert lines[19] == 'parameters: 2,785,444'
    assert lines[20] == ('2000 epochs per task, batch 10, learning rate 0.0001 / (1 + 0.00025 * epoch), '
                         '5 trials, seed 0')
    assert os.listdir(str(folder)) == ['Data']


def test_dry_run_of_a_network_that_grows(capsys, folder):
    assert run(DIGITS + '--model_type DEN --num_tasks 3 --dry_run'.split()) == 0
    lines = capsys.readouterr().out.rstrip().split('\n')
    convolutions = 9 * (16 + 16 * 16 + 16 * 32 + 32 * 32) + 16 + 16 + 32 + 32
    assert 'parameters: {:,} before units are added'.format(convolutions + 128 * 32 + 32 + 3
                                                            * (32 * 2 + 2)) in lines
    assert {'den_expansion: 16', 'den_drift_threshold: (0.05, 0.05)', 'l2_lambda: 0.0001',
            'den_split_cap: 16'} <= set(lines)


def test_dry_run_of_a_search(capsys, folder):
    assert run(DIGITS + '--model_type LASEMG_HPS --layer_groups 2,2 --num_tasks 2 --dry_run'.split()) == 0
    lines = capsys.readouterr().out.rstrip().split('\n')
    assert 'parameters: 24,756 if every layer is shared, 41,124 if none is' in lines
    assert [line.split()[-1] for line in lines if 'x3  ' in line] == 4 * ['searched']
    assert lines[-4:] == ['em_cnt_prior: False', 'em_prior_init_cnt: 1.0', 'groups: (2, 2)',
                          'reset_prior: False']
