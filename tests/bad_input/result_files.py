"""Result files, parameter files and working files that are damaged, odd, or another program's."""
import gzip
import io
import json
import os
import pickle
from collections import OrderedDict

import numpy as np
import scipy.sparse
from scipy.io import savemat

import main
from classification.experiment.resolve import resolve
from classification.model.registry import MODELS
from classification.report import command as report
from classification.results import mat_file, parameter_files
from classification.results.trial_record import save_record
from tests.bad_input.command_lines import DIGITS
from tests.bad_input.trial import Entry, edit, replace
from tests.support.result_files import published_summary, record, write

MAT = 'x.mat'
RUN = DIGITS + ['--num_runs', '1', '--result_dir', '.', '--save_mat_name', MAT]


def good(folder):
    """x.mat with two experiments, and their config.json."""
    for model in ('STL', 'Hybrid_HPS'):
        write(folder / MAT, model, [record([[.9, np.nan], [.8, .7]], trial=trial) for trial in range(2)],
              config=True)


def parameters(folder):
    """tf.mat: parameters of a TF model of four layers, the first of them shared."""
    store = OrderedDict([('conv0/shared/tf/core', np.ones((3, 3, 1, 16), np.float32)),
                         ('fc0/task0/own/bias', np.ones(2, np.float32))])
    about = OrderedDict([('model_type', 'Hybrid_TF'), ('data_type', 'DIGITS5'), ('fingerprint', 'f' * 64),
                         ('trial', 0), ('position', 0),
                         ('task', 0), ('tasks', [0]), ('schema_version', 1), ('state', '{}')])
    parameter_files.save(str(folder / 'tf.mat'), store, MODELS['Hybrid_TF'].parameter_fields(), [0],
                         {'conv': 4, 'fc': 2}, about)


def saved(*arguments, **options):
    """The bytes that savemat writes."""
    stream = io.BytesIO()
    savemat(stream, *arguments, **options)
    return stream.getvalue()


def cell(*values):
    """A cell row."""
    made = np.empty((1, len(values)), dtype=object)
    for place, value in enumerate(values):
        made[0, place] = value
    return made


def version_73():
    """What MATLAB writes with -v7.3: its own header before an HDF5 file."""
    header = (b'MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 '
              b'HDF5 schema 1.00 .')
    return header.ljust(116) + bytes(8) + b'\x00\x02IM' + bytes(384) + b'\x89HDF\r\n\x1a\n' + bytes(1000)


def _npz():
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3))
    return stream.getvalue()


