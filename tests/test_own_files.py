"""Own images are trained as a data set is; `make test-all` compares more (tests/own_files.py)."""
from classification import gen_data
from tests import own_files


def test_fashion_mnist_as_files_has_the_histories_of_fashion5(tmp_path, monkeypatch):
    monkeypatch.setitem(gen_data.DATASETS, 'Images', gen_data.DATASETS['Images'])
    assert own_files.differing_histories(
        ['--model_type', 'STL', '--num_tasks', '2', '--epochs_per_task', '1'], tmp_path) == []
