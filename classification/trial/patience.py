"""When the training of a task ends: validation bookkeeping, and the rules of patience."""


class TaskProgress(object):
    """Validation bookkeeping of the task being learned."""

    def __init__(self, training, early_stopping, state=(-1., 0., 0)):
        self.training, self.early_stopping = training, early_stopping
        self.best_valid, self.best_test, self.improved_at = state

    def add(self, epoch, valid, test):
        """Notes the accuracies after `epoch` epochs of this task; returns whether this is the best epoch so far."""
        if valid <= self.best_valid:
            return False
        if valid > self.training.improvement * self.best_valid:
            self.improved_at = epoch
        self.best_valid, self.best_test = valid, test
        return True

    def exhausted(self, epoch):
        """Whether early stopping ends the task: no real improvement within the patience, which grows with the best."""
        patience = max(self.early_stopping, self.training.patience_multiplier * self.improved_at)
        return bool(self.early_stopping) and epoch - self.improved_at >= patience

    def state(self):
        """JSON-able, for a checkpoint."""
        return self.best_valid, self.best_test, self.improved_at


class PublishedPatience(TaskProgress):
    """The published rule: train until the patience, or the multiplier times the epoch of the last real improvement."""

    def exhausted(self, epoch):
        return epoch >= max(self.training.patience, self.training.patience_multiplier * self.improved_at)
