"""Repeated trials of one experiment: child processes, resume, statistics, the .mat file."""
import contextlib
import glob
import json
import os
import platform
import shlex
import shutil
import signal
import sys
import threading
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor, as_completed

import psutil

from classification import gen_data
from classification.data import raw_checksums
from classification.experiment import plugin_files, sizes, tensor_factors
from classification.experiment.experiment import plugins_of
from classification.report.command import command_for
from classification.results import mat_file, origin, parameter_files, summary, texts, trial_record
from classification.runs import provenance
from classification.runs.local_pool import ERRORS, LocalPool, visible_devices
from classification.runs.progress import Progress
from classification.runs.run_folder import Place, check_folder, config_in, unfinished
from classification.runs.trial_process import CONFIG, RECORD, SIGN, hold, log_line, trial_folder
from utils.cores import cores
from utils.utils import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    UserError,
    counted,
    in_one_line,
    one_line,
    readable,
    show,
    signals_to,
    without_credentials,
    write_atomically,
)

MAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'main.py')
SCHEMA_VERSION = 1
GPU_MEMORY = 0.9     # share of a GPU's memory that trials on it divide among them


def run_experiment(experiment, flags, argv, say):
    """Trains the trials that are missing and writes the results.

    Args:
        experiment: Experiment.
        flags: namespace of main.py's parser, for what is not part of the experiment.
        argv: the command line, for the record.
        say: function of one line for the user.
    Returns:
        exit status: 0 finished, 1 a trial failed, 2 a trial was refused, 75 interrupted and resumable.
    """
    place = Place(flags.result_dir, flags.save_mat_name, experiment)
    held_by, stored, trained = _stored(place, experiment, flags)
    wanted = set(trained).union(range(flags.num_runs))
    if flags.restart and set(flags.restart) - wanted:
        raise UserError('--restart %s: this experiment has the trials %s'
                        % (','.join(map(str, flags.restart)), ', '.join(map(str, sorted(wanted)))))
    now = provenance.of_command(experiment)
    if wanted <= set(trained) and not unfinished(config_in(place.run)) and flags.restart is None:
        say('%s already holds this experiment with %s; nothing to train (--restart trains it again)%s'
            % (held_by, counted(len(trained), 'trial'), _of_other_origin(stored, now)))
        _say_what_is_not_written(flags, (), say)
        say(_report_line(place.mat))
        return 0
    sizes.check(experiment, len(wanted))
    with contextlib.closing(_pool(flags, len(wanted), say)) as pool:
        mat_file.check_permission(place.mat)
        said = _check_files(experiment, flags, say, place)
        place.make()
        lock = hold(place.run, 'this experiment', say)
        try:
            trained = _stored(place, experiment, flags)[2]      # once more: another command may have ended just now
            _check_restart(flags, place, trained)
            run = _Run(experiment, flags, argv, say, place, pool, wanted.union(trained), now, lock)
            run.notes.update(said)
            return run.run()
        finally:
            pool.close()        # which may remove what only the lock's holder may
            lock.release()


def _stored(place, experiment, flags):
    """(file, entry, numbers of its trials) that the result file holds of this experiment and this command keeps."""
    anew = flags.restart == ()
    begun = {} if anew else config_in(place.run)
    held_by, entry = mat_file.locate(place.mat, experiment.fingerprint())
    if entry is None or anew or unfinished(begun) and begun.get('restarted'):
        return held_by, None, []
    return held_by, entry, _trials_of(entry, place.mat)


def _check_restart(flags, place, trained):
    """A UserError where only some trials shall be trained again, and the others' results could not be kept."""
    lost = [number for number in trained if flags.restart and number not in flags.restart
            and not os.path.exists(os.path.join(trial_folder(place.run, number), RECORD))]
    if lost:
        raise UserError('--restart %s: the records of trial %s are no longer in %s, so these would be trained again too; '
                        '--restart trains all' % (','.join(map(str, flags.restart)), ', '.join(map(str, lost)), place.run))


