"""One experiment: its trials are trained where they are missing, then its entry of the .mat file is
written."""
import argparse
import contextlib
import glob
import os
import shlex
import shutil
from collections import OrderedDict

from classification import gen_data
from classification.data import raw_checksums
from classification.experiment import compositions, sizes
from classification.report.command import command_for
from classification.results import mat_file, origin, summary, texts, trial_record
from classification.runs import end_states, provenance, side_by_side, supervisor
from classification.runs.experiment_files import ExperimentFiles
from classification.runs.progress import Progress
from classification.runs.run_folder import ResultPaths, config_in, unfinished
from classification.runs.trial_process import HEARTBEAT_FILE, RECORD, hold, trial_folder
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USER_ERROR, UserError, plural, signals_to


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
    paths = ResultPaths(flags.result_dir, flags.save_mat_name, experiment)
    held_by, stored, trained = _stored(paths, experiment, flags)
    wanted = set(trained).union(range(flags.num_runs))
    if flags.restart and set(flags.restart) - wanted:
        raise UserError('--restart %s: this experiment has the trials %s'
                        % (','.join(map(str, flags.restart)), ', '.join(map(str, sorted(wanted)))))
    now = provenance.of_command(experiment)
    if wanted <= set(trained) and not unfinished(config_in(paths.run)) and flags.restart is None:
        say('%s already holds this experiment with %s; nothing to train (--restart trains it again)%s'
            % (held_by, plural(len(trained), 'trial'), _of_other_origin(stored, now)))
        _say_what_is_not_written(flags, (), say)
        say(_report_line(paths.mat))
        return 0
    sizes.check(experiment, len(wanted))
    missing = _to_train(wanted, flags.restart, paths.run)
    plan = side_by_side.choose(flags, _threads_before(experiment, flags, paths, missing), len(missing),
                               lambda: side_by_side.memory_of_trial(experiment, flags))
    flags = argparse.Namespace(**dict(vars(flags), jobs=plan.jobs, threads=plan.threads))
    with contextlib.closing(supervisor.choose_pool(flags, len(wanted), say)) as pool:
        mat_file.check_permission(paths.mat)
        said = _check_files(experiment, flags, say, paths)
        paths.make()
        lock = hold(paths.run, 'this experiment', say)
        try:
            # once more: another command may have ended just now
            trained = _stored(paths, experiment, flags)[2]
            _check_restart(flags, paths, trained)
            pool.still_mine = lock.still_mine
            files = ExperimentFiles(experiment, flags, argv, say, paths, lock, now, wanted.union(trained),
                                    plan)
            again = 'the same command%s' % (' without --restart' if flags.restart is not None else '')
            return Run(files, supervisor.Supervisor(pool, files, again, said), plan.lines).run()
        finally:
            pool.close()        # which may remove what only the lock's holder may
            lock.release()


def _to_train(wanted, restart, run_folder):
    """Numbers of the trials that a command trains: those without a record, and those that --restart says."""
    return [number for number in sorted(wanted) if restart == () or number in (restart or ())
            or not os.path.exists(os.path.join(trial_folder(run_folder, number), RECORD))]


def _threads_before(experiment, flags, paths, missing):
    """Threads with which this experiment was begun, else the shorter ones that these trials continue; None:
    not known."""
    begun = {} if flags.restart == () else config_in(paths.run)
    threads = side_by_side.stored_threads(begun)
    if threads or flags.restart == () or begun.get('restarted'):
        return threads
    continued = end_states.continued(experiment, paths, set(missing).difference(flags.restart or ()))
    return next(filter(None, (side_by_side.stored_threads({'settings': shorter.settings})
                              for shorter in continued)), None)


