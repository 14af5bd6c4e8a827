"""What a command writes of its experiment: config.json, the log, temp_NAME.mat, the entry of the result file,
the table."""
import json
import os
import platform
import shlex
import sys
import threading
import uuid
from collections import OrderedDict

import psutil

from classification import gen_data
from classification.experiment import compositions, plugin_files, sizes, tensor_factors
from classification.experiment.continuing import more_can_come
from classification.experiment.experiment import plugins_of
from classification.results import (
    choice,
    mat_file,
    parameter_files,
    predictions,
    summary,
    texts,
    trial_record,
)
from classification.runs import provenance
from classification.runs.run_folder import check_folder, config_in
from classification.runs.trial_process import CONFIG, RECORD, log_line, trial_folder
from utils.utils import UserError, error_text, plural, readable, show, without_credentials, write_atomically

SCHEMA_VERSION = 1
GPU_MEMORY = 0.9     # share of a GPU's memory that trials on it divide among them


class ExperimentFiles(object):
    """The files of an experiment, while this command holds the lock on its run folder.

    Args:
        flags, argv, say: as train_wrapper.run_experiment gets them.
        paths: run_folder.ResultPaths.
        lock: the held one, on paths.run.
        origin: what all trials of this command have in common.
        numbers: of the trials that the entry will hold.
        plan: side_by_side.Plan, of which config.json tells later commands.
    """

    def __init__(self, experiment, flags, argv, say, paths, lock, origin, numbers, plan):
        self.experiment, self.flags, self.say, self.paths, self.lock = experiment, flags, say, paths, lock
        self.origin, self.numbers, self.plan = origin, sorted(numbers), plan
        words = [without_credentials(readable(word), flags.scheduler) for word in argv]
        self.command = ' '.join(map(shlex.quote, ['main.py'] + words))
        self.data_folder = gen_data.folder_of(experiment.data_type, flags.data_dir)
        self.config = None                  # what config.json says
        self.splits = None                  # dict trial -> SHA-256 of those that were given
        self.devices = {}                   # number of a trial -> facts of its GPU
        self.writing = threading.Lock()     # held while these change

    # ---- words: what the screen does not take stands in the log ----

    def log(self, line):
        log_line(self.paths.run, line)

    def show(self, text):
        for line in text.split('\n'):
            self.log(line)
        show(text)

    def error(self, line):
        self.log(line)
        sys.stderr.write(line + '\n')

    # ---- what the trials left ----

    def record(self, number):
        """A trial's record; None if it is not trained."""
        path = os.path.join(trial_folder(self.paths.run, number), RECORD)
        return trial_record.load_record(path) if os.path.exists(path) else None

    def records(self):
        """Of all trials that are trained."""
        return [record for record in map(self.record, self.numbers) if record is not None]

    # ---- config.json ----

    def write_config(self, finished):
        self.lock.check('this experiment')
        experiment, flags = self.experiment, self.flags
        begun = self.config or ({} if flags.restart == () else config_in(self.paths.run))
        plugins = plugins_of(experiment.model, gen_data.DATASETS[experiment.data_type])
        if self.splits is None:
            self.splits = compositions.keep(experiment, flags.splits, self.paths.run)
        self.config = OrderedDict([
            ('experiment', json.loads(experiment.to_json())),
            ('fingerprint', experiment.fingerprint()),
            ('run_id', begun.get('run_id') or uuid.uuid4().hex),
            ('restarted', begun.get('restarted', flags.restart == ())),
            ('finished', finished),
            ('tasks', gen_data.DATASETS[experiment.data_type].source.named_tasks()),
            ('trials', self.numbers),
            ('command', self.command),
            ('settings', self._settings(begun)),
            ('versions', provenance.versions()),
            ('plugins', plugin_files.described(plugins, plugin_files.keep(plugins, self.paths.run))),
            ('splits', {str(number): checksum for number, checksum in self.splits.items()}),
            ('host', {'name': platform.node(), 'system': platform.platform(), 'cores': psutil.cpu_count(),
                      'memory_bytes': psutil.virtual_memory().total}),
            ('gpu_of_trial', dict(begun.get('gpu_of_trial', {}), **self.devices)),
            ('git_commit', self.origin['git_commit']),
            ('origin', self.origin),
            ('origin_of_trial', {str(record.trial): summary.stretches_of(record)
                                 for record in self.records()}),
        ])
        write_atomically(os.path.join(self.paths.run, CONFIG), json.dumps(self.config, indent=1), alone=True)

    def add_device(self, number, facts):
        """Records the GPU of a trial."""
        with self.writing:
            self.devices[str(number)] = facts
            try:
                self.write_config(finished=False)
            except OSError as error:        # the trial goes on; config.json is written again at the end
                self.say('note: %s' % error_text(error))

    def _settings(self, begun):
        """What the trials are told that is no part of the experiment."""
        flags = self.flags
        return {'data_dir': os.path.abspath(flags.data_dir), 'data_folder': self.data_folder,
                'images': flags.images and os.path.abspath(flags.images), 'gpu': flags.gpu,
                'gpu_memory_fraction': memory_fraction(flags), 'jobs': flags.jobs,
                'scheduler': flags.scheduler and without_credentials(flags.scheduler, flags.scheduler),
                # of a trial; None: all cores that it finds where it runs
                'threads': flags.threads,
                # for later commands: what the experiment keeps; what a trial needs, None: not known
                'kept_threads': self.plan.kept,
                'trial_memory_bytes': self.plan.memory or begun.get('settings', {}).get('trial_memory_bytes'),
                'checkpoint_minutes': flags.checkpoint_minutes,
                'graph_folder': os.path.abspath(self.paths.graphs) if flags.savegraph else None,
                'tensorboard': flags.tensorboard,
                'parameter_folder': self._parameter_folder(begun),
                # whether the state after the last task is kept
                'end_states': not flags.no_continue and more_can_come(self.experiment),
                'tensorfactor_file': os.path.abspath(tensor_factors.find(
                    self.paths.result_dir, flags.tensorfactor_param_path))
                if 'tensorfactor' in self.experiment.analyses else None}

    def _parameter_folder(self, begun):
        """Where parameter files go: chosen when the experiment begins, and remembered."""
        if 'saveparam' not in self.experiment.analyses:
            return None
        chosen = begun.get('settings', {}).get('parameter_folder')
        params, name = os.path.abspath(os.path.join(self.paths.result_dir, 'params')), os.path.basename(
            chosen or '')
        folder = os.path.join(params, name or parameter_files.new_folder(
            self.paths.result_dir, parameter_files.folder_name(self.flags)))
        try:
            os.makedirs(folder, exist_ok=True)
            check_folder(folder)
        except OSError as error:
            raise UserError('%s cannot be written: %s' % (folder, error.strerror or error)) from error
        return folder

    # ---- the entry of the result file ----

    def _entry(self, records):
        experiment, folder = self.experiment, self.config['settings']['parameter_folder']
        more = OrderedDict([
            ('seed', experiment.seed), ('data_type', experiment.data_type),
            ('data_percent', -1 if experiment.data_percent is None else experiment.data_percent),
            ('command', self.command), ('versions', self.config['versions']),
            ('schema_version', SCHEMA_VERSION),
            ('fingerprint', experiment.fingerprint()), ('run_id', self.config['run_id']),
            ('data_folder', self.data_folder)])
        if folder:
            more['parameter_folder'] = os.path.relpath(folder, self.paths.result_dir)
        if self.paths.predictions:
            more['predictions_file'] = os.path.relpath(self.paths.predictions, self.paths.result_dir)
        more['chosen_config'] = experiment.pattern or [sizes.chosen_patterns(record) for record in records]
        return sizes.entry_of(experiment, records, more)

    def write_temporary(self):
        """Writes what there is of the entry, for people to look at."""
        try:
            self.lock.check('this experiment')
            mat_file.write_temp(self.paths.temporary, self._entry(self.records()))
        except OSError as error:        # the trials go on
            self.say('note: %s' % error_text(error))

    def remove_temporary(self):
        if os.path.exists(self.paths.temporary) and not self.paths.other_unfinished():
            os.remove(self.paths.temporary)

    def _write_predictions(self, records):
        """Writes the file of predictions, if it is asked for; no trouble with it costs the entry."""
        if self.paths.predictions:
            try:
                predictions.write(self.paths.predictions, predictions.variables(
                    records, self.experiment.tasks,
                    {'fingerprint': self.experiment.fingerprint(), 'run_id': self.config['run_id'],
                     'data_type': self.experiment.data_type}))
                self.say('predictions: %s' % self.paths.predictions)
            except (OSError, UserError) as problem:
                self.error('error: %s' % (problem if isinstance(problem, UserError) else error_text(problem)))

    def write_entry(self, records):
        """Writes the entry of these trials, and shows its table."""
        experiment, entry = self.experiment, self._entry(records)
        self.lock.check('this experiment')
        self._write_predictions(records)
        path = mat_file.append_entry(self.paths.mat, entry, replace=not self.config['restarted'],
                                     keep=(choice.FIELD,))
        self.show(texts.table(entry, entry['task_order']))
        if experiment.pattern is None:
            self.show('layers that each task shares (S) or has of its own (T), input side first:')
            for record in records:
                self.show('  trial %d: %s' % (record.trial, '  '.join(
                    'task %d %s' % pair for pair in zip(experiment.tasks, sizes.chosen_patterns(record)))))
        lines = [line for record in records
                 for line in experiment.model.method.lines(record, experiment.tasks)]
        for line in lines and ['per layer, input side first:'] + ['  ' + line for line in lines]:
            self.show(line)
        self.show('%s over %s in %s' % (experiment.model_type, plural(len(records), 'trial'), path))
        if path != self.paths.mat:
            self.show('%s would become too large for MATLAB, so the experiment is in %s'
                      % (self.paths.mat, path))


def memory_fraction(flags):
    """Share of a GPU's memory that a trial may take; None: as much as it needs."""
    sharing = -(-(flags.jobs or 1) // len(flags.gpu))
    return flags.gpu_memory_fraction or (None if sharing == 1 else GPU_MEMORY / sharing)