def _pool(flags, trials, say):
    """What starts trials, of which there are this many: this machine or a cluster."""
    if flags.scheduler is None:
        devices = [visible_devices(gpu, os.environ.get('CUDA_VISIBLE_DEVICES')) for gpu in flags.gpu]
        return LocalPool(MAIN, [devices[job % len(devices)] for job in range(min(flags.jobs, trials))])
    from classification.runs.cluster import Cluster
    return Cluster(flags.scheduler, MAIN, flags.gpu[0], say)


def _of_other_origin(entry, now):
    """What to add where nothing is trained: in what the stored numbers' origin differs from the present one, if it does."""
    difference = origin.mixture(origin.with_new(origin.from_entry(entry), now))
    return '; its numbers have another origin than they would have now: %s' % difference if difference else ''


def _trials_of(entry, path):
    """Numbers of the trials that an entry of a result file holds."""
    try:
        return entry['train_valid_data_group'].ravel().astype(int).tolist()
    except (KeyError, AttributeError, ValueError):
        raise UserError('%s is damaged: this experiment has no numbers of trials; move it away or give another file name'
                        % path)


def _check_files(experiment, flags, say, place):
    """Reads everything that the trials will read, so that a damaged file is named before anything is written.

    The images are kept as the trials find them, if DATA_DIR can be written. Returns the lines that were said.
    """
    said = []

    def note(line):
        said.append(line)
        say(line)
    gen_data.prepare(experiment.data_type, flags.data_dir, note)
    if flags.restart != ():
        for path in glob.glob(os.path.join(glob.escape(place.run), 'trial*', RECORD)):
            trial_record.load_record(path)
    return said


