"""Trials as child processes of one command: it starts them, passes on what they say, and stops them."""
import contextlib
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

from classification.runs import trial_state
from classification.runs.local_pool import ERRORS, LocalPool, visible_devices
from classification.runs.trial_process import LOG, lock_of, trial_folder
from utils.locks import holder_of
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED, error_text, printable_line

MAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), 'main.py')


def choose_pool(flags, trials, say):
    """What starts trials, of which there are this many: LocalPool for this machine, or Cluster."""
    if flags.scheduler is None:
        devices = [visible_devices(gpu, os.environ.get('CUDA_VISIBLE_DEVICES')) for gpu in flags.gpu]
        return LocalPool(MAIN, [devices[job % len(devices)] for job in range(min(flags.jobs or 1, trials))])
    from classification.runs.cluster import Cluster
    return Cluster(flags.scheduler, MAIN, flags.gpu[0], say)


class Supervisor(object):
    """Supervises the trials of an experiment.

    Args:
        pool: what starts them, see `choose_pool`.
        files: experiment_files.ExperimentFiles.
        again: what resumes them, in words.
        said: lines that the user knows already.
    """

    def __init__(self, pool, files, again, said=()):
        self.pool, self.files, self.again = pool, files, again
        self.children = []          # processes of the running trials
        self.changing = threading.Lock()      # held while it changes or is read through
        self.stopping = False
        self.notes = set(said)      # what the trials said; each of them says it

    def train(self, missing, progress):
        """Trains the trials, as many at a time as the pool takes; returns {number: exit status} of those that
        failed."""
        failed = {}
        for number in missing:      # what failed before is tried again
            folder = trial_folder(self.files.paths.run, number)
            if trial_state.read(folder).get('state') == trial_state.FAILED:
                trial_state.end_by(folder, None)
        with ThreadPoolExecutor(self.pool.size) as workers:
            numbers = {workers.submit(self._train_unless_stopped, number, progress): number
                       for number in missing}
            try:
                for trained, future in enumerate(as_completed(numbers), 1):
                    status = future.result()
                    if status not in (0, EXIT_INTERRUPTED):
                        failed[numbers[future]] = status
                    elif status == 0 and trained < len(missing):
                        self.files.write_temporary()
            # the experiment is another command's now, or cannot be written any more: no trial goes on unheard
            except BaseException:
                self.stop()
                raise
        return failed

    def stop(self, *signal_and_frame):
        """Asks the running trials, once, to stop at their next epoch;
        a signal's handler, so it waits for no lock."""
        if not self.stopping:
            self.stopping = True
            for child in list(self.children):
                _ask_to_stop(child)

    # ---- one trial, in a thread of its own ----

    def _train_unless_stopped(self, number, progress):
        """The trial's exit status; an interrupted trial interrupts all."""
        status = EXIT_INTERRUPTED if self.stopping else self._train(number, progress)
        if status == EXIT_INTERRUPTED:
            self.stop()
        return status

    def _train(self, number, progress):
        folder = self.files.paths.run
        progress.start(number, len(self.files.numbers))
        try:
            os.makedirs(trial_folder(folder, number), exist_ok=True)
            child = self._start(folder, number)
        except OSError as error:        # of this trial; the others go on
            reason = 'it could not start: %s' % error_text(error)
            self._keep_reason(number, reason)
            self._pass_error_on(number, {'error': reason}, progress)
            return EXIT_FAILED
        if child is None:
            return EXIT_INTERRUPTED
        said = self._listen(number, child, progress)
        status = child.wait()
        with self.changing:
            self.children.remove(child)
            self.pool.end(child)
        if status not in (0, EXIT_INTERRUPTED) and not self.stopping:
            how = 'signal %d' % -status if status < 0 else 'status %d' % status
            self._keep_reason(number, said or 'it ended with %s' % how)
            if not said:
                progress.clear()
                self.files.error(
                    'error: trial %d ended with %s; %s resumes it from its last checkpoint (details in %s)'
                    % (number, how, self.again, os.path.join(folder, ERRORS)))
        return status

    def _keep_reason(self, number, reason):
        """Leaves in its folder why a trial failed, where its process could not."""
        folder = trial_folder(self.files.paths.run, number)
        running = holder_of(lock_of(folder))
        with contextlib.suppress(OSError):      # whether the lock is held cannot be read now
            if (trial_state.read(folder).get('state') != trial_state.FAILED
                    and self.files.lock.still_mine() and (running is None or running.ended)):
                trial_state.end_by(folder, reason)

    def _start(self, folder, number):
        """The process of a trial; None if none should start any more."""
        with self.changing:
            if self.stopping:
                return None
            child = self.pool.start(folder, number)
            self.children.append(child)
        if self.stopping:           # asked for while it was being made
            _ask_to_stop(child)
        return child

    def _listen(self, number, child, progress):
        """Passes on what a trial says until it ends; returns what it said went wrong, '' if nothing."""
        said = ''
        for line in child.stdout:
            message = _message(line)
            if 'error' in message or 'failed' in message:
                said = str(message.get('error') or message['failed'])
                self._pass_error_on(number, message, progress)
            elif 'device' in message:
                self.files.add_device(number, message['device'])
            elif 'note' in message:
                if message['note'] not in self.notes:
                    self.notes.add(message['note'])
                    if not message.get('logged'):      # by the trial itself
                        self.files.log(message['note'])
                    progress.note(message['note'])
            elif message:
                progress.update(number, **message)
        return said

    def _pass_error_on(self, number, message, progress):
        if message.get('error') in self.notes:      # one reason for all of them
            return
        self.notes.add(message.get('error', ''))
        progress.clear()
        details = ' (the others go on; details in %s)' % os.path.join(self.files.paths.run, LOG)
        self.files.error('error: trial %d: %s%s' % (
            number, printable_line(message.get('error') or message['failed']), '' if 'error' in message
            else details))


def _ask_to_stop(child):
    try:
        child.send_signal(signal.SIGTERM)
    except ProcessLookupError:
        pass        # it has just ended


def _message(line):
    """What a trial told in a line; {} if the line was cut off by a kill, or is a library's."""
    try:
        message = json.loads(line.decode('utf-8'))
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
