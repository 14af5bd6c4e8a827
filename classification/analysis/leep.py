"""LEEP: how well a network that was trained on one task transfers to another, without training (Nguyen et
al., ICML 2020)."""
import numpy as np

from classification.results.summary import LEEP_SCORES

SPLITS = ('train', 'valid', 'test')      # in the order of LEEP_SCORES


def leep(logits, labels):
    """Log expected empirical prediction: (1/n) sum_i ln sum_z P(y_i|z) theta(x_i)_z, at most 0.

    theta is the softmax over the classes z of the network's own task; P(y|z) = P(y,z) / P(z) with the
    empirical joint distribution P(y,z) = (1/n) sum_i [y_i = y] theta(x_i)_z (Nguyen et al. 2020, equations 1
    and 2).

    Args:
        logits: [n, classes of the network's task], without dropout, for the images of the other task.
        labels: int [n], of the other task.
    """
    logits = np.asarray(logits, np.float64)
    theta = np.exp(logits - logits.max(axis=1, keepdims=True))
    theta /= theta.sum(axis=1, keepdims=True)
    # [n, classes that occur]
    truth = np.equal(np.reshape(labels, (-1, 1)), np.unique(labels)).astype(np.float64)
    joint = truth.T.dot(theta) / len(labels)
    of_class = joint.sum(axis=0)
    conditional = np.divide(joint, of_class, out=np.zeros_like(joint), where=of_class > 0)
    return float(np.log((truth.dot(conditional) * theta).sum(axis=1)).mean())


def scores(graph, earlier):
    """[splits, len(earlier)]: the scores of earlier tasks' networks on the task that is about to be trained.

    Args:
        graph: TaskGraph of that task, not trained yet.
        earlier: indices of tasks that were learned before.
    """
    splits = [getattr(graph.task, split) for split in SPLITS]
    return np.array([[leep(graph.probe('logits%d' % task, split), split.labels) for task in earlier]
                     for split in splits])


def fields(table):
    """The result fields: dict name -> [positions, tasks], from a table [splits, positions, tasks]."""
    return dict(zip(LEEP_SCORES, table))