class _Run(object):
    """One run of the command line on one experiment, the lock on its folder held."""

    def __init__(self, experiment, flags, argv, say, place, pool, wanted, now, lock):
        self.experiment, self.flags, self.argv, self.say, self.place = experiment, flags, argv, say, place
        self.lock = lock            # on place.run
        self.pool = pool            # LocalPool or Cluster
        pool.still_mine = lock.still_mine
        self.numbers = sorted(wanted)       # of the trials that the entry will hold
        self.origin = now           # what all trials of this command have in common
        self.again = 'the same command%s' % (' without --restart' if flags.restart is not None else '')
        self.children = []          # processes of the running trials
        self.changing = threading.Lock()      # held while it changes or is read through
        self.stopping = False
        self.notes = set()          # what the trials said; each of them says it
        self.devices = {}           # number of a trial -> facts of its GPU
        self.config = None          # what config.json says
        self.plugins = plugins_of(experiment.model, gen_data.DATASETS[experiment.data_type])
        self.data_folder = gen_data.folder_of(experiment.data_type, flags.data_dir)

    def run(self):
        flags, place, say = self.flags, self.place, self.say
        for other in place.other_unfinished():
            say('note: %s also has an unfinished experiment with other settings: %s'
                % (place.folder, self.experiment.differences(other)))
        if flags.restart is not None:
            again = ['trial%d' % number for number in flags.restart]
            for name in os.listdir(place.run):
                if name in again or flags.restart == () and name.startswith('trial'):
                    shutil.rmtree(os.path.join(place.run, name))
        self._write_config(finished=False)
        raw_checksums.hand_over(place.run)
        if os.path.exists(os.path.join(place.run, SIGN)):
            os.remove(os.path.join(place.run, SIGN))      # trials of an earlier command that was killed end
        missing = [number for number in self.numbers if self._record_path(number) is None]
        self._announce(missing)
        self._warn_of_other_origins(missing)
        log_line(place.run, 'start: %s' % self._command())
        log_line(place.run, gen_data.origin(self.experiment.data_type, self.data_folder))
        with signals_to(self._stop):
            with contextlib.closing(Progress(len(missing), flags.quiet)) as progress:
                failed = self._train_all(missing, progress)
            if self.stopping:
                self._error('%s; %s resumes it' % (self.pool.trouble or 'interrupted', self.again))
                return EXIT_INTERRUPTED
            return self._finish(failed)       # to its end, also when a signal comes: it takes no time

    def _warn_of_other_origins(self, missing):
        """Says in what the trials that are trained already differ from those that are trained now."""
        trained = OrderedDict((number, summary.stretches_of(trial_record.load_record(self._record_path(number))))
                              for number in self.numbers if number not in missing)
        difference = origin.mixture(origin.with_new(trained, self.origin)) if missing else ''
        if difference:
            self.say('note: the trials of this experiment have different origins (%s); the reports will say so; --restart '
                     'trains all %d trials again, --restart %s only the earlier ones, %s of %s each' % (
                         difference, len(self.numbers), ','.join(map(str, trained)),
                         counted(len(self.experiment.task_order), 'task'),
                         counted(self.experiment.training.epochs, 'epoch')))

    def _train_all(self, missing, progress):
        """Trains the trials, as many at a time as the pool takes; returns {number: exit status} of those that failed."""
        failed = {}
        with ThreadPoolExecutor(self.pool.size) as workers:
            numbers = {workers.submit(self._train_unless_stopped, number, progress): number for number in missing}
            for trained, future in enumerate(as_completed(numbers), 1):
                status = future.result()
                if status not in (0, EXIT_INTERRUPTED):
                    failed[numbers[future]] = status
                elif status == 0 and trained < len(missing):
                    self._write_temporary()
        return failed

    # ---- one trial, in a thread of its own ----

    def _train_unless_stopped(self, number, progress):
        """The trial's exit status; an interrupted trial interrupts all."""
        status = EXIT_INTERRUPTED if self.stopping else self._train(number, progress)
        if status == EXIT_INTERRUPTED:
            self._stop()
        return status

    def _train(self, number, progress):
        os.makedirs(trial_folder(self.place.run, number), exist_ok=True)
        progress.start(number, len(self.numbers))
        child = self._start(number)
        if child is None:
            return EXIT_INTERRUPTED
        said = self._listen(number, child, progress)
        status = child.wait()
        with self.changing:
            self.children.remove(child)
            self.pool.end(child)
        if status not in (0, EXIT_INTERRUPTED) and not said and not self.stopping:
            progress.clear()
            self._error('error: trial %d ended with %s; %s resumes it from its last checkpoint (details in %s)' % (
                number, 'signal %d' % -status if status < 0 else 'status %d' % status, self.again,
                os.path.join(self.place.run, ERRORS)))
        return status

    def _start(self, number):
        """The process of a trial; None if none should start any more."""
        with self.changing:
            if self.stopping:
                return None
            child = self.pool.start(self.place.run, number)
            self.children.append(child)
        if self.stopping:           # asked for while it was being made
            _ask_to_stop(child)
        return child

    def _listen(self, number, child, progress):
        """Passes on what a trial says until it ends; returns whether it said what went wrong."""
        said = False
        for line in child.stdout:
            what = _said(line)
            if 'error' in what or 'failed' in what:
                said = True
                if what.get('error') not in self.notes:     # one reason for all of them
                    self.notes.add(what.get('error', ''))
                    progress.clear()
                    self._error('error: trial %d: %s%s' % (
                        number, one_line(what.get('error') or what['failed']),
                        '' if 'error' in what else ' (the others go on; details in %s)'
                                                   % os.path.join(self.place.run, 'log.txt')))
            elif 'device' in what:
                with self.changing:
                    self.devices[str(number)] = what['device']
                    self._write_config(finished=False)
            elif 'note' in what:
                if what['note'] not in self.notes:
                    self.notes.add(what['note'])
                    if not what.get('logged'):      # by the trial itself
                        log_line(self.place.run, what['note'])
                    progress.note(what['note'])
            elif what:
                progress.update(number, **what)
        return said

    def _stop(self, *signal_and_frame):
        """Asks the running trials, once, to stop at their next epoch; a signal's handler, so it waits for no lock."""
        if not self.stopping:
            self.stopping = True
            for child in list(self.children):
                _ask_to_stop(child)

    # ---- words: what the screen does not take stands in the log ----

    def _show(self, text):
        for line in text.split('\n'):
            log_line(self.place.run, line)
        show(text)

    def _error(self, line):
        log_line(self.place.run, line)
        sys.stderr.write(line + '\n')

    # ---- files ----

    def _check_lock(self):
        try:
            self.lock.check('this experiment')
        except UserError:
            self._stop()
            raise

    def _record_path(self, number):
        path = os.path.join(trial_folder(self.place.run, number), RECORD)
        return path if os.path.exists(path) else None

    def _records(self):
        paths = [self._record_path(number) for number in self.numbers]
        return [trial_record.load_record(path) for path in paths if path is not None]

    def _command(self):
        words = [without_credentials(readable(word), self.flags.scheduler) for word in self.argv]
        return ' '.join(map(shlex.quote, ['main.py'] + words))

    def _write_config(self, finished):
        self._check_lock()
        begun = self.config or ({} if self.flags.restart == () else config_in(self.place.run))
        self.config = OrderedDict([
            ('experiment', json.loads(self.experiment.to_json())),
            ('fingerprint', self.experiment.fingerprint()),
            ('run_id', begun.get('run_id') or uuid.uuid4().hex),
            ('restarted', begun.get('restarted', self.flags.restart == ())),
            ('finished', finished),
            ('command', self._command()),
            ('settings', {'data_dir': os.path.abspath(self.flags.data_dir), 'data_folder': self.data_folder,
                          'gpu': self.flags.gpu,
                          'gpu_memory_fraction': _memory_fraction(self.flags), 'jobs': self.flags.jobs,
                          'scheduler': _shown(self.flags.scheduler), 'threads': self._threads(),
                          'checkpoint_minutes': self.flags.checkpoint_minutes,
                          'graph_folder': os.path.abspath(self.place.graphs) if self.flags.savegraph else None,
                          'tensorboard': self.flags.tensorboard,
                          'parameter_folder': self._parameter_folder(begun),
                          'tensorfactor_file': self._tensorfactor_file()}),
            ('versions', provenance.versions()),
            ('plugins', plugin_files.described(self.plugins, plugin_files.keep(self.plugins, self.place.run))),
            ('host', {'name': platform.node(), 'system': platform.platform(), 'cores': psutil.cpu_count(),
                      'memory_bytes': psutil.virtual_memory().total}),
            ('gpu_of_trial', dict(begun.get('gpu_of_trial', {}), **self.devices)),
            ('git_commit', self.origin['git_commit']),
            ('origin', self.origin),
            ('origin_of_trial', {str(record.trial): summary.stretches_of(record) for record in self._records()}),
        ])
        write_atomically(os.path.join(self.place.run, CONFIG), json.dumps(self.config, indent=1), alone=True)

    def _threads(self):
        """CPU threads of a trial; None: all cores that it finds where it runs."""
        return self.flags.threads or (None if self.flags.scheduler else max(1, cores() // self.flags.jobs))

    def _parameter_folder(self, begun):
        """Where parameter files go: chosen when the experiment begins, and remembered."""
        if 'saveparam' not in self.experiment.analyses:
            return None
        chosen = begun.get('settings', {}).get('parameter_folder')
        params, name = os.path.abspath(os.path.join(self.place.result_dir, 'params')), os.path.basename(chosen or '')
        folder = os.path.join(params, name or parameter_files.new_folder(
            self.place.result_dir, parameter_files.folder_name(self.flags)))
        try:
            os.makedirs(folder, exist_ok=True)
            check_folder(folder)
        except OSError as error:
            raise UserError('%s cannot be written: %s' % (folder, error.strerror or error))
        return folder

    def _tensorfactor_file(self):
        if 'tensorfactor' not in self.experiment.analyses:
            return None
        return os.path.abspath(tensor_factors.find(self.place.result_dir, self.flags.tensorfactor_param_path))

    def _summary(self, records):
        experiment = self.experiment
        more = OrderedDict([
            ('seed', experiment.seed), ('data_type', experiment.data_type),
            ('data_percent', -1 if experiment.data_percent is None else experiment.data_percent),
            ('command', self._command()), ('versions', self.config['versions']), ('schema_version', SCHEMA_VERSION),
            ('fingerprint', experiment.fingerprint()), ('run_id', self.config['run_id']),
            ('data_folder', self.data_folder)])
        if self.config['settings']['parameter_folder']:
            more['parameter_folder'] = os.path.relpath(self.config['settings']['parameter_folder'], self.place.result_dir)
        more['chosen_config'] = experiment.pattern or [sizes.chosen_patterns(record) for record in records]
        return sizes.entry_of(experiment, records, more)

    def _write_temporary(self):
        self._check_lock()
        try:
            mat_file.write_temp(self.place.temporary, self._summary(self._records()))
        except OSError as error:        # it is for people to look at; the trials go on
            self.say('note: %s' % in_one_line(error))

    def _finish(self, failed):
        records = self._records()
        if records:
            summary = self._summary(records)
            self._check_lock()
            path = mat_file.append_entry(self.place.mat, summary, replace=not self.config['restarted'])
            self._show(texts.table(summary, self.experiment.task_order))
            if self.experiment.pattern is None:
                self._show('layers that each task shares (S) or has of its own (T), input side first:')
                for record in records:
                    self._show('  trial %d: %s' % (record.trial, '  '.join(
                        'task %d %s' % pair for pair in zip(self.experiment.tasks, sizes.chosen_patterns(record)))))
            lines = [line for record in records for line in self.experiment.model.method.lines(record, self.experiment.tasks)]
            for line in lines and ['per layer, input side first:'] + ['  ' + line for line in lines]:
                self._show(line)
            self._show('%s over %s in %s' % (self.experiment.model_type, counted(len(records), 'trial'), path))
            if path != self.place.mat:
                self._show('%s would become too large for MATLAB, so the experiment is in %s' % (self.place.mat, path))
            self.say(_report_line(self.place.mat))
        if failed:
            self._error('%s failed (%s); %s tries them again'
                        % (counted(len(failed), 'trial'), ', '.join(map(str, sorted(failed))), self.again))
            self._write_config(finished=False)      # with the origins of those that did not
            return EXIT_USER_ERROR if EXIT_USER_ERROR in failed.values() else EXIT_FAILED
        self._write_config(finished=True)
        if os.path.exists(self.place.temporary) and not self.place.other_unfinished():
            os.remove(self.place.temporary)
        return 0

    def _announce(self, missing):
        experiment = self.experiment
        self.say('%s on %s: %s, %s each%s, %s%s' % (
            experiment.model_type, experiment.data_type, counted(len(experiment.task_order), 'task'),
            counted(experiment.training.epochs, 'epoch'), '' if experiment.lifelong else ' at most, trained together', counted(len(self.numbers), 'trial'),
            '' if len(missing) == len(self.numbers) else ' (%d already trained)' % (len(self.numbers) - len(missing))))
        self.say('working files and log: %s' % self.place.run)
        self.say(gen_data.origin(experiment.data_type, self.data_folder))
        _say_what_is_not_written(self.flags, missing, self.say)
        if self.flags.tensorboard:
            self.say('to watch it: tensorboard --logdir %s' % shlex.quote(self.place.run))
        if self.config['settings']['parameter_folder']:
            self.say('parameter files: %s' % os.path.relpath(self.config['settings']['parameter_folder']))


def _say_what_is_not_written(flags, missing, say):
    """Names the flags whose files only training writes, where these trials, which are missing, will not write them."""
    for name, files, of_trial_0 in (('savegraph', 'graphs', True), ('tensorboard', 'accuracies', False)):
        if getattr(flags, name) and not (0 in missing if of_trial_0 else missing):
            say('note: --%s writes no %s: %s' % (
                name, files, 'trial 0 is already trained' if missing else 'nothing is trained'))


def _report_line(mat):
    return 'metrics, comparisons and plots: %s' % command_for(mat)


def _ask_to_stop(child):
    try:
        child.send_signal(signal.SIGTERM)
    except ProcessLookupError:
        pass        # it has just ended


def _said(line):
    """What a trial told in a line; {} if the line was cut off by a kill, or is a library's."""
    try:
        what = json.loads(line.decode('utf-8'))
    except ValueError:
        return {}
    return what if isinstance(what, dict) else {}


def _shown(address):
    return address and without_credentials(address, address)


def _memory_fraction(flags):
    """Share of a GPU's memory that a trial may take; None: as much as it needs."""
    sharing = -(-flags.jobs // len(flags.gpu))
    return flags.gpu_memory_fraction or (None if sharing == 1 else GPU_MEMORY / sharing)
