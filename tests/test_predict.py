"""python3 -m classification.predict: the answers to a task's test images are what the result file holds; a
SavedModel gives the same; what cannot be answered is one line."""
import contextlib
import csv
import io
import itertools
import os
import shutil
from collections import namedtuple

import cv2
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification import gen_data, predict
from classification.data import photographs, readers
from classification.data.stl10_designs import NoisyImages
from classification.experiment import sizes
from classification.experiment.flags import parser
from classification.experiment.resolve import resolve
from classification.results import mat_file, parameter_files
from classification.train import Trial
from classification.trial.context import TrialContext
from tests.support import command_line
from tests.support.tiny import TRIAL_NETWORK, make_experiment, make_task, make_trial, quick_config
from utils import utils_env_cl as env
from utils.utils import random_state

METHODS = ('STL', 'SNN', 'Hybrid_HPS --test_type 3', 'Hybrid_TF --test_type 3', 'Hybrid_DFCNN --test_type 3',
           'LASEM_HPS', 'LASEMG_HPS --layer_groups 1,1', 'DARTS_HPS', 'BruteForce_HPS', 'ProgNN',
           'ProgNN --prognn_lateral_head', 'DEN', 'ChannelGate', 'ChannelGate --channel_gate_mode paper',
           'APD', 'EWC --test_type 3')
COUNTS = (('train', 24), ('valid', 6), ('test', 9))        # images of a class
CLASSES = ('cat, big', u'caf\u00e9', 'hen', 'dog')          # two in each of two tasks
Learned = namedtuple('Learned', 'folder entry')             # parameter files of the trial; of the .mat file


