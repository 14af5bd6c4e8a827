% Reads a result file. Octave: octave-cli scripts/read_results.m Result/NAME.mat
% MATLAB: file = 'Result/NAME.mat'; run scripts/read_results.m
if ~exist('file', 'var')
  words = argv(); file = words{end};
end
stored = load(file);                                    % training_summary: a cell, one struct per experiment
for k = 1:numel(stored.training_summary)
  experiment = stored.training_summary{k};
  runs = experiment.result_of_each_run;                 % a cell, one struct per trial
  fprintf('%s, %d trials\n', experiment.model_specific_info.architecture, numel(runs));
  for p = 1:numel(experiment.task_order)                % the data set counts tasks from 0
    peak = experiment.best_test_error_each_task(:, p);  % trials x positions; accuracies, despite the name
    fprintf('task %d: peak test accuracy %.4f, sample std %.4f\n', experiment.task_order(p), mean(peak), std(peak));
  end
  if isfield(experiment, 'accuracy_matrix')             % trials x positions x tasks; not in older files
    R = shiftdim(mean(experiment.accuracy_matrix, 1), 1);
    fprintf('final average test accuracy %.4f\n', mean(R(end, :)));
  end
  curve = runs{1}.history_test_error(:, end);           % row 1 precedes training; last column: mean over tasks so far
  fprintf('mean test accuracy of the first trial after its last epoch %.4f\n', curve(end));
end