NO_MAT = [      # name, content of the file, words
    ('of 0 bytes', lambda: b'', ['not a MATLAB file of version 5']),
    ('of 3 bytes', lambda: b'MAT', ['not a MATLAB file of version 5']),
    ('is text', lambda: b'accuracy 0.9\n' * 50, ['not a MATLAB file of version 5']),
    ('of version 7.3', version_73, ["version 7.3; save it with '-v7'"]),
    ('of version 7.3, big-endian', lambda: version_73().replace(b'\x00\x02IM', b'\x02\x00MI'),
     ['version 7.3']),
    ('of version 4', lambda: saved({'x': np.zeros((20, 20))}, format='4'),
     ['not a MATLAB file of version 5']),
    ('bare HDF5', lambda: b'\x89HDF\r\n\x1a\n' + bytes(500), ['not a MATLAB file of version 5']),
    ('Octave text', lambda: b'# Created by Octave 8.4.0\n# name: x\n# type: scalar\n3\n' * 5,
     ['not a MATLAB file of version 5']),
    ('an .npz', _npz, ['not a MATLAB file of version 5']),
    ('a pickle', lambda: pickle.dumps(list(range(300))), ['not a MATLAB file of version 5']),
    ('gzip of a good one', lambda: gzip.compress(saved({'x': 1}) * 9), ['not a MATLAB file of version 5']),
    ('JSON', lambda: json.dumps({'training_summary': [0] * 99}).encode('ascii'),
     ['not a MATLAB file of version 5']),
    ('header alone', lambda: saved({'x': 1})[:128], ['is not a result file']),
    ('header and rubbish', lambda: saved({'x': 1})[:128] + b'\xff' * 500, ['damaged']),
    ('with a size of 4 GB', lambda: saved({'x': 1})[:128] + b'\x0e\0\0\0\xff\xff\xff\xff' + bytes(64), []),
    ('compressed, cut off', lambda: saved({'x': np.random.RandomState(0).rand(99)},
                                          do_compression=True)[:-40], ['damaged']),
    ('compressed, bits changed', lambda: saved({'x': np.arange(999.)}, do_compression=True)[:-99] + b'\xaa'
     * 99, ['damaged']),
    ('of other variables', lambda: saved({'x': 1, 'y': 'text'}),
     ['is not a result file: it has no cell training_summary']),
    ('of a number', lambda: saved({'training_summary': 3.}), ['is not a result file']),
    ('of a text', lambda: saved({'training_summary': 'done'}), ['is not a result file']),
    ('of a sparse matrix', lambda: saved({'training_summary': scipy.sparse.eye(3)}),
     ['is not a result file']),
    ('of a cell of numbers', lambda: saved({'training_summary': cell(1., 2.)}), ['is not a result file']),
    ('of a cell of cells', lambda: saved({'training_summary': cell(cell(1.))}), ['is not a result file']),
    ('of a cell of texts', lambda: saved({'training_summary': cell('a', 'b')}), ['is not a result file']),
    ('of complex numbers', lambda: saved({'training_summary': cell({'x': 1 + 2j})}), ['Casting complex']),
]


def _laid(content, options, words, name, program=main):
    def make(folder, materials):
        replace(folder / MAT, content())
        return options
    return Entry('result files', name, make, (MAT,) + tuple(words), program=program)


def changed_summary(**changes):
    """The published experiment with other fields; None: without it."""
    made = dict(published_summary(), **changes)
    return saved({'training_summary': cell({name: value for name, value in made.items()
                                            if value is not None})})


def _info(**changes):
    return dict(published_summary()['model_specific_info'], **changes)


def _runs(**changes):
    runs = published_summary()['result_of_each_run']
    for run in runs:
        run.update(changes)
    return runs


