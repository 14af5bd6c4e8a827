"""One trial as a child process: it reads the run folder, trains, and leaves its record in the trial folder.

It speaks to its parent in lines of JSON on stdout, and stops when the parent does (its stdin closes).
"""
import contextlib
import json
import os
import threading
import time
import traceback

from classification.data import raw_checksums, splits_file
from classification.experiment import tensor_factors
from classification.results import parameter_files
from classification.runs.trial_state import StateFile
from utils.cores import cores
from utils.locks import Held, Lock
from utils.utils import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    UserError,
    error_text,
    show,
    take_signals,
    write_atomically,
)

CONFIG, RECORD, LOG = 'config.json', 'record.npz', 'log.txt'
HEARTBEAT_FILE = '.sign_of_life'      # of a command whose trials run on a cluster; see cluster.py
LOCK_SECONDS = 30          # a killed parent's child needs a moment to notice
GRACE_SECONDS = 25         # how long a child without a parent may take to reach its next checkpoint


def trial_folder(run_folder, number):
    """Where a trial's checkpoint and record are."""
    return os.path.join(run_folder, 'trial%d' % number)


def lock_of(folder):
    """Path of the lock on a run folder or a trial folder."""
    return os.path.join(folder, '.lock')


def hold(folder, what, say, seconds=None):
    """A held lock on a folder: Lock.

    Args:
        what: it is that the folder holds.
        say: function of one line for the user, who is told if it takes long.
        seconds: to wait for it, LOCK_SECONDS by default.
    Raises:
        UserError: another process holds it, named by its pid and host.
        OSError: the folder cannot be written.
    """
    try:
        return Lock(lock_of(folder)).acquire(
            LOCK_SECONDS if seconds is None else seconds,
            lambda holder, limit: say('%s holds %s; waiting up to %d seconds' % (holder, folder, limit)))
    except Held as holder:
        raise UserError('%s is already running: %s holds %s' % (what, holder, folder)) from holder


def log_line(run_folder, line):
    """Appends a line with the time to the run's log, if the disk takes it:
    no trial ends for want of a log."""
    with contextlib.suppress(OSError), open(os.path.join(run_folder, LOG), 'a', encoding='utf-8',
                                                  errors='backslashreplace') as stream:
        stream.write('%s %s\n' % (time.strftime('%Y-%m-%d %H:%M:%S'), line))


class Stop(object):
    """Whether the trial should stop at the next epoch boundary: a signal came, or the parent is gone."""

    def __init__(self):
        self.asked = False
        take_signals(self._signalled)
        watcher = threading.Thread(target=self._watch)
        watcher.daemon = True
        watcher.start()

    def _signalled(self, number, frame):
        self.asked = True

    def _watch(self):
        while os.read(0, 1024):
            pass
        self.asked = True
        time.sleep(GRACE_SECONDS)
        os._exit(EXIT_INTERRUPTED)

    def __call__(self):
        return self.asked


def send(**what):
    """Says something to the parent."""
    show(json.dumps(what))      # if the parent is gone the watcher sees to the rest


def run_trial_process(run_folder, number, lock_seconds=None, stop=None):
    """Runs a trial of the experiment in `run_folder`; returns the exit status.

    Args:
        lock_seconds: to wait for the trial's folder, LOCK_SECONDS by default.
        stop: function -> whether to stop at the next epoch boundary; a Stop by default.
    """
    stop = stop or Stop()
    folder = trial_folder(run_folder, number)
    try:
        lock = hold(folder, 'trial %d of this experiment' % number, lambda line: send(note=line),
                    lock_seconds)
        state = StateFile(folder, lock.still_mine)
        try:
            train_trial(run_folder, folder, number, stop,
                        lambda: lock.check('trial %d of this experiment' % number), state)
        except Exception as error:
            state.end_by(_reason(error))
            raise
        finally:
            lock.release()
        return 0
    except UserError as error:
        send(error=str(error))
        return EXIT_USER_ERROR
    except Exception as error:      # the parent says it in one line; the log keeps the rest
        reason = _reason(error)
        if reason is None:
            return EXIT_INTERRUPTED
        log_line(run_folder, 'trial %d failed: %s\n%s' % (number, reason, traceback.format_exc()))
        send(failed=reason)
        return EXIT_FAILED


def _reason(error):
    """Why a trial failed with this exception, in a line; None: it was interrupted."""
    if isinstance(error, UserError):
        return str(error)
    from classification.train import Interrupted, TrialFailed
    if isinstance(error, Interrupted):
        return None
    return str(error) if isinstance(error, TrialFailed) else error_text(error)


