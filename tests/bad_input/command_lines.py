"""Wrong command lines, beside those in tests/test_main.py: DIGITS5, HPS, --lifelong unless they say
otherwise."""
from tests.bad_input.trial import Entry

DIGITS = ['--data_type', 'DIGITS5', '--model_type', 'HPS', '--lifelong']
LONG = 'x' * 300

WRONG = [      # options, words of the line
    # names: unknown, nearly right, empty, of a substring that the authors' release took
    (['--data_type', ''], ['--data_type', 'choose one of']),
    (['--data_type', ' DIGITS5'], ['did you mean DIGITS5?']),
    (['--data_type', 'mnist'], ['did you mean MNIST10?', 'MNIST5']),
    (['--data_type', 'officehome_product'], ['--data_type officehome_product', 'OfficeHome']),
    (['--data_type', 'CIFAR100_100'], ['--data_type CIFAR100_100', 'CIFAR100_10']),
    (['--data_type', 'DIGITS5\nrm'], [r'--data_type DIGITS5\nrm']),
    (['--data_type', '\x1b[31mDIGITS5'], [r'--data_type \x1b[31mDIGITS5']),
    (['--data_type', u'D\u0130GITS5'], ['--data_type D\u0130GITS5']),
    (['--data_type', LONG], ['--data_type xxx']),
    (['--data_type'], ['--data_type', 'expected one argument']),
    (['--model_type', ''], ['--model_type', 'choose one of']),
    (['--model_type', 'LASEM'], ['--model_type LASEM', 'LASEM_HPS']),
    (['--model_type', 'LASEMG-HPS'], ['did you mean LASEMG_HPS?']),
    (['--model_type', 'STL '], ['--model_type STL ', 'did you mean STL?']),
    (['--model_type', 'DFCNN_direct'], ['--model_type DFCNN_direct']),
    (['--model_type', 'STL_FFNN'], ['--model_type STL_FFNN']),
    (['--model_type', 'HPS', 'TF'], ['unrecognized arguments: TF']),
    (['--modeltype', 'HPS'], ['unrecognized arguments: --modeltype HPS']),
    (['--model_type=HPS=TF'], ['--model_type HPS=TF']),
    (['-model_type', 'HPS'], ['unrecognized arguments: -model_type HPS']),
    (['--Lifelong'], ['unrecognized arguments: --Lifelong']),
    (['--lifelong', 'True'], ['unrecognized arguments: True']),
    (['--lifelong=yes'], ['--lifelong', 'ignored explicit argument']),
    (['--no_such\nflag'], [r'unrecognized arguments: --no_such\nflag']),
    (['--epoch', '3'], ['unrecognized arguments: --epoch 3']),
    (['digits.mat'], ['unrecognized arguments: digits.mat']),
    (['--run_trial'], ['unrecognized arguments: --run_trial']),
    (['--normalize', 'Split'], ['--normalize', "'Split'"]),
    (['--apd_mode', 'publishd_code'], ['--apd_mode', 'published_code']),
    (['--darts_selection_data', 'test'], ['--darts_selection_data', 'train']),
    # numbers: negative, huge, no whole numbers, not finite, empty
    (['--seed', ''], ['--seed', "invalid int value: ''"]),
    (['--seed', '-5'], ['--seed -5: at least 0']),
    (['--seed', '1e3'], ['--seed', "invalid int value: '1e3'"]),
    (['--seed', '0x10'], ['--seed', 'invalid int value']),
    (['--seed', '9' * 5000], ['--seed']),
    (['--data_type', 'CIFAR100_10', '--data_percent', '-4'], ['--data_percent -4: CIFAR100_10']),
    (['--data_type', 'CIFAR100_10', '--data_percent', '0'], ['--data_percent 0: CIFAR100_10']),
    (['--data_type', 'MNIST5', '--data_percent', '101'], ['--data_percent 101: MNIST5']),
    (['--data_percent', '4%'], ['--data_percent', "invalid int value: '4%'"]),
    (['--num_clayers', '0'], ['--num_clayers 0 is not defined for DIGITS5; choose one of: 4']),
    (['--num_clayers', '-2'], ['--num_clayers -2 is not defined']),
    (['--num_clayers', '1' + '0' * 30], ['--num_clayers 10000']),
    (['--num_tasks', '-1'], ['--num_tasks -1: DIGITS5 has 1 to 5 tasks']),
    (['--task_order_type', '-1'], ['--task_order_type -1 is not known']),
    (['--skip_connect_test_type', '-1'], ['--skip_connect_test_type -1 is not defined']),
    (['--test_type', '1' + '0' * 30], ['--test_type 10000', 'choose 0 to 44']),
    (['--model_type', 'STL', '--test_type', '-7'], ['--test_type -7: at least 0']),
    (['--model_type', 'ProgNN', '--test_type', '2'], ['--test_type 2: of ProgNN']),
    (['--model_type', 'EWC', '--test_type', '5'], ['--test_type 5: of EWC']),
    (['--epochs_per_task', '-3'], ['--epochs_per_task -3: at least 1']),
    (['--epochs_per_task', '9' * 30], ['--epochs_per_task 999', 'at most 2^63 - 1']),
    (['--epochs_per_task', '100000000'], ['its entry in the result file would take',
                                          'MATLAB reads at most 2.15 GB', '--num_runs']),
    (['--num_runs', '-1'], ['--num_runs -1: at least 1']),
    (['--num_runs', '1000000000'], ['--num_runs 1000000000: at least 1 and at most 100000']),
    (['--jobs', '1000000000'], ['--jobs 1000000000: at least 1 and at most 4096']),
    (['--threads', '99999999999'], ['--threads 99999999999: at least 1 and at most 4096']),
    (['--early_stopping', '-1'], ['--early_stopping -1: at least 1']),
    (['--eval_interval', '-1'], ['--eval_interval -1: at least 1']),
    (['--checkpoint_minutes', 'inf'], ['--checkpoint_minutes inf']),
    (['--checkpoint_minutes', '5m'], ['--checkpoint_minutes', "invalid float value: '5m'"]),
    (['--gpu_memory_fraction', 'nan', '--gpu', '0'], ['--gpu_memory_fraction nan: a share above 0']),
    (['--gpu_memory_fraction', '0'], ['--gpu_memory_fraction 0: a share above 0']),
    (['--gpu', ''], ['--gpu', "invalid list of GPUs value: ''"]),
    (['--gpu', 'cuda:0'], ['--gpu', 'invalid list of GPUs']),
    (['--checkpoint_minutes', '-1e-3'], ['--checkpoint_minutes -0.001: at least 0']),
    (['--gpu_memory_fraction', '-1e-3', '--gpu', '0'], ['--gpu_memory_fraction -0.001: a share above 0']),
    (['--seed', '-1e3'], ['--seed', "invalid int value: '-1e3'"]),
    (['--model_type', 'LASEM_fixed_HPS', '--em_maxP', '-1e-3'], ['--em_maxP -0.001: a probability']),
    (['--model_type', 'LASEM_fixed_HPS', '--em_maxP', '-0.1'], ['--em_maxP -0.1: a probability']),
    (['--model_type', 'LASEM_HPS', '--em_prior_init_cnt', 'nan'], ['--em_prior_init_cnt nan']),
    (['--model_type', 'LASEMG_HPS', '--layer_groups', ''], ['--layer_groups : sizes']),
    (['--model_type', 'LASEMG_HPS', '--layer_groups=-2,6'], ['--layer_groups -2,6: sizes']),
    (['--model_type', 'LASEMG_HPS', '--layer_groups', '9' * 5000],
     ['--layer_groups 999', 'add up to 4 layers']),
    (['--transfer_config', ''], ['--transfer_config  is not known']),
    (['--transfer_config', 'top' + '9' * 5000], ['--transfer_config top999', 'top1..top3']),
    (['--mutual_info', '--mutual_info_alpha', 'nan'], ['--mutual_info_alpha nan']),
    (['--mutual_info', '--mutual_info_alpha', '-1'], ['--mutual_info_alpha -1']),
    (['--model_type', 'STL', '--stl_analysis', '--stl_task_to_learn', '5'], ['--stl_task_to_learn 5']),
    # flags that contradict each other
    (['--model_type', 'SNN', '--transfer_config', 'none'], ['SNN', 'leave it away']),
    (['--model_type', 'LASEM_TF', '--transfer_config', 'top1'],
     ['--transfer_config has no meaning for LASEM_TF']),
    (['--model_type', 'BruteForce_APD', '--apd_mode', 'paper'],
     ['--apd_mode paper is not defined for BruteForce_APD']),
    (['--model_type', 'DFCNN', '--tensorfactor_param_path', 'x.mat'], ['Hybrid_DFCNN has no tensor factors']),
    (['--model_type', 'HPS', '--stl_analysis', '--stl_task_to_learn', '1'], ['Hybrid_HPS was asked for']),
    (['--gpu', '0,1,2', '--jobs', '2'], ['add --jobs 3']),
    (['--model_type', 'DEN', '--task_order_type', '2'], ['DEN learns each task once']),
    # paths and names of files
    (['--data_dir', ''], ['--data_dir: a path is needed']),
    (['--data_dir', '~no_such_user/x'], ['--data_dir', '~no_such_user is not known']),
    (['--result_dir', '~no_such_user'], ['--result_dir', '~no_such_user is not known']),
    (['--scheduler', 'tcp://u5er:pass@host:1', '--jobs', '2'], ['--scheduler tcp://host:1: a trial uses']),
    (['--result_dir', ''], ['--result_dir: a path is needed']),
    (['--model_type', 'TF', '--tensorfactor_param_path', ''],
     ['--tensorfactor_param_path: a path is needed']),
    (['--save_mat_name', ''], ['--save_mat_name', 'a plain file name']),
    (['--save_mat_name', '../x.mat'], ['--save_mat_name ../x.mat: a plain file name']),
    (['--save_mat_name', '/tmp/x.mat'], ['--save_mat_name /tmp/x.mat: a plain file name']),
    (['--save_mat_name', LONG], ['--save_mat_name xxx', 'at most 200 bytes']),
    (['--save_mat_name', u'\u00e4' * 120], [u'--save_mat_name \u00e4\u00e4', 'at most 200 bytes']),
    (['--save_mat_name', 'a\nb.mat'], [r'--save_mat_name a\nb.mat', 'without line breaks']),
    (['--data_type', 'MNIST5', '--data_dir', u'no/D\u00e4t\u00e4'], [u'no/D\u00e4t\u00e4', 'is missing']),
    (['--data_type', 'MNIST5', '--data_dir', 'no\nDa\udcffta'], [r'no\nDa\xffta', 'is missing']),
    (['--data_type', 'MNIST5', '--data_dir', 'x/' * 3000], ['MNIST: x/x/', 'Data/README.md']),
]