@pytest.fixture(scope='module', autouse=True)
def small():
    """The small network; the table of data sets is afterwards what it was."""
    with pytest.MonkeyPatch.context() as patch:
        command_line.change(patch.setitem)
        patch.setitem(gen_data.DATASETS, 'Images', gen_data.DATASETS['Images'])
        yield


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with photographs of digits, in colour and larger than the network's images, and a list of
    them."""
    folder, lines = tmp_path_factory.mktemp('own'), ['task,class,file,split']
    digits, labels = readers.DIGITS.images('', None), readers.DIGITS.labels('')['all']
    for number, name in enumerate(CLASSES):
        photographs = iter(digits[labels == number])
        for split, count in COUNTS:
            for place, pixels in enumerate(itertools.islice(photographs, count)):
                image = cv2.resize(np.repeat(pixels * 15, 3, axis=2), (21, 13))
                file = '%s/%d-%d.jpg' % (split, number, place)
                (folder / split).mkdir(exist_ok=True)
                (folder / file).write_bytes(cv2.imencode('.jpg', image)[1].tobytes())
                lines.append('task%d,"%s",%s,%s' % (number // 2, name, file, split))
    (folder / 'list.csv').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return folder


@pytest.fixture(scope='module')
def own(place):
    """Options of a command line on these images."""
    return ['--data_type', 'Images', '--images', str(place / 'list.csv'), '--image_size', '8',
            '--image_channels', '1', '--batch_size', '4']


@pytest.fixture(scope='module')
def learn(own, tmp_path_factory):
    """Function (words behind --model_type, options of the data) -> Learned; each is trained once."""
    found = {}

    def get(words, data=own, lifelong=('--lifelong',)):
        key = words, tuple(data), lifelong
        if key not in found:
            found[key] = trained(words.split() + list(lifelong) + list(data),
                                 tmp_path_factory.mktemp('params'))
        return found[key]
    return get


def trained(words, folder, epochs=12):
    flags = parser().parse_args(['--gpu', '-1', '--num_clayers', '2', '--epochs_per_task', str(epochs),
                                 '--saveparam', '--num_tasks', '2', '--data_dir', str(folder),
                                 '--model_type'] + words)
    experiment = resolve(flags, lambda line: None)
    tasks = gen_data.load_tasks(experiment.data_type, str(folder), seed=0, num_tasks=2, say=lambda line: None,
                                normalize=experiment.normalize)
    record = Trial(experiment, 0, tasks, TrialContext(str(folder), quick_config(),
                                                      parameter_folder=str(folder / 'params'))).run()
    return Learned(folder / 'params' / 'run0', mat_file.as_stored(sizes.entry_of(experiment, [record], {})))


def said(*words):
    """(exit status, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = predict.main(list(map(str, words)))
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()


def answers(*words):
    """Rows (file, class, probability as text) of the answer as CSV."""
    status, out, err = said(*(words + ('--format', 'csv')))
    assert status == 0, err
    rows = list(csv.reader(io.StringIO(out)))
    assert rows[0] == ['file', 'class', 'probability']
    return rows[1:]


def refused(*words):
    """The one line of error."""
    status, out, err = said(*words)
    assert (status, out) == (2, '') and err.startswith('error: ') and err.count('\n') == 1, (status, out, err)
    return err


def accuracy(path, place, task, split='test'):
    """Share of right answers to a task's photographs."""
    files = [(place / split / ('%d-%d.jpg' % (number, image)), CLASSES[number])
             for number in (2 * task, 2 * task + 1) for image in range(dict(COUNTS)[split])]
    rows = answers(path, '--task', task, *[file for file, _ in files])
    assert [row[0] for row in rows] == [str(file) for file, _ in files]
    return np.mean([row[1] == name for row, (_, name) in zip(rows, files)])


def final(learned):
    return learned.folder / parameter_files.FINAL


# ---- the answers ----

@pytest.mark.parametrize('words', METHODS)
def test_answers_to_test_images_are_as_accurate_as_the_result_says(words, learn, place):
    learned = learn(words)
    assert [accuracy(final(learned), place, task) for task in (0, 1)] == learned.entry[
        'final_accuracy'][0].tolist()


def test_so_are_those_of_tasks_that_were_learned_together(learn, place):
    learned = learn('Hybrid_HPS --test_type 3', lifelong=())
    assert [accuracy(final(learned), place, task) for task in (0, 1)] == learned.entry[
        'final_accuracy'][0].tolist()


def test_something_was_learned(learn):
    assert learn('STL').entry['final_accuracy'].max() > 0.8


def test_each_position_has_its_own_answers(learn, place):
    learned = learn('Hybrid_HPS --test_type 3')
    path = parameter_files.path_of(str(learned.folder.parent), 0, 0, 0)
    assert accuracy(path, place, 0) == learned.entry['accuracy_matrix'][0, 0, 0]
    assert 'task 1' in refused(path, '--task', '1', place / 'test').replace('--task', 'task')


def test_each_alternative_has_its_own_answers(learn, place):
    learned = learn('BruteForce_HPS')
    scores = learned.entry['result_of_each_run'][0]['search_validation_accuracy'][1]
    found = [accuracy(learned.folder / 'config_search_t1' / ('parameter_config%d.mat' % number), place, 1,
                      'valid') for number in range(4)]
    assert found == scores.tolist()


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    """(folder, task -> (files, names of their classes)): the test images of DIGITS5 as files."""
    folder, found = tmp_path_factory.mktemp('digits'), {}
    for task in gen_data.load_tasks('DIGITS5', '', num_tasks=2, say=lambda line: None):
        found[task.index] = [], []
        for number, (label, image) in enumerate(zip(task.test.labels, task.test.images())):
            file = folder / ('%d-%d.png' % (task.index, number))
            file.write_bytes(cv2.imencode('.png', np.rint(image / 16. * 255).astype(np.uint8))[1].tobytes())
            found[task.index][0].append(str(file))
            found[task.index][1].append(str(task.classes[label]))
    return folder, found


def test_a_file_of_255_levels_means_the_digits_17(learn, digits):
    learned = learn('STL', ('--data_type', 'DIGITS5'))
    for task, (files, names) in digits[1].items():
        rows = answers(final(learned), '--task', task, *files)
        assert np.mean([row[1] == name for row, name in zip(rows, names)]) == learned.entry[
            'final_accuracy'][0, task]


def test_each_level_of_a_file_is_rounded_to_the_nearest_of_the_17(learn, digits):
    images = np.stack([cv2.imread(file, 0)[..., None] for file in digits[1][0][0][:9]]).astype(int)
    with predict.load(str(final(learn('STL', ('--data_type', 'DIGITS5')))), 0).classifier() as classifier:
        found = [classifier(np.clip(images + shift, 0, 255).astype(np.uint8))['probabilities']
                 for shift in (0, 7, -7, 9)]
    for other in found[1:3]:
        np.testing.assert_array_equal(other, found[0])
    assert (found[3] != found[0]).any()


def test_the_training_splits_standardisation_is_used_for_all(learn, own, place):
    learned = learn('STL', own + ['--scaling', 'standard'])
    assert [accuracy(final(learned), place, task) for task in (0, 1)] == learned.entry[
        'final_accuracy'][0].tolist()
    assert 'note' not in said(final(learned), '--task', '0', place / 'test')[1]


def test_other_splits_standardisation_is_only_noted(learn, place):
    learned, files = predict.load(str(final(learn('STL'))), 0), [str(place / 'test' / '0-0.jpg')]

    def asked(one):
        with one.classifier() as classifier:
            return predict.answers(one, classifier, files)
    found = asked(learned)
    assert learned.notes() == []
    for split in ('valid', 'test'):
        other = learned._replace(images=dict(learned.images, **{
            what: dict(learned.images[what], **{split: [0.5]}) for what in ('scale', 'offset')}))
        assert asked(other) == found and 'standardised by itself' in other.notes()[0]


def test_images_that_an_analysis_adds_change_nothing_of_how_images_are_seen(own, place, tmp_path):
    words = ['STL', '--lifelong', '--stl_analysis', '--stl_task_to_learn', '1'] + own
    learned = trained(words, tmp_path, epochs=2)
    scale = predict.load(str(final(learned)), 1).images['scale']
    assert scale['train'] == scale['test'] and scale['test'][0] < 0.01      # 1 / 255
    assert accuracy(final(learned), place, 1) == learned.entry['final_accuracy'][0, 0]


def test_a_table_for_people(learn, place):
    file = place / 'test' / '0-0.jpg'
    status, out, err = said(final(learn('STL')), file, '--task', '0')
    (_, name, probability), = answers('--task', '0', final(learn('STL')), file)
    assert status == 0 and not err and out.splitlines()[0].split() == ['file', 'class', 'probability']
    assert out.splitlines()[1] == '%s  %s  %.4f' % (file, name.ljust(len('class')), float(probability))


def test_a_folder_means_the_images_in_it_in_natural_order(learn, place, tmp_path):
    for name in ('10.jpg', '9.JPG', 'deep/1.jpg', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(str(place / 'test' / '0-0.jpg'), str(tmp_path / name))
    rows = answers(final(learn('STL')), '--task', '0', tmp_path)
    assert [os.path.relpath(row[0], str(tmp_path)) for row in rows] == ['9.JPG', '10.jpg', 'deep/1.jpg']


def test_behind_two_signs_are_images_whatever_their_names(learn, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(str(place / 'test' / '0-0.jpg'), '--task')
    status, out, err = said(final(learn('STL')), '--task', '0', place / 'test' / '0-0.jpg', '--', '--task')
    assert (status, err) == (0, '') and out.splitlines()[2].split()[0] == '--task'


def test_photographs_are_prepared_as_those_of_the_data_set(tmp_path):
    """OfficeHome's are not shrunk by whole blocks first."""
    source, shape = gen_data.DATASETS['OfficeHome'].source, (128, 128, 3)
    content = cv2.imencode(
        '.png', random_state(0).randint(0, 256, (1030, 1030, 3)).astype(np.uint8))[1].tobytes()
    (tmp_path / 'x.png').write_bytes(content)
    found = predict._picture(source, str(tmp_path / 'x.png'), shape)
    np.testing.assert_array_equal(found, source.picture(content, shape))
    assert (found != photographs.picture(content, shape)).any()


# ---- plug-ins ----

PLUGIN = '''
import numpy as np
from classification.plugin import data_set, method, FixedPattern, tf

@data_set('Stripes', 'noise', image_shape=(8, 8, 1), tasks=[[0, 1], [1, 2]], network='digits5', scaling=None)
def made(options):
    return [np.random.RandomState(number).randint(0, 80 * number + 60, (40, 8, 8, 1)).astype(np.uint8)
            for number in range(3)]

@method('Recolour', 'a network that reads an array of the method', pattern='all')
class Recolour(FixedPattern):
    def start_task(self, task, store, draw):
        self.arrays['a mask'] = np.arange(64).reshape(8, 8, 1) % 3 > 0
        return store

    def layer_outputs(self, parameters, task, images):
        assert self.arrays['a mask'].dtype == bool
        return super(Recolour, self).layer_outputs(parameters, task, images * self.arrays['a mask'])
'''


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / 'stripes.py'
    path.write_text(PLUGIN)
    return path


def test_a_plugins_method_and_data(plugin, plugins, tmp_path, capfd):
    plugins.load(plugin)
    (tmp_path / 'run').mkdir()
    learned = trained(['Recolour', '--lifelong', '--data_type', 'Stripes'], tmp_path / 'run')
    file = tmp_path / 'x.png'
    file.write_bytes(cv2.imencode('.png', np.zeros((8, 8), np.uint8))[1].tobytes())
    question = (final(learned), '--task', '1', file)
    status, out, err = said(*question)
    assert status == 0 and 'note: each split was standardised by itself' in out.splitlines()[-1]
    assert [row[1] for row in answers(*question)] == [out.splitlines()[1].split()[1]]
    plugins.forget()
    assert 'add --plugin' in refused(*question)
    assert said(*(question + ('--plugin', plugin)))[1] == out
    plugins.forget()
    plugin.write_text(PLUGIN.replace('40, 8', '41, 8'))
    assert 'the file as it was then' in refused(*(question + ('--plugin', plugin)))


# ---- SavedModel ----

def exported(folder, images):
    """The outputs of a SavedModel."""
    with tf.Session(graph=tf.Graph()) as session:
        model = tf.saved_model.loader.load(session, ['serve'], str(folder))
        signature = model.signature_def['serving_default']
        fed = signature.inputs['images']
        assert fed.dtype == tf.uint8.as_datatype_enum
        names = {name: tensor.name for name, tensor in signature.outputs.items()}
        return session.run(names, {fed.name: images})


@pytest.mark.parametrize('words', ['LASEM_HPS', 'DEN', 'ProgNN'])
def test_a_saved_model_gives_the_same(words, learn, digits, tmp_path):
    path, (files, _) = final(learn(words, ('--data_type', 'DIGITS5'))), digits[1][1]
    rows = answers(path, *(files + ['--task', '1']))
    status, out, _ = said(path, '--task', '1', '--export', tmp_path / 'new' / 'model')
    assert status == 0 and 'its classes: 0 2, 1 3' in out
    found = exported(tmp_path / 'new' / 'model', np.stack([cv2.imread(file, 0)[..., None] for file in files]))
    np.testing.assert_array_equal(found['class'], [int(row[1]) - 2 for row in rows])
    np.testing.assert_allclose(found['probabilities'].max(axis=1), [float(row[2]) for row in rows], rtol=1e-6)


def test_images_are_answered_beside_an_export(learn, place, tmp_path):
    words = final(learn('STL')), '--task', '0', place / 'test' / '0-0.jpg'
    (tmp_path / 'empty').mkdir()
    status, out, _ = said(*(words + ('--export', tmp_path / 'empty')))
    assert status == 0 and out.startswith(said(*words)[1]) and os.listdir(str(tmp_path / 'empty'))
    assert 'exists already' in refused(*(words + ('--export', tmp_path / 'empty')))
    (tmp_path / 'file').write_text('')
    assert 'exists already' in refused(*(words + ('--export', tmp_path / 'file')))
    assert 'file/below' in refused(*(words + ('--export', tmp_path / 'file' / 'below')))


def test_a_saved_model_is_there_whole_or_not_at_all(learn, tmp_path, monkeypatch):
    class OtherDisk(object):
        """A SavedModel that can be copied only, and not all of it."""
        def move(self, source, target):
            os.mkdir(target)
            open(os.path.join(target, 'saved_model.pb'), 'w').close()
            raise OSError(28, 'No space left on device', target)
    monkeypatch.setattr(predict, 'shutil', OtherDisk())
    for folder in ('new', 'empty'):
        (tmp_path / 'empty').mkdir(exist_ok=True)
        assert 'No space left' in refused(final(learn('STL')), '--task', '0', '--export', tmp_path / folder)
    assert os.listdir(str(tmp_path)) == ['empty'] and os.listdir(str(tmp_path / 'empty')) == []


# ---- one line ----

def test_what_cannot_be_answered_is_one_line(learn, place, tmp_path):
    path, image = final(learn('STL')), place / 'test' / '0-0.jpg'
    assert 'has the tasks 0, 1' in refused(path, '--task', '2', image)
    assert 'has the tasks 0, 1' in refused(path, '--task', '-1', image)
    assert '--task' in refused(path, image)
    assert 'an image, a folder or --export' in refused(path, '--task', '0')
    assert '--wrong' in refused(path, '--task', '0', image, '--wrong')
    assert 'required: PARAMETER_FILE, --task ' in refused()
    assert 'IMAGE_OR_FOLDER: a path is needed' in refused(path, '--task', '0', image, '')
    assert 'PARAMETER_FILE: a path is needed' in refused('', '--task', '0', image)
    assert '--export: a path is needed' in refused(path, '--task', '0', '--export', '')
    assert '--plugin: a path is needed' in refused(path, '--task', '0', image, '--plugin', '')
    assert 'cannot be read' in refused(tmp_path / 'absent.mat', '--task', '0', image)
    assert 'cannot be read' in refused(path, '--task', '0', tmp_path / 'absent.png')
    (tmp_path / 'empty').mkdir()
    assert 'empty: no image in it' in refused(path, '--task', '0', tmp_path / 'empty')
    (tmp_path / 'cut.jpg').write_bytes(image.read_bytes()[:-300])
    assert 'cut.jpg is damaged or no image' in refused(path, '--task', '0', image, tmp_path / 'cut.jpg')
    mat_file.append_entry(str(tmp_path / 'result.mat'), {'fingerprint': 'x'})
    assert 'is not a parameter file' in refused(tmp_path / 'result.mat', '--task', '0', image)
    (tmp_path / 'cut.mat').write_bytes(path.read_bytes()[:-2000])
    assert 'damaged' in refused(tmp_path / 'cut.mat', '--task', '0', image)


def changed(path, target, change):
    """A copy of a parameter file with other words in it."""
    variables = mat_file.read(str(path))
    change(variables['about'])
    target.write_bytes(mat_file.encoded(variables))
    return target


@pytest.mark.parametrize('change, says', [
    (lambda about: [about.pop(name) for name in ('experiment', 'images', 'texts_checksum')],
     'train again with --saveparam'),
    (lambda about: about.update(experiment=about['experiment'].replace('"seed": 0', '"seed": 1')), 'damaged'),
    (lambda about: about.update(images=about['images'][:-9]), 'damaged'),
    (lambda about: about.update(images=[1.]), 'damaged'),
    (lambda about: about.update(state='{"patterns": {"0": "TS"}}'), 'damaged')])
def test_a_file_that_is_older_or_changed_is_one_line(change, says, learn, place, tmp_path):
    path = changed(final(learn('STL')), tmp_path / 'changed.mat', change)
    assert says in refused(path, '--task', '0', place / 'test' / '0-0.jpg')


def task_like_stl10(index):
    """Task 0: the channels in another order; task 1: noise."""
    made, parts = make_task(index), {}
    for split in gen_data.SPLITS:
        part = getattr(made, split)
        pixels, rows, swap = (
            np.concatenate([part.pixels, 0 * part.pixels, 9 + 0 * part.pixels], 3), part.rows, None)
        if index == 0:
            swap = (1, 2, 0)
        else:
            pixels = NoisyImages(pixels, rows, (0.1, 0.), lambda row: random_state(0))
            rows = np.arange(part.size)
        scale, offset = [np.repeat(array, 3) for array in (part.scale, part.offset)]
        parts[split] = part._replace(pixels=pixels, rows=rows, swap=swap, scale=scale, offset=offset)
    return made._replace(**parts)


def test_a_task_with_noise_is_refused_and_channels_in_another_order_are_not(tmp_path):
    network = env.Network(*[row[:2] for row in TRIAL_NETWORK])
    experiment = make_experiment('STL', epochs=12)._replace(data_type='STL10_15t',
                                                            net=env.build_net(network, (4, 4, 3)))
    (tmp_path / 'trial').mkdir()
    record = make_trial(experiment, tmp_path / 'trial', task=task_like_stl10,
                        parameter_folder=str(tmp_path)).run()
    path, test, files = tmp_path / 'run0' / parameter_files.FINAL, task_like_stl10(0).test, []
    for number, image in enumerate(test.pixels[test.rows]):
        files.append(tmp_path / ('%d.png' % number))
        files[-1].write_bytes(cv2.imencode('.png', image[..., ::-1])[1].tobytes())
    assert 'noise was added' in refused(path, '--task', '1', *files)
    rows = answers(path, '--task', '0', *files)
    right = np.mean([row[1] == ('dark', 'bright')[label] for row, label in zip(rows, test.labels)])
    assert right == record.accuracy_matrix[-1, 0] > 0.6
