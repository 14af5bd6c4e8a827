"""scripts/gpu_check.py on the CPU: a device that computes the same is fine, one with a wrong gradient or
another run is found, one that hangs ends."""
import contextlib
import io
import json
import os
import sys
import time

import numpy as np
import psutil
import pytest

from classification.results.read_results import load_results
from scripts import gpu_check, gpu_runs, gpu_steps
from utils import utils_nn as nn
from utils.utils import UserError


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp('data')
    gpu_steps.write_cifar(str(place))
    return str(place)


def faults(row):
    report = gpu_check.Report(io.StringIO())
    gpu_check.judge_steps(report, 'Hybrid_HPS on DIGITS5', row)
    return report.faults


def test_a_device_that_computes_the_same(folder):
    row = gpu_steps.compare_steps('Hybrid_HPS', 'DIGITS5', folder, False)
    assert (row['loss'], row['weights'], row['again']) == (0, 0, True) and faults(row) == []
    # nothing was launched on a GPU
    assert row['operations'] > 50 and row['kernels'] is row['bytes'] is None
    assert min(row['milliseconds'], row['images'], row['cpu_milliseconds'], row['cpu_images']) > 0


def wrong_gradient_of(number, monkeypatch):
    """In the graph of this number the first kernel's gradient is 2 % too long; the list of the graphs."""
    right, graphs = nn.apply, []

    def wrong(optimizer, loss, variables):
        graphs.append(loss.graph)
        if len(graphs) == number + 1:
            loss += 0.02 * nn.tf.reduce_sum(nn.tf.stop_gradient(nn.tf.gradients(loss, variables[0])[0])
                                            * variables[0])
        return right(optimizer, loss, variables)
    monkeypatch.setattr(nn, 'apply', wrong)
    return graphs


def test_a_wrong_gradient_is_found(folder, monkeypatch):
    graphs = wrong_gradient_of(0, monkeypatch)       # the device's
    row = gpu_steps.compare_steps('Hybrid_HPS', 'DIGITS5', folder, False)
    assert len(graphs) == 3 and any('what a few steps teach Hybrid_HPS on DIGITS5' in fault
                                    for fault in faults(row)), row
    assert row['loss'] > 0 and row['logits'] > 0 and row['again'] is False


def test_a_device_that_does_not_repeat_is_seen(folder, monkeypatch):
    wrong_gradient_of(2, monkeypatch)                # the device's second time
    row = gpu_steps.compare_steps('Hybrid_HPS', 'DIGITS5', folder, False)
    assert (row['loss'], row['weights'], row['logits'], row['again']) == (0, 0, 0, False)


def test_the_cifar_files_are_read_as_cifar_100(folder):
    from classification.gen_data import load_tasks
    task = load_tasks('CIFAR100_10', folder, 4, num_tasks=1, say=lambda line: None)[0]
    images = task.train.images()
    assert images.shape[1:] == (32, 32, 3) and set(task.train.labels) == set(range(10))
    of_class = [images[task.train.labels == label].astype(float) for label in range(2)]
    within = np.abs(of_class[0][0] - of_class[0][1]).mean()
    assert within < np.abs(of_class[0][0] - of_class[1][0]).mean()       # a pattern of its class, under noise


def test_differences_that_are_no_numbers_are_faults():
    report = gpu_check.Report(io.StringIO())
    for value in (float('nan'), float('inf'), 0.2):
        report.beyond('it', value, 0.1)
    report.beyond('it', 0.1, 0.1)
    report.beyond('it', None, 0.1)
    assert len(report.faults) == 3


@pytest.mark.parametrize('repeating, same_device, apart, is_fault', [
    (['HPS'], True, 0, False), (['HPS'], True, 0.01, True), ([], True, 0.01, False), ([], True, 0.2, True),
    (['HPS'], False, 0.01, False), (['HPS'], False, 0.2, True)])
def test_a_run_that_went_on_is_judged(repeating, same_device, apart, is_fault, monkeypatch):
    """On the same device it must give the same, if steps there do; on another nearly."""
    def result(accuracy):
        return {'result_of_each_run': [{'history_test_error': np.array([[accuracy]])}],
                'accuracy_matrix': np.array([[[accuracy]]])}
    monkeypatch.setattr(gpu_runs, 'load_results', lambda path: [result(0.5)])
    runs = gpu_runs.Runs('nowhere', 0, repeating)
    monkeypatch.setattr(runs, 'start', lambda *words: contextlib.ExitStack())
    monkeypatch.setattr(runs, 'result', lambda name, child: result(0.5 + apart))
    monkeypatch.setitem(gpu_check.MODELS, 'HPS', [])
    if same_device:
        action = lambda: runs.side_by_side('HPS')  # noqa: E731
    else:
        action = lambda: runs.beside_device_alone(result(0.5 + apart), 'HPS', False)  # noqa: E731
    if is_fault:
        with pytest.raises(UserError):
            action()
    else:
        assert ('the same' in action()) == (apart == 0)


SHORT = ['--data_type', 'DIGITS5', '--epochs_per_task', '16']