def _stored(paths, experiment, flags):
    """(file, entry, numbers of its trials) that the result file holds of this experiment and this command
    keeps."""
    anew = flags.restart == ()
    begun = {} if anew else config_in(paths.run)
    held_by, entry = mat_file.locate(paths.mat, experiment.fingerprint())
    before_restart = entry is not None and unfinished(begun) and begun.get('restarted') and (
        entry.get('run_id') != begun.get('run_id'))
    if entry is None or anew or before_restart:
        return held_by, None, []
    return held_by, entry, _trials_of(entry, paths.mat)


def _check_restart(flags, paths, trained):
    """A UserError where only some trials shall be trained again, and the others' results could not be
    kept."""
    lost = [number for number in trained if flags.restart and number not in flags.restart
            and not os.path.exists(os.path.join(trial_folder(paths.run, number), RECORD))]
    if lost:
        raise UserError(
            '--restart %s: the records of trial %s are no longer in %s, so these would be trained again too; '
            '--restart trains all' % (','.join(map(str, flags.restart)),
                                                  ', '.join(map(str, lost)), paths.run))


def _of_other_origin(entry, now):
    """What to add where nothing is trained: in what the stored numbers' origin differs from the present one,
    if it does."""
    difference = origin.mixture(origin.with_new(origin.from_entry(entry), now))
    return '; its numbers have another origin than they would have now: %s' % difference if difference else ''


def _trials_of(entry, path):
    """Numbers of the trials that an entry of a result file holds."""
    try:
        return entry['train_valid_data_group'].ravel().astype(int).tolist()
    except (KeyError, AttributeError, ValueError):
        raise UserError(
            '%s is damaged: this experiment has no numbers of trials; move it away or give another file name'
            % path) from None


def _check_files(experiment, flags, say, paths):
    """Reads everything that the trials will read, so that a damaged file is named before anything is written.

    The images are kept as the trials find them, if DATA_DIR can be written. Returns the lines that were said.
    """
    said = []

    def note(line):
        said.append(line)
        say(line)
    gen_data.prepare(experiment.data_type, flags.data_dir, note)
    if flags.restart != ():
        for path in glob.glob(os.path.join(glob.escape(paths.run), 'trial*', RECORD)):
            trial_record.load_record(path)
    return said


