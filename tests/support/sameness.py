"""Whether two runs gave the same numbers, bit for bit."""
import numpy as np

TIMES = ('training_time', 'time_per_task', 'started')      # what these names begin is not compared


def same(one, other, place):
    """Asserts that two records, results or stores are equal bit for bit, times aside."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert set(one) == set(other), place
        for key in one:
            if not key.startswith(TIMES):
                same(one[key], other[key], '%s %s' % (place, key))
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for index, pair in enumerate(zip(one, other)):
            same(pair[0], pair[1], '%s %d' % (place, index))
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), place
        assert one.tobytes() == other.tobytes(), '%s: %s is not %s' % (place, one, other)
    else:
        assert one == other, place


def same_entry(one, other):
    """Asserts that two entries of result files, which are of two runs, hold the same numbers."""
    for name in ('run_id', 'command'):
        assert one.pop(name) and other.pop(name)
    same(one, other, 'entry')


def same_result(run, calm):
    """Asserts that the result files of two runs hold the same numbers, and that these say something."""
    one = run.entry()
    same_entry(dict(one), calm.entry())
    assert len(np.unique(one['result_of_each_run'][0]['history_train_error'].round(3))) > 5      # something was learned
