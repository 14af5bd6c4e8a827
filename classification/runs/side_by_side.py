"""How many trials train at a time on this machine, and with how many CPU threads each.

The rule of `--jobs auto`, without a GPU: as many trials as there are to train, cores and memory for, and the
cores divided among them. One trial's threads wait for each other at every operation, trials for nothing; the
measurements are in docs/measurements.md.
"""
from typing import NamedTuple, Optional, Tuple

import numpy as np
import psutil

from classification import gen_data
from classification.data.task_rows import designed
from classification.experiment import compositions
from classification.model.registry import method_of
from utils.cores import cores, memory
from utils.utils import plural
from utils.utils_env_cl import ACTIVATION_BYTES

# Main memory of a trial's process, in bytes: libraries and session; for each parameter of an independent
# network per task: value, gradient, optimizer slot, what a search tries, copies in NumPy; for each value that
# a method has beside it, and that is not of the task that is learned: copies in NumPy only.
LIBRARIES, OF_PARAMETER, OF_STORED = 900e6, 60., 12.


class Plan(NamedTuple):
    """What was decided."""
    jobs: int
    threads: Optional[int]      # of a trial; None: all that a worker of a cluster finds
    kept: Optional[int]         # the threads that the experiment keeps for other commands; None: not known
    memory: Optional[float]     # bytes that a trial needs; None: they did not matter
    lines: Tuple[str, ...]      # for the user: why, where it was not asked for


def choose(flags, stored, missing, memory_needed):
    """Plan for the trials of a command.

    Args:
        flags: namespace of main.py's parser.
        stored: threads with which the experiment, or a shorter one that it continues, was begun; None: not
            known.
        missing: how many trials are to be trained.
        memory_needed: function that gives the bytes of main memory of a trial; None: not known.
    """
    threads, needed, lines = flags.threads or stored, None, ()
    if flags.threads and stored and flags.threads != stored:
        lines = ('note: --threads %d: this experiment was begun with %s per trial; the last bits of numbers '
                 'may differ' % (flags.threads, plural(stored, 'thread')),)
    if flags.scheduler is not None:
        return Plan(flags.jobs or 1, flags.threads, threads, None, lines)
    ours = cores()
    if flags.jobs or flags.gpu != (-1,):
        jobs = flags.jobs or 1
        threads = threads or max(1, ours // jobs)
        return Plan(max(1, min(jobs, missing)), threads, threads, None, lines)
    jobs, why = max(1, min(missing, ours // (threads or 1))), ''
    if jobs > 1:
        needed = memory_needed()
        room = jobs if needed is None else max(1, int(available() // needed))
        why = ', memory for %s' % plural(room, 'trial') if room < jobs else ''
        jobs = min(jobs, room)
    threads = threads or max(1, ours // jobs)
    if jobs > 1:
        lines += ('%s at a time, with %s each (%s%s; --jobs and --threads say it otherwise)' % (
            plural(jobs, 'trial'), plural(threads, 'thread'), plural(ours, 'core'), why),)
    return Plan(jobs, threads, threads, needed, lines)


def stored_threads(config):
    """Threads of the trials of an experiment that was begun.

    Args:
        config: its config.json.
    Returns:
        None: not known.
    """
    settings = config.get('settings', {})
    # on a cluster `threads` is what was asked for; earlier versions have it alone
    return next((threads for threads in (settings.get('kept_threads'), settings.get('threads'))
                 if isinstance(threads, int) and threads > 0), None)


def available():
    """Bytes of main memory that are free for this process."""
    return min([psutil.virtual_memory().available] + list(memory()))


def memory_of_trial(experiment, flags):
    """Bytes of main memory that a trial needs, by a rule of thumb on the safe side.

    Args:
        flags: namespace of main.py's parser, for where the data are.
    """
    given = compositions.given_splits(flags, experiment.data_type, gen_data.DATASETS[experiment.data_type])
    trials = compositions.sizes_of_trials(flags, experiment.data_type, experiment.data_percent, given)
    labels = gen_data.index_of(experiment.data_type, flags.data_dir).labels
    return LIBRARIES + parameter_bytes(experiment) + batch_bytes(experiment) + max(
        image_bytes(experiment, sum(map(len, labels.values())), images) + kept_bytes(experiment, images)
        for images in ([sum(size[2:]) for size in sizes if size[0] in experiment.tasks] for sizes in trials))


def parameter_bytes(experiment):
    """Of the parameters, as OF_PARAMETER and OF_STORED say."""
    net, width, parameters = experiment.net, experiment.net.num_features, 0
    for layer in net.layers:
        parameters += layer.kernel ** 2 * layer.in_channels * layer.out_channels
    for size in net.hidden:
        parameters, width = parameters + width * size, size
    tasks, beside = len(experiment.class_counts), method_of(experiment).values_beside_network()
    return OF_PARAMETER * (parameters * tasks + beside) + OF_STORED * beside * (tasks - 1)


def batch_bytes(experiment):
    """Of the maps of a batch: a training step holds all of them, each also before its ReLU and as a gradient;
    evaluation what one layer reads and gives."""
    net = experiment.net
    maps = [size * layer.pool ** 2 for size, layer in zip(net.map_sizes, net.layers)]     # not pooled yet
    copies = method_of(experiment).copies()
    trained = 3 * experiment.training.batch_size * sum(count * size for count, size in zip(copies, maps))
    return 4 * max(trained, 2 * experiment.evaluation_batch * max(maps))


def image_bytes(experiment, stored, images):
    """Of the images as they are stored, and of a copy with noise, which a trial may keep of each.

    Args:
        stored: images of the data set.
        images: of each task.
    """
    noisy = sum(images) if gen_data.DATASETS[experiment.data_type].cut is designed else 0
    return (stored + noisy) * int(np.prod(experiment.net.image_shape))


def kept_bytes(experiment, images):
    """Of the constant maps that evaluation keeps; `images` as above."""
    return min(ACTIVATION_BYTES, 4 * method_of(experiment).most_kept(images))