ODD = [      # name, fields of the experiment, words: what only the report looks at
    ('without a trial', dict(result_of_each_run=cell()), ['no task or no trial']),
    ('without an order', dict(task_order=None), ['no task_order']),
    ('without facts of the model', dict(model_specific_info=None), ['no model_specific_info']),
    ('whose order is a text', dict(task_order='012'), ['task_order']),
    ('whose order is not finite', dict(task_order=[0., np.nan, 2.]), ['experiment 1']),
    ('whose order is negative', dict(task_order=[0, -1, 2]), ['experiment 1']),
    ('whose order is longer than its histories', dict(task_order=[0, 1, 2, 3]), ['experiment 1']),
    ('whose trials are numbers', dict(result_of_each_run=cell(1., 2.)), ['experiment 1']),
    ('whose trials are a text', dict(result_of_each_run='two'), ['experiment 1']),
    ('with a trial too many', dict(train_valid_data_group=[0, 1, 2]),
     ['train_valid_data_group is 3 instead of 2']),
    ('whose trials have no finite numbers', dict(train_valid_data_group=[0., np.inf]), ['experiment 1']),
    ('whose data type is a number', dict(data_type=5.), ['data_type is not a text']),
    ('whose data type is a cell', dict(data_type=cell('a', 'b')), ['data_type is not a text']),
    ('whose fingerprint is a matrix', dict(fingerprint=np.eye(3)), ['fingerprint is not a text']),
    ('whose command is a number', dict(command=3.), ['command is not a text']),
    ('whose seed is a text', dict(seed='zero'), ['seed is not a number']),
    ('whose seed is a row', dict(seed=[1, 2]), ['seed is not a number']),
    ('whose seconds are a text', dict(training_time='long'), ['training_time is not numbers']),
    ('whose seconds are too few', dict(training_time=[1.]), ['training_time is 1 instead of 2']),
    ('whose training seconds are too few', dict(training_seconds=np.ones((2, 1))),
     ['training_seconds is 2x1 instead of 2x3']),
    ('whose accuracies are a text', dict(accuracy_matrix='high'), ['accuracy_matrix is not numbers']),
    ('whose accuracies do not fit', dict(accuracy_matrix=np.zeros((2, 3, 2))), ['experiment 1']),
    ('whose accuracies have four dimensions', dict(accuracy_matrix=np.zeros((2, 2, 3, 3))),
     ['accuracy_matrix is 2x2x3x3 instead of 2x3x3']),
    ('whose peaks are a cell', dict(peak_accuracy=cell(1., 2.)), ['peak_accuracy is not numbers']),
    ('whose peaks are sparse', dict(peak_accuracy=scipy.sparse.eye(3)), ['peak_accuracy is not numbers']),
    ('whose facts are a text', dict(model_specific_info='none'), ['experiment 1']),
    ('whose architecture is a number', dict(model_specific_info=_info(architecture=5.)),
     ['architecture is not a text']),
    ('whose layers are a text', dict(model_specific_info=_info(conv_sharing='TTSS')),
     ['conv_sharing is not numbers']),
    ('whose layers are not finite', dict(model_specific_info=_info(conv_sharing=[0., np.nan])),
     ['conv_sharing']),
    ('whose number of parameters is a text',
     dict(model_specific_info=_info(number_of_trainable_parameters='many')),
     ['number_of_trainable_parameters is not a number']),
    ('whose history is a text', dict(result_of_each_run=_runs(history_test_error='good')),
     ['history_test_error is not numbers']),
    ('whose history is a row', dict(result_of_each_run=_runs(history_test_error=[.1, .2])),
     ['history_test_error']),
    ('whose history lacks a task', dict(result_of_each_run=_runs(history_test_error=np.zeros((7, 2)))),
     ['no column for task 2']),
    ('whose tasks change backwards', dict(result_of_each_run=_runs(task_changed_epoch=[5, 3, 1])),
     ['task_changed_epoch']),
    ('whose tasks change too late', dict(result_of_each_run=_runs(task_changed_epoch=[1, 3, 99])),
     ['task_changed_epoch']),
    ('whose tasks change before the first row', dict(result_of_each_run=_runs(task_changed_epoch=[-9, 3, 5])),
     ['task_changed_epoch']),
]


def _cut(share):
    def make(folder, materials):
        materials.copy(good, folder / 'good')
        edit(folder / 'good' / MAT, lambda content: content[:int(len(content) * share)])
        return ['good/' + MAT]
    return make


def _good(*more):
    def make(folder, materials):
        materials.copy(good, folder / 'good')
        return ['good/' + MAT] + list(more)
    return make


def _reported(name, make, words):
    return Entry('result files', 'report: ' + name, make, tuple(words), program=report)


def _with(lay, options):
    def make(folder, materials):
        lay(folder)
        return options
    return make


def _long_name(folder):
    (folder / ('d' * 200)).mkdir()


