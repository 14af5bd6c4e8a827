"""Accuracies of a trial as TensorBoard's scalars."""
import glob
import os
import time

import numpy as np

from classification.results.trial_record import SPLITS
from utils.lazy_tensorflow import tf

PREFIX = 'events.out.tfevents.'


class Scalars(object):
    """The event file of one trial, whose steps are the rows of its history: 0 untrained, then one per epoch.

    A resumed trial writes the file anew from its history, so it never holds an epoch twice, nor one that was
    lost.

    Args:
        folder: of the trial; event files of earlier attempts are removed.
    Raises:
        tf.errors.OpError, OSError: the folder cannot be written.
    """

    def __init__(self, folder):
        for path in glob.glob(os.path.join(glob.escape(folder), PREFIX + '*')):
            os.remove(path)
        self.written = self.learned = 0
        self.writer = tf.python_io.TFRecordWriter(os.path.join(folder, '%s%010d.trial'
                                                               % (PREFIX, time.time())))
        self._event(file_version='brain.Event:2')

    def _event(self, **fields):
        self.writer.write(tf.Event(wall_time=time.time(), **fields).SerializeToString())

    def write(self, rows, best_test):
        """Adds the rows that are new.

        Args:
            rows: list of accuracies [tasks, SPLITS]; NaN, a task that is not learned or not evaluated, is
                left out, and so is the mean where one is not evaluated.
            best_test: per row, test accuracy of the running task at its best validation epoch so far.
        """
        for step in range(self.written, len(rows)):
            values = [tf.Summary.Value(tag='test_accuracy_at_best_validation_epoch',
                                       simple_value=best_test[step])]
            for split, name in enumerate(SPLITS):
                learned = [task for task, value in enumerate(rows[step][:, split]) if not np.isnan(value)]
                values += [tf.Summary.Value(tag='%s_accuracy/task%d' % (name, task),
                                            simple_value=rows[step][task, split])
                           for task in learned]
                self.learned = max(self.learned, len(learned))
                if len(learned) == self.learned > 0:        # a mean over some of them would be another number
                    values.append(tf.Summary.Value(tag='%s_accuracy/mean' % name,
                                                   simple_value=np.mean(rows[step][learned, split])))
            self._event(step=step, summary=tf.Summary(value=values))
        self.written = len(rows)
        self.writer.flush()

    def close(self):
        """Nothing is written afterwards."""
        self.writer.close()
