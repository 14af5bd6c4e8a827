"""How many trials train at a time on this machine, and with how many CPU threads each.

The rule of `--jobs auto`, without a GPU: as many trials as there are to train, cores and memory for, and the
cores divided among them. One trial's threads wait for each other at every operation, trials for nothing; the
measurements are in docs/measurements.md.
"""
from typing import NamedTuple, Optional

import numpy as np
import psutil

from classification import gen_data
from utils.cores import cores, memory
from utils.utils import plural

# Main memory of a trial's process, in bytes: libraries, session and buffers; then for each parameter of an
# independent network per task: value, gradient, optimizer slot, what a search tries, copies in NumPy.
LIBRARIES, OF_PARAMETER = 900e6, 60.


class Plan(NamedTuple):
    """What was decided."""
    jobs: int
    threads: Optional[int]      # of a trial; None: all that a worker of a cluster finds
    line: str = ''              # why, for the user, where it was not asked for


def choose(flags, experiment, begun, missing):
    """Plan for the trials of a command.

    Args:
        flags: namespace of main.py's parser.
        experiment: Experiment.
        begun: config.json of the experiment; {} where it was not begun.
        missing: how many trials are to be trained.
    """
    threads = flags.threads or _stored(begun)
    if flags.scheduler is not None:
        return Plan(flags.jobs or 1, flags.threads)
    ours = cores()
    if flags.jobs or flags.gpu != (-1,):
        jobs = flags.jobs or 1
        return Plan(jobs, threads or max(1, ours // jobs))
    jobs, why = max(1, min(missing, ours // (threads or 1))), ''
    if jobs > 1:
        room = max(1, int(available() // memory_of_trial(experiment, flags.data_dir)))
        why = ', memory for %s' % plural(room, 'trial') if room < jobs else ''
        jobs = min(jobs, room)
    threads = threads or max(1, ours // jobs)
    return Plan(jobs, threads, '' if jobs == 1 else '%s at a time, with %s each (%s%s; --jobs and --threads '
                'say it otherwise)' % (plural(jobs, 'trial'), plural(threads, 'thread'), plural(ours, 'core'),
                                       why))


def _stored(begun):
    """Threads of the trials of an experiment that was begun; None: not known."""
    threads = begun.get('settings', {}).get('threads')
    return threads if isinstance(threads, int) and threads > 0 else None


def available():
    """Bytes of main memory that are free for this process."""
    return min([psutil.virtual_memory().available] + list(memory()))


def memory_of_trial(experiment, data_dir):
    """Bytes of main memory that a trial needs, by a rule of thumb on the safe side."""
    net, width, parameters = experiment.net, experiment.net.num_features, 0
    for layer in net.layers:
        parameters += layer.kernel ** 2 * layer.in_channels * layer.out_channels
    for size in net.hidden:
        parameters, width = parameters + width * size, size
    labels = gen_data.index_of(experiment.data_type, data_dir).labels
    images = sum(map(len, labels.values())) * int(np.prod(net.image_shape))
    return LIBRARIES + OF_PARAMETER * parameters * len(experiment.class_counts) + images
