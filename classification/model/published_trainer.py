"""What the authors' release writes of methods that it trains with a loop of their own."""
import numpy as np

VALID = 1      # place of the validation accuracy in TrialRecord.accuracy


def best_epoch_fields(record, task_order):
    """Fields of the run's struct: the mean over positions of the best validation accuracy in the position's
    own rows, and a 0.0 where `peak_accuracy` holds the number.

    Args:
        record: results.TrialRecord.
        task_order: data-set index of the task at each position.
    """
    starts = np.asarray(record.task_changed_epoch)
    own = np.split(record.accuracy[starts[0]:, :, VALID], starts[1:] - starts[0])
    best = [rows[:, task].max() for rows, task in zip(own, task_order)]
    return {'best_validation_error': float(np.mean(best)), 'test_error_at_best_epoch': 0.}