def _given(experiment, path):
    """What the variables start from: the tensor factors that --tensorfactor_param_path names."""
    if 'tensorfactor' not in experiment.analyses:
        return None
    values = tensor_factors.tensor_factors(path, experiment.net)
    if parameter_files.checksum(values) != experiment.analyses['tensorfactor']:
        raise UserError('%s was changed while the experiment ran; start the experiment again' % path)
    return values


def _open_device(settings, threads):
    """(ConfigProto of the sessions, name of the device, how many evaluation batches of a CPU it takes).

    Tells the command which GPU it is, or that there is none.
    """
    from utils import gpu, runtime
    from utils.utils_env_cl import EVALUATION_BATCH_GPU
    asked = min(settings['gpu']) >= 0
    config = runtime.session_config(threads, asked, settings['gpu_memory_fraction'])
    known = gpu.find(config) if asked else None
    if known is not None:
        send(device=known)
        gpu.check(config, known)
        return config, known.get('name', 'GPU'), EVALUATION_BATCH_GPU
    if asked:
        send(note='--gpu %s: this TensorFlow sees no usable GPU; training on the CPU'
             % ','.join(map(str, settings['gpu'])))
    return config, 'CPU', 1


def train_trial(run_folder, folder, number, stop, check_lock, state):
    """Trains a trial of the experiment in `run_folder` and leaves its record in `folder`.

    Args:
        stop: function -> whether to stop at the next epoch boundary.
        check_lock: function that raises a UserError once another process holds the folder.
        state: StateFile of the trial.
    """
    with open(os.path.join(run_folder, CONFIG)) as stream:
        config = json.load(stream)
    from classification import gen_data
    from classification.experiment import compositions, plugin_files
    from classification.runs import provenance
    from classification.trial import checkpoint
    plugin_files.load_kept(run_folder, config.get('plugins', ()))
    from classification.experiment.experiment import Experiment
    from classification.train import Trial
    from classification.trial.context import TrialContext
    experiment, settings = Experiment.from_json(json.dumps(config['experiment'])), config['settings']

    gen_data.choose_options(experiment.data_type, experiment.data_options, settings.get('images'),
                            len(experiment.class_counts), config.get('tasks'))

    def log(line):
        log_line(run_folder, line)

    def tell(**what):
        if 'epoch' in what:
            state.epoch(**what)
        send(**what)

    threads = settings['threads'] or cores()
    session, device, evaluation_factor = _open_device(settings, threads)
    made_here = provenance.of_trial(experiment, config.get('origin'), device, threads,
                                    gen_data.folder_of(experiment.data_type, settings['data_dir']))
    raw_checksums.take(run_folder)
    composition = compositions.of_trial(experiment, run_folder, config.get('splits', {}), number)
    tasks = _load(experiment, number, settings['data_dir'], composition,
                  os.path.join(folder, splits_file.FILE))
    context = TrialContext(
        folder, session, minutes=settings['checkpoint_minutes'], log=log, send=tell, stopping=stop,
        graph_folder=settings['graph_folder'] if number == 0 else None,
        parameter_folder=settings['parameter_folder'],
        evaluation_factor=evaluation_factor,
        scalar_folder=folder if settings['tensorboard'] else None, origin=made_here,
        # which decide, beside the method, what its seconds are
        share={'jobs': settings['jobs'], 'threads': threads}, check_lock=check_lock)
    trial = Trial(experiment, number, tasks, context, _given(experiment, settings['tensorfactor_file']))
    record = trial.run()
    check_lock()
    _save(folder, record, trial.experiment.task_order)
    state.finish(record.training_time)
    checkpoint.remove(checkpoint.path_in(folder), but_the_last=settings.get('end_states', False))
    log('trial %d: finished' % number)


def _load(experiment, number, data_dir, composition, keep):
    """The tasks of a trial, of the data that the experiment began with."""
    from classification import gen_data
    return gen_data.load_tasks(
        experiment.data_type, data_dir, experiment.data_percent, experiment.seed, number,
        experiment.normalize, len(experiment.class_counts), say=lambda line: send(note=line),
        expected=experiment.checksums, composition=composition, keep=keep)


def _save(folder, record, task_order):
    """Writes the record of a trial, last of all, and its tables for people."""
    from classification.results import texts
    from classification.results.trial_record import save_record
    for name, text in (('accuracy_matrix.csv', texts.accuracy_matrix_csv(record)),
                       ('history.csv', texts.history_csv(record, task_order)),
                       ('epochs.csv', texts.epochs_csv(record, task_order))):
        write_atomically(os.path.join(folder, name), text, alone=True)
    save_record(os.path.join(folder, RECORD), record)
