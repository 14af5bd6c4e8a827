"""What a task costs beside its epochs: whose time is whose, and a trial that is measured."""
import pytest

from scripts import task_start
from scripts.task_start import EPOCHS, FIRST, GRAPHS, STEP, Parts, position_seconds, table


def test_the_time_of_a_part_is_without_that_of_the_parts_inside():
    now = [0.]
    parts = Parts(lambda: now[0])

    def wait(seconds, then=lambda: None):
        now[0] += seconds
        then()
    parts.measured('outer', wait, 1., lambda: parts.measured('inner', wait, 2., lambda: parts.measured(
        'outer', wait, 4.)))
    assert parts.seconds == {'outer': 5., 'inner': 2.}


def test_the_table_has_all_seconds_and_those_beside_the_epochs():
    found = [{GRAPHS: 1., FIRST[STEP]: 2., STEP: 4.}, {GRAPHS: 8., STEP: 16.}, {STEP: 32.}]
    lines = {line[:28].strip(): line[28:].split() for line in table(found)}
    assert lines['seconds'] == ['trial', 'task', '1', 'task', '2', 'task', '3']
    assert lines[GRAPHS] == ['9.00', '1.000', '8.000', '0.000']
    assert lines['all but %s and %s' % EPOCHS] == ['11.00', '3.000', '8.000', '0.000']


def test_every_part_of_a_trial_is_seen(monkeypatch):
    monkeypatch.setitem(task_start.IMAGES, 'digits', ('digits5', (8, 8, 1), (20, 4, 4)))
    found = position_seconds('Hybrid_HPS', 'digits', 2, 2, 1)
    assert len(found) == 2
    for position in found:
        assert set(position) >= {GRAPHS, STEP} | set(EPOCHS) | set(FIRST.values())
        assert min(position.values()) >= 0


@pytest.mark.parametrize('options, says', [('--tasks 0', 'at least 1'), ('--images mnist', 'invalid choice')])
def test_a_wrong_option_ends_it(options, says, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['task_start'] + options.split())
    with pytest.raises(SystemExit) as end:
        task_start.main()
    assert end.value.code == 2 and says in capsys.readouterr().err