@pytest.fixture(scope='module')
def other_seed(tmp_path_factory):
    """(Runs, report) of whole runs of Hybrid_HPS on DIGITS5 on the CPU, beside runs with another seed."""
    runs = gpu_runs.Runs(str(tmp_path_factory.mktemp('runs')), -1, {'Hybrid_HPS'})
    start, report = runs.start, gpu_check.Report(io.StringIO())
    runs.start = lambda name, options, gpu: start(
        name, options + ['--seed', '1'] * name.endswith('-cpu') + ['--saveparam'], gpu)
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(gpu_steps.DATA, 'CIFAR')
        patch.setitem(gpu_steps.DATA, 'DIGITS5', SHORT)
        patch.setattr(gpu_check, 'RESUMED', ())
        gpu_check.check_runs(report, ['Hybrid_HPS'], runs)
    return runs, report


def test_a_device_whose_whole_run_differs_is_found(other_seed):
    """In the parameters, and in the accuracies of a run that went on."""
    runs, report = other_seed
    fault, = report.faults
    assert fault.startswith('what two tasks teach Hybrid_HPS on DIGITS5 differs by ')
    other = load_results(runs.path('Hybrid_HPS-DIGITS5-cpu', gpu_runs.RESULT))[0]
    with pytest.raises(UserError, match='accuracies differ by up to'):
        runs.beside_device_alone(other, 'Hybrid_HPS', True)


def test_a_run_that_is_stopped_and_goes_on_gives_the_same(other_seed, monkeypatch):
    runs, _ = other_seed
    monkeypatch.setitem(gpu_steps.DATA, 'DIGITS5', SHORT)
    assert runs.stopped('Hybrid_HPS', 'there', -1, -1) == 'the same accuracies as on the device alone'
    assert runs.weights(['there-Hybrid_HPS', 'Hybrid_HPS-DIGITS5-device']) == 0


@pytest.mark.parametrize('names, resumed', [
    (['DEN'], []), (['DARTS_HPS', 'DEN'], []), (['LASEM_HPS', 'DARTS_HPS', 'DEN'], ['LASEM_HPS']),
    (['Hybrid_HPS', 'LASEM_HPS', 'DEN'], ['Hybrid_HPS', 'LASEM_HPS'])])
def test_only_models_whose_accuracies_are_judged_are_stopped_and_resumed(names, resumed, monkeypatch):
    runs, called, report = gpu_runs.Runs('nowhere', -1, set()), [], gpu_check.Report(io.StringIO())
    row = {'accuracy': 0, 'weights': 0, 'seconds': 1, 'cpu_seconds': 1}
    monkeypatch.setattr(runs, 'pair', lambda model, data: row)
    for name in ('stopped', 'side_by_side'):
        monkeypatch.setattr(runs, name, lambda model, *more: called.append(model) or 'well')
    gpu_check.check_runs(report, names, runs)
    assert called == [name for name in resumed for _ in range(4)] and report.faults == []
    assert ('No run is stopped and resumed: the accuracies of %s are not judged' % ', '.join(names)
            in report.stream.getvalue()) == (resumed == [])


SLEEPS = ('import os, subprocess, sys, time\n'
          'child = subprocess.Popen(["sleep", "60"])\n'
          'with open(%r, "w") as stream:\n'
          '    stream.write("%%d %%d" %% (os.getpid(), child.pid))\n'
          'os.rename(%r, %r)\n'
          'time.sleep(60)\n')


def ended(number):
    """Whether the process of this number is killed, which takes a moment, or is gone."""
    try:
        for _ in range(100):
            if psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.02)
    except psutil.NoSuchProcess:
        return True
    return False


@pytest.fixture
def sleeps(tmp_path, monkeypatch):
    """(words of Python that hang, with a process of their own; function: whether both are gone)."""
    monkeypatch.setattr(gpu_runs, 'SECONDS', 2)
    path = str(tmp_path / 'numbers')

    def gone():
        with open(path) as stream:
            return all(map(ended, map(int, stream.read().split())))
    return SLEEPS % (path + '~', path + '~', path), gone


def test_a_run_that_fails_ends_the_run_beside_it(sleeps, monkeypatch, tmp_path):
    words, gone = sleeps
    (tmp_path / 'main.py').write_text(
        u'import os, sys, time\n'
        u'while "-device" in " ".join(sys.argv):\n'
        u'    if os.path.exists("numbers"):\n'
        u'        sys.exit("no card")\n'
        u'    time.sleep(0.01)\n' + words)
    monkeypatch.setattr(gpu_runs, 'ROOT', str(tmp_path))
    monkeypatch.setattr(gpu_runs, 'SECONDS', 30)
    with pytest.raises(UserError, match='it ended with exit status 1: no card'):
        gpu_runs.Runs(str(tmp_path), -1, set()).pair('DEN', 'DIGITS5')
    assert gone()


