% Reads a result file. Octave: octave-cli scripts/read_results.m Result/NAME.mat
% MATLAB: file = 'Result/NAME.mat'; run scripts/read_results.m
if ~exist('file', 'var')
  words = argv(); file = words{end};
end
stored = load(file);                                    % training_summary: a cell, one struct per experiment
for k = 1:numel(stored.training_summary)
  experiment = stored.training_summary{k};
  runs = experiment.result_of_each_run;                 % a cell, one struct per trial
  fprintf('%s, number of trials: %d\n', experiment.model_specific_info.architecture, numel(runs));
  if isfield(experiment, 'accuracy_matrix')             % trials x positions x tasks; not in the authors' release's files
    R = shiftdim(mean(experiment.accuracy_matrix, 1), 1);
    fprintf('final average test accuracy, mean over trials: %.4f\n', mean(R(end, :)));
  end
  for t = unique(experiment.task_order(:))'             % tasks count from 0; row 1 of a history precedes training
    curves = cellfun(@(run) run.history_test_error(:, t + 1), runs, 'UniformOutput', false);
    last = cellfun(@(curve) curve(end), curves);        % accuracies, despite their name; 0 before a task is learned
    fprintf('task %d: test accuracy after the last epoch, mean over trials: %.4f\n', t, mean(last));
  end
end