REPORT = [
    ('no file', lambda folder, materials: [], ['FILE.mat']),
    ('a file that is not there', lambda folder, materials: ['nowhere.mat'],
     ['nowhere.mat cannot be read (No such file']),
    ('names that no file fits', lambda folder, materials: ['Result/*.mat'], ['Result/*.mat cannot be read']),
    ('an empty name', lambda folder, materials: [''], ['FILE.mat: a path is needed']),
    ('a name with a line break', lambda folder, materials: ['a\nb.mat'], [r'a\nb.mat cannot be read']),
    ('a folder', lambda folder, materials: ['.'], ['. cannot be read (Is a directory)']),
    ('links in a circle', _with(lambda folder: os.symlink(MAT, str(folder / MAT)), [MAT]),
     ['x.mat cannot be read']),
    ('an unknown format', _good('--format', 'pdf'), ['--format', "'pdf'"]),
    ('an unknown option', _good('--formt', 'csv'), ['--formt']),
    ('an unknown baseline', _good('--baseline', 'LASEM'),
     ['--baseline LASEM: choose one of: Hybrid_HPS; STL']),
    ('an empty baseline', _good('--baseline', ''), ['--baseline : choose one of']),
    ('an empty folder to write to', _good('--out', ''), ['--out']),
    ('a file as folder to write to', _good('--out', 'good/' + MAT), ['--out good/x.mat cannot be written']),
    ('a bad file among good ones', _with(lambda folder: (good(folder), replace(folder / 'y.mat', b'')),
                                         [MAT, 'y.mat']), ['y.mat is not']),
]


def _run_folder(folder):
    """The folder of RUN's experiment, made."""
    experiment = resolve(main.parser().parse_args(RUN), lambda line: None)
    place = folder / 'x' / experiment.folder_name()
    place.mkdir(parents=True)
    return place, experiment


def _config(content):
    def make(folder, materials):
        place, _ = _run_folder(folder)
        (place / 'config.json').write_bytes(content)
        other = folder / 'x' / 'STL-01234567'
        other.mkdir()
        (other / 'config.json').write_bytes(content)
        return RUN
    return make


def _record(content):
    def make(folder, materials):
        place, _ = _run_folder(folder)
        (place / 'trial0').mkdir()
        save_record(str(place / 'trial0' / 'record.npz'), record([[.9, np.nan], [.8, .7]]))
        edit(place / 'trial0' / 'record.npz', content)
        return RUN
    return make


def _half_finished(folder, materials):
    _, experiment = _run_folder(folder)
    mat_file.append_entry(str(folder / MAT), {'fingerprint': experiment.fingerprint(), 'run_id': 'r'})
    return RUN


def _file_in_place(name):
    def make(folder, materials):
        replace(folder / name, b'')
        return RUN
    return make


def _folder_in_place(folder, materials):
    (folder / MAT).mkdir()
    return RUN


def _write_protected(folder, materials):
    mat_file.append_entry(str(folder / MAT), {'fingerprint': 'f' * 64})
    os.chmod(str(folder / MAT), 0o444)
    return RUN


def _link_to(target):
    def make(folder, materials):
        os.symlink(target, str(folder / MAT))
        return RUN
    return make


def _pipe_in_place(folder, materials):
    os.mkfifo(str(folder / MAT))
    return RUN


TF = DIGITS + ['--model_type', 'TF', '--tensorfactor_param_path', 'data/tf.mat', '--result_dir', '.']


def _factors(change, options=()):
    def make(folder, materials):
        materials.copy(parameters, folder / 'data')
        edit(folder / 'data' / 'tf.mat', change)
        return TF + list(options)
    return make


def _resaved(change):
    """tf.mat read, changed and written again."""
    def make(content):
        from scipy.io import loadmat
        variables = {name: value for name, value in loadmat(io.BytesIO(content)).items()
                     if not name.startswith('__')}
        return saved(change(variables) or variables)
    return make


def _dropped(variables):
    del variables['names']


def _infinite(variables):
    variables['about'][0, 0]['trial'] = np.array([[np.inf]])


def _other_value(variables):
    variables['parameter'][0, 0]['conv_KB'][0, 0][0, 0] += 1


def _other_shape(variables):
    variables['names'][0, 0]['conv_KB'][0, 0] = np.array(['conv0/shared/tf/core 3x3x1x17'])


def _no_json(variables):
    variables['about'][0, 0]['state'] = np.array(['{'])


