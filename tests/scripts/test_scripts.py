"""The command lines of scripts/: a wrong option is answered in one line, before anything is trained or
started."""
import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from tests.support.tiny import NET

SLURM = 'slurm_dask'
WRONG = [
    ('study', '--result_dir nowhere',
     'nowhere has no study_*.mat with Garments; scripts/study.sh makes them'),
    ('bench', '--models HPS,ENTROPY', '--model_type ENTROPY is not known'),
    ('bench', '--one ENTROPY', "argument --one: invalid choice: 'ENTROPY'"),
    ('bench', '--threads 0', 'argument --threads: 0: at least 1 is needed'),
    (SLURM, '--workers 0', 'argument --workers: 0: at least 1 is needed'),
    (SLURM, '--hours 0', 'argument --hours: 0: at least 1 is needed'),
    (SLURM, '--cores none', "argument --cores: invalid whole number value: 'none'")]


@pytest.mark.parametrize('script, options, says', WRONG)
def test_a_wrong_option_is_one_line_and_status_2(script, options, says, monkeypatch, capsys):
    if script == SLURM:
        monkeypatch.setitem(sys.modules, 'dask_jobqueue', ModuleType('dask_jobqueue'))
    monkeypatch.setattr(sys, 'argv', [script] + options.split())
    with pytest.raises(SystemExit) as end:
        importlib.import_module('scripts.' + script).main()
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, '') and err.startswith('error: ') and err.count(
        '\n') == 1 and says in err, err


@pytest.mark.parametrize('model', ['Hybrid_HPS', 'LASEM_HPS'])
def test_bench_measures(model, monkeypatch, capsys):
    bench, random_trials = [importlib.import_module('scripts.' + name) for name in ('bench', 'random_trials')]
    monkeypatch.setattr(bench, '_net', lambda: NET)
    monkeypatch.setattr(bench, 'beside_torch', lambda stepper, net, threads: None)
    for module in (bench, random_trials):
        monkeypatch.setattr(module, 'TASKS', (1, 2))
    row = bench.measure(model, 1)
    assert row['name'] == model and len(row['epochs']) == 2
    assert (min(row['step'] + row['evaluation']) > 0 and min(row['epochs'] + row['one']) > 0
            and row['memory'] > 50)
    if model == 'LASEM_HPS':        # its own bare operations are those of 8 patterns
        assert row['step'][0] > 1.2 * row['step'][1]
    bench.print_row(row)
    assert capsys.readouterr().out.split()[:2] == [model, '%.2f' % row['step'][0]]


def test_bench_compares_by_hand(monkeypatch):
    """Steps of 10 ms, batches of 20 ms and of 500 images: 17 steps and 1200 images are an epoch."""
    bench = importlib.import_module('scripts.bench')
    monkeypatch.setattr(bench, '_milliseconds', lambda actions, times_each: np.array([[10.] * 3, [20.] * 3]))
    one = SimpleNamespace(step=SimpleNamespace(run=None), evaluation=SimpleNamespace(run=None), evaluated=500)
    np.testing.assert_allclose(bench.OneNetwork.epoch(one), [.17, .048])
    assert bench._ratio(np.array([2., 6., 9.]), np.array([1., 2., 9.])) == 2.


def test_bench_takes_some_models(monkeypatch):
    bench, measured = importlib.import_module('scripts.bench'), []
    monkeypatch.setattr(bench, 'bench_models', lambda names, threads: measured.append((list(names), threads)))
    monkeypatch.setattr(sys, 'argv', ['bench', '--models', 'HPS,den', '--threads', '3'])
    bench.main()
    assert measured == [(['Hybrid_HPS', 'DEN'], 3)]
