"""operations.py counts what a step and an evaluated batch run."""
from scripts import operations


def test_a_step_does_more_than_an_evaluation_and_a_search_more_than_a_fixed_pattern():
    found = {name: operations.counts(name) for name in ('Hybrid_HPS', 'LASEM_HPS')}
    for step, batch in found.values():
        assert 0 < step[1] < step[0] and 0 < batch[1] < batch[0] < step[0]
    fixed, search = [whole - nothing for whole, nothing in (found['Hybrid_HPS'][0], found['LASEM_HPS'][0])]
    # a layer forwards, its gradients and updates; 16 patterns in one tree; TensorFlow 1.14 tells of each
    # operation twice
    assert 4 * 5 < fixed < 100 and fixed < search < 4 * fixed


def test_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(operations, 'counts', lambda name: [(12, 2), (5, 1)])
    monkeypatch.setattr('sys.argv', ['operations', '--models', 'DEN,HPS'])
    operations.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:]] == [['DEN', '10', '+', '2', '4', '+', '1'],
                                                    ['Hybrid_HPS', '10', '+', '2', '4', '+', '1']]