RIGHT = [      # options, line on stdout: what looks wrong, and is done with a word
    (['--em_maxP', '7'], '--em_maxP is ignored: Hybrid_HPS does not use it'),
    (['--em_fix_maxC', 'nonsense'], '--em_fix_maxC is ignored: Hybrid_HPS does not use it'),
    (['--em_cnt_prior', '--em_prior_init_cnt', '3', '--reset_prior'], '--reset_prior is ignored: Hybrid_HPS'),
    (['--layer_groups', '2,2'], '--layer_groups is ignored: Hybrid_HPS does not use it'),
    (['--model_type', 'LASEM_HPS', '--layer_groups', '2,2'],
     '--layer_groups is ignored: LASEM_HPS does not use it'),
    (['--model_type', 'LASEMG_HPS'],
     'LASEMG_HPS: each layer is a group by itself, so the numbers are those of LASEM_HPS;'),
    (['--model_type', 'LASEM_HPS', '--em_prior_init_cnt', '2'],
     '--em_prior_init_cnt is ignored: it is a setting of'),
    (['--model_type', 'LASEM_TF', '--darts_approx_order', '2'], '--darts_approx_order is ignored: LASEM_TF'),
    (['--darts_selection_data', 'valid'], '--darts_selection_data is ignored: Hybrid_HPS does not use it'),
    (['--model_type', 'ChannelGate', '--apd_mode', 'paper'],
     '--apd_mode is ignored: ChannelGate does not use it'),
    (['--channel_gate_mode', 'paper'], '--channel_gate_mode is ignored: Hybrid_HPS does not use it'),
    (['--model_type', 'STL', '--test_type', '10'], '--test_type is ignored: STL does not use it'),
    (['--test_type', '10', '--transfer_config', 'all'], '--test_type is ignored: --transfer_config says it'),
    (['--normalize', 'train'], '--normalize is ignored: DIGITS5 is not standardised'),
    (['--data_percent', '77'], '--data_percent is ignored: DIGITS5 has no size table'),
    (['--gpu_memory_fraction', '0.5'], '--gpu_memory_fraction is ignored: --gpu -1 is the CPU'),
    (['--model_type', 'STL', '--stl_analysis', '--stl_task_to_learn', '1', '--task_order_type', '1'],
     '--task_order_type is ignored: --stl_analysis learns one task'),
    (['--num_classes', '-3'], '--num_classes has no effect'),
]


def _entry(options, words=(), works='', check=None):
    shown = ' '.join(options).replace('\n', '\\n')
    name = shown if len(shown) < 70 else shown[:67] + '...'
    return Entry('command lines', name, lambda folder, materials: DIGITS + options, tuple(words), works,
                 check)


def _says(line):
    return lambda folder, outcome: line in outcome.out


def _makes(path):
    return lambda folder, outcome: (folder / path).is_dir()


ENTRIES = [_entry(options, words) for options, words in WRONG]
ENTRIES += [_entry(options, works='one line of notice', check=_says(line)) for options, line in RIGHT]
ENTRIES += [_entry([option, name], works='files of that name', check=_makes(path)) for option, name, path in (
    ('--result_dir', u'Ergebnis \u00e4\u4e2d', u'Ergebnis \u00e4\u4e2d/delete_this'),
    ('--result_dir', 'bytes \udcff', 'bytes \udcff/delete_this'),
    ('--save_mat_name', u'\u00e4.mat', u'Result/\u00e4'))]