def _deep_json(variables):
    variables['about'][0, 0]['state'] = np.array(['[' * 100000])


OTHERS = [
    ('a folder for the file', _folder_in_place, ['x.mat cannot be read (Is a directory)']),
    ('a file for the folder of the experiment', _file_in_place('x'), ['cannot be written: Not a directory']),
    ('a file that is write-protected', _write_protected, ['x.mat is write-protected (mode 444)']),
    ('a link that leads to itself', _link_to(MAT), ['x.mat cannot be written']),
    ('a named pipe for the file', _pipe_in_place, ['x.mat is no regular file']),
    ('an experiment without numbers of trials', _half_finished, ['x.mat is damaged']),
    ('record of 0 bytes', _record(lambda content: b''), ['record.npz cannot be read']),
    ('record cut off', _record(lambda content: content[:-200]), ['record.npz cannot be read']),
    ('record, a bit changed', _record(lambda content: content[:500] + bytes([content[500] ^ 4])
                                      + content[501:]), ['record.npz']),
    ('record is a pickle', _record(lambda content: pickle.dumps({'trial': 0})),
     ['record.npz cannot be read']),
    ('parameters of 0 bytes', _factors(lambda content: b''), ['tf.mat is not a MATLAB file']),
    ('parameters cut off', _factors(lambda content: content[:-300]), ['tf.mat']),
    ('parameters are a result', _factors(lambda content: changed_summary()), ['is not a parameter file']),
    ('parameters of version 7.3', _factors(lambda content: version_73()), ['version 7.3']),
    ('parameters without their names', _factors(_resaved(_dropped)), ['no struct names']),
    ('parameters of a trial that is not finite', _factors(_resaved(_infinite)), ['tf.mat is damaged']),
    ('parameters with another value', _factors(_resaved(_other_value)), ['not those that were written']),
    ('parameters with another shape', _factors(_resaved(_other_shape)), ['tf.mat is damaged']),
    ('parameters whose state is no JSON', _factors(_resaved(_no_json)), ['tf.mat is damaged']),
    ('parameters whose state is too deep', _factors(_resaved(_deep_json)), ['tf.mat is damaged']),
    ('parameters of another network', _factors(lambda content: content,
                                               ['--data_type', 'MNIST5', '--test_type', '0']),
     ['is of another network']),
    ('parameters where none are of use', _factors(lambda content: content, ['--model_type', 'LASEM_HPS']),
     ['has no tensor factors']),
]
CONFIGS = [('of 0 bytes', b''), ('cut off', b'{"finished": fal'), ('a list', b'[]'), ('a number', b'3'),
           ('no UTF-8', b'\xff\xfe'),
           ('an empty dict', b'{}'), ('of other types',
                                      b'{"experiment": 3, "settings": [], "finished": false}'),
           ('of no experiment', b'{"experiment": {}, "settings": {}, "finished": false}'),
           ('of odd settings',
            b'{"experiment": {"seed": [1]}, "settings": {"parameter_folder": 3}, "run_id": 5, "finished": '
            b'false}')]

ENTRIES = [_laid(content, RUN, words, 'result file ' + name) for name, content, words in NO_MAT]
ENTRIES += [_laid(content, [MAT], words, 'report: file ' + name, report) for name, content, words in NO_MAT]
ENTRIES += [_laid(lambda fields=fields: changed_summary(**fields), [MAT], words, 'report: experiment ' + name,
                  report)
            for name, fields, words in ODD]
ENTRIES += [_reported('file cut off at %d %%' % (100 * share), _cut(share), ['good/x.mat'])
            for share in (.1, .3, .5, .7, .9, .999)]
ENTRIES += [_reported(*row) for row in REPORT]
ENTRIES += [Entry('result files', name, make, tuple(words)) for name, make, words in OTHERS]
ENTRIES += [Entry('result files', 'config.json ' + name, _config(content), (), 'made anew') for name,
            content in CONFIGS]