class Run(object):
    """One command on one experiment, the lock on its folder held."""

    def __init__(self, files, supervisor, lines=()):
        self.files, self.supervisor, self.lines = files, supervisor, lines
        self.experiment, self.flags = files.experiment, files.flags
        self.paths, self.say = files.paths, files.say

    def run(self):
        """Trains and finishes; returns the exit status."""
        files, paths = self.files, self.paths
        for other in paths.other_unfinished():
            self.say('note: %s also has an unfinished experiment with other settings: %s'
                     % (paths.folder, self.experiment.differences(other)))
        self._remove_restarted()
        files.write_config(finished=False)
        raw_checksums.hand_over(paths.run)
        if os.path.exists(os.path.join(paths.run, HEARTBEAT_FILE)):
            # trials of an earlier command that was killed end
            os.remove(os.path.join(paths.run, HEARTBEAT_FILE))
        records = OrderedDict((number, files.record(number)) for number in files.numbers)
        trained = OrderedDict((number, summary.stretches_of(records[number])) for number in records
                              if records[number])
        missing = [number for number in files.numbers if number not in trained]
        self._take_over_end_states(missing)
        self.announce(missing)
        self._warn_of_other_origins(trained, missing)
        files.log('start: %s' % files.command)
        files.log(gen_data.origin(self.experiment.data_type, files.data_folder))
        with signals_to(self.supervisor.stop):
            with contextlib.closing(Progress(len(missing), self.flags.quiet)) as progress:
                failed = self.supervisor.train(missing, progress)
            if self.supervisor.stopping:
                files.error('%s; %s resumes it' % (self.supervisor.pool.trouble or 'interrupted',
                                                   self.supervisor.again))
                return EXIT_INTERRUPTED
            return self.finish(failed)       # to its end, also when a signal comes: it takes no time

    def _remove_restarted(self):
        """Removes the folders of the trials that --restart trains again."""
        if self.flags.restart is not None:
            again = ['trial%d' % number for number in self.flags.restart]
            for name in os.listdir(self.paths.run):
                if name in again or self.flags.restart == () and name.startswith('trial'):
                    shutil.rmtree(os.path.join(self.paths.run, name))

    def _take_over_end_states(self, missing):
        """Lets trials go on where those of a shorter experiment ended, unless they shall learn all tasks."""
        again = self.flags.restart
        if not self.files.config['restarted']:
            end_states.take_over(
                self.experiment, self.paths, [number for number in missing if number not in (again or ())],
                self.files.config['settings']['parameter_folder'], self.say, self.files.log)

    def announce(self, missing):
        """Tells the user what is trained and where it goes."""
        experiment, numbers = self.experiment, self.files.numbers
        self.say('%s on %s: %s, %s each%s, %s%s' % (
            experiment.model_type, experiment.data_type, plural(len(experiment.task_order), 'task'),
            plural(experiment.training.epochs, 'epoch'), '' if experiment.lifelong
            else ' at most, trained together', plural(len(numbers), 'trial'),
            '' if len(missing) == len(numbers) else ' (%d already trained)' % (len(numbers) - len(missing))))
        self.say(texts.problem(experiment.lifelong, 'without_task_identity' in experiment.analyses))
        said = compositions.fields(experiment)
        if said:
            self.say(compositions.in_words(experiment.data_type, said))
        for line in self.lines:
            self.say(line)
        self.say('working files and log: %s' % self.paths.run)
        self.say(gen_data.origin(experiment.data_type, self.files.data_folder))
        _say_what_is_not_written(self.flags, missing, self.say)
        if self.flags.tensorboard:
            self.say('to watch it: tensorboard --logdir %s' % shlex.quote(self.paths.run))
        if self.files.config['settings']['parameter_folder']:
            self.say('parameter files: %s' % os.path.join(self.flags.result_dir, os.path.relpath(
                self.files.config['settings']['parameter_folder'], self.flags.result_dir)))

    def _warn_of_other_origins(self, trained, missing):
        """Says in what the trials that are trained already differ from those that are trained now."""
        difference = origin.mixture(origin.with_new(trained, self.files.origin)) if missing else ''
        if difference:
            self.say(
                'note: the trials of this experiment have different origins (%s); the reports will say so; '
                '--restart trains all %d trials again, --restart %s only the earlier ones, %s of %s each' % (
                         difference, len(self.files.numbers), ','.join(map(str, trained)),
                         plural(len(self.experiment.task_order), 'task'),
                         plural(self.experiment.training.epochs, 'epoch')))

    def finish(self, failed):
        """Writes the entry of the trials that are trained; returns the exit status.

        Args:
            failed: {number: exit status} of those that failed now.
        """
        records = self.files.records()
        if records:
            self.files.write_entry(records)
            self.say(_report_line(self.paths.mat))
        if failed:
            self.files.error('%s failed (%s); %s tries them again' % (
                plural(len(failed), 'trial'), ', '.join(map(str, sorted(failed))), self.supervisor.again))
        self.files.write_config(finished=not failed)      # with the origins of all that are trained
        if failed:
            return EXIT_USER_ERROR if EXIT_USER_ERROR in failed.values() else EXIT_FAILED
        self.files.remove_temporary()
        return 0


def _say_what_is_not_written(flags, missing, say):
    """Names the flags whose files only training writes, where these trials, which are missing, will not write
    them."""
    for name, files, of_trial_0 in (('savegraph', 'graphs', True), ('tensorboard', 'accuracies', False)):
        if getattr(flags, name) and not (0 in missing if of_trial_0 else missing):
            say('note: --%s writes no %s: %s' % (
                name, files, 'trial 0 is already trained' if missing else 'nothing is trained'))


def _report_line(mat):
    return 'metrics, comparisons and plots: %s' % command_for(mat)