def test_a_run_that_hangs_is_killed(sleeps, monkeypatch, tmp_path):
    words, gone = sleeps
    (tmp_path / 'main.py').write_text(words)
    monkeypatch.setattr(gpu_runs, 'ROOT', str(tmp_path))
    with pytest.raises(UserError, match='it had not ended after 2 s'):
        gpu_runs.Runs(str(tmp_path), -1, set()).side_by_side('DEN')
    assert gone()


def test_a_driver_that_hangs_is_one_line(sleeps, monkeypatch, tmp_path):
    words, gone = sleeps
    (tmp_path / 'nvidia-smi').write_text('#!%s\n%s' % (sys.executable, words))
    (tmp_path / 'nvidia-smi').chmod(0o755)
    monkeypatch.setenv('PATH', '%s:%s' % (tmp_path, os.environ['PATH']))
    assert gpu_check.driver_says() == ['nvidia-smi: it neither printed a line nor ended in 2 s'] and gone()


def steps_that(words, monkeypatch, tmp_path):
    """What `check_steps` says and returns, or raises, of a process that runs these words of Python."""
    (tmp_path / 'steps.py').write_text(words)
    monkeypatch.setattr(gpu_check.gpu_steps, '__file__', str(tmp_path / 'steps.py'))
    report = gpu_check.Report(io.StringIO())
    return report, gpu_check.check_steps(report, ['DEN'], str(tmp_path), -1)


ROW = ('import json, sys\n'
       'row = dict(loss=0, weights=0, logits=0, again=%s, milliseconds=1, cpu_milliseconds=1, images=1, '
       'cpu_images=1, operations=1, kernels=None, bytes=None)\n'
       'print(json.dumps(row))\n')


def test_a_device_that_cannot_be_tried_is_one_line(monkeypatch, tmp_path):
    with pytest.raises(UserError) as caught:
        steps_that('import sys\nsys.exit(sys.stderr.write("error: no card\\n") and 2)', monkeypatch, tmp_path)
    assert str(caught.value) == 'no card'


def test_steps_that_end_early_are_a_fault(monkeypatch, tmp_path):
    for words in (ROW % True, ROW % True + 'sys.exit(1)\n', 'import sys\nsys.exit(139)\n'):
        report, _ = steps_that(words, monkeypatch, tmp_path)
        assert len(report.faults) == 1 and 'DEN on' in report.faults[0]


def test_steps_that_hang_are_a_fault(sleeps, monkeypatch, tmp_path):
    words, gone = sleeps
    report, _ = steps_that(ROW % True + 'sys.stdout.flush()\n' + words, monkeypatch, tmp_path)
    assert report.faults == ['DEN on CIFAR: it neither printed a line nor ended in 2 s'] and gone()


@pytest.mark.parametrize('words, where', [
    ('print("a library talks")\n', 'DEN on DIGITS5'), ('print(3)\n', 'DEN on DIGITS5'),
    (3 * (ROW % True), 'the steps on all data')])
def test_a_line_that_is_no_row_is_a_fault(words, where, sleeps, monkeypatch, tmp_path):
    report, _ = steps_that(words + 'import sys\nsys.stdout.flush()\n' + sleeps[0], monkeypatch, tmp_path)
    fault, = report.faults
    assert fault.startswith(where + ': it printed what is no row of the table: ')


@pytest.mark.parametrize('first, second, repeating', [(True, True, {'DEN'}), (True, False, set()),
                                                      (False, True, set())])
def test_models_repeat_where_all_their_steps_do(first, second, repeating, monkeypatch, tmp_path):
    report, found = steps_that(ROW % first + ROW % second, monkeypatch, tmp_path)
    assert report.faults == [] and found == repeating


@pytest.mark.parametrize('faults, status', [([], 0), (['one'], 1)])
def test_the_exit_status_and_the_file(faults, status, monkeypatch, tmp_path, capsys):
    def check(report, names, gpu):
        report.say('checked %s on %d' % (json.dumps(names), gpu))
        for fault in faults:
            report.fault(fault)
    monkeypatch.setattr(gpu_check, 'check', check)
    monkeypatch.setattr(sys, 'argv', ['gpu_check', '--gpu', '-1', '--models', 'DEN,HPS', '--report',
                                      str(tmp_path / 'said.txt')])
    assert gpu_check.main() == status
    said = capsys.readouterr().out
    assert said == (tmp_path / 'said.txt').read_text() and 'checked ["Hybrid_HPS", "DEN"] on -1' in said


@pytest.mark.parametrize('words, says', [
    ('--gpu -2', '--gpu -2: -1 (the CPU) or a number from 0 on is needed'), ('--models ENTROPY', 'ENTROPY'),
    ('--models DEN,STL', '--models STL: it is not among those that are checked'),
    ('--report /nowhere/at/all.txt', '/nowhere/at/all.txt')])
def test_a_mistake_is_one_line_and_status_2(words, says, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, 'check', lambda *arguments: pytest.fail('it began'))
    monkeypatch.setattr(sys, 'argv', ['gpu_check'] + words.split())
    with pytest.raises(SystemExit) as end:
        sys.exit(gpu_check.main())
    _, err = capsys.readouterr()
    assert end.value.code == 2 and err.startswith('error: ') and err.count('\n') == 1 and says in err
