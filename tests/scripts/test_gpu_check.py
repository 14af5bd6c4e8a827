"""scripts/gpu_check.py on the CPU: a device that computes the same is fine, one with a wrong gradient is
found."""
import json
import sys

import numpy as np
import pytest

from scripts import gpu_check
from utils import utils_nn as nn


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp('data')
    gpu_check.write_cifar(str(place))
    return str(place)


def faults(row):
    report = gpu_check.Report()
    gpu_check.judge_steps(report, 'Hybrid_HPS on DIGITS5', row)
    return report.faults


def test_a_device_that_computes_the_same(folder):
    row = gpu_check.compare_steps('Hybrid_HPS', 'DIGITS5', folder, False)
    assert (row['loss'], row['weights'], row['again']) == (0, 0, True) and faults(row) == []
    # nothing was launched on a GPU
    assert row['operations'] > 50 and row['kernels'] is row['bytes'] is None
    assert min(row['milliseconds'], row['images'], row['cpu_milliseconds'], row['cpu_images']) > 0


def test_a_wrong_gradient_is_found(folder, monkeypatch):
    right, graphs = nn.apply, []

    def wrong(optimizer, loss, variables):
        """In the first graph, the device's: the first kernel's gradient is 2 % too long."""
        graphs.append(loss.graph)
        if loss.graph is graphs[0]:
            loss += 0.02 * nn.tf.reduce_sum(nn.tf.stop_gradient(nn.tf.gradients(loss, variables[0])[0])
                                            * variables[0])
        return right(optimizer, loss, variables)
    monkeypatch.setattr(nn, 'apply', wrong)
    row = gpu_check.compare_steps('Hybrid_HPS', 'DIGITS5', folder, False)
    assert len(graphs) == 3 and any('what a few steps teach Hybrid_HPS on DIGITS5' in fault
                                    for fault in faults(row)), row


def test_the_cifar_files_are_read_as_cifar_100(folder):
    from classification.gen_data import load_tasks
    task = load_tasks('CIFAR100_10', folder, 4, num_tasks=1, say=lambda line: None)[0]
    images = task.train.images()
    assert images.shape[1:] == (32, 32, 3) and set(task.train.labels) == set(range(10))
    of_class = [images[task.train.labels == label].astype(float) for label in range(2)]
    within = np.abs(of_class[0][0] - of_class[0][1]).mean()
    assert within < np.abs(of_class[0][0] - of_class[1][0]).mean()       # a pattern of its class, under noise


def test_differences_that_are_no_numbers_are_faults():
    report = gpu_check.Report()
    for value in (float('nan'), float('inf'), 0.2):
        report.beyond('it', value, 0.1)
    report.beyond('it', 0.1, 0.1)
    report.beyond('it', None, 0.1)
    assert len(report.faults) == 3


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
    ('--report /nowhere/at/all.txt', '/nowhere/at/all.txt')])
def test_a_mistake_is_one_line_and_status_2(words, says, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, 'check', lambda *arguments: pytest.fail('it began'))
    monkeypatch.setattr(sys, 'argv', ['gpu_check'] + words.split())
    with pytest.raises(SystemExit) as end:
        sys.exit(gpu_check.main())
    _, err = capsys.readouterr()
    assert end.value.code == 2 and err.startswith('error: ') and err.count('\n') == 1 and says in err
