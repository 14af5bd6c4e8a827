"""Images made from other images: for training batches (`--data_augment`) and for the STL analysis.

The one place where the operations are defined. They act on what the network sees, after scaling or
standardisation, as in the authors' release, whose data were scaled when they were loaded.
"""
import numpy as np

from utils.utils import random_state

COPY, NOISE, ROTATION, CROP = range(4)       # equally likely
NOISE_DEVIATION = 0.1
CROP_MARGIN = 4                              # zeros on each side
# 0..7 in the padded image; the offset 8 is not drawn, as published
CROP_OFFSETS = 8


def augmented(images, state):
    """Each image changed by one of four operations, drawn independently.

    Copy; Normal(0, 0.1) added to each value; rotation by 180 degrees; 4 zeros on each side and a crop of the
    old size at offsets uniform in 0..7, after a rotation by 180 degrees with probability 1/2.

    Args:
        images: float32 [n, height, width, channels], as the network sees them.
        state: RandomState; the result is a function of the images and its state.
    Returns:
        float32, the same shape.
    """
    number = len(images)
    kinds = state.randint(4, size=number)
    turns = state.randint(2, size=number)
    offsets = state.randint(CROP_OFFSETS, size=(number, 2))
    result = np.array(images, np.float32)
    noisy = kinds == NOISE
    result[noisy] += state.normal(0., NOISE_DEVIATION, result[noisy].shape).astype(np.float32)
    turned = (kinds == ROTATION) | (kinds == CROP) & (turns == 1)
    result[turned] = result[turned, ::-1, ::-1]
    cropped = kinds == CROP
    result[cropped] = _crops(result[cropped], offsets[cropped])
    return result


def _crops(images, offsets):
    """Crops of the zero-padded images; offsets [n, 2]: row and column of the crop's first pixel in the padded
    image."""
    number, height, width = images.shape[:3]
    margin = (CROP_MARGIN, CROP_MARGIN)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)), 'constant')
    rows = offsets[:, :1] + np.arange(height)
    columns = offsets[:, 1:] + np.arange(width)
    return padded[np.arange(number)[:, None, None], rows[:, :, None], columns[:, None, :]]


# ---- the STL analysis: a task's training set, enlarged ----

class EnlargedImages(object):
    """The images of a training split, and after them augmented ones, each made when it is asked for.

    float32, as the network sees them: they need neither scale nor offset.

    Args:
        split: gen_data.Split.
        sources: row of the split from which each further image is made.
        draw: function place (from 0) -> RandomState of that further image.
    """

    def __init__(self, split, sources, draw):
        self.split, self.draw = split, draw
        self.sources = np.concatenate([np.arange(split.size), sources])

    def __getitem__(self, rows):
        images = self.split.seen(self.sources[rows])
        for place, row in enumerate(rows):
            if row >= self.split.size:
                images[place] = augmented(images[place][None], self.draw(int(row) - self.split.size))[0]
        return images


def before_enlarging(split):
    """The split that an enlarged one was made from; another one as it is."""
    return split.pixels.split if isinstance(split.pixels, EnlargedImages) else split


def enlarged_size(train_sizes, task, ratio):
    """Training images of a task in the STL analysis: int(ratio * all of tasks 0..task), and not fewer than
    its own.

    Args:
        train_sizes: training images of each task.
        ratio: in [0, 1].
    """
    return max(int(ratio * sum(train_sizes[:task + 1])), train_sizes[task])


def enlarged(tasks, task, ratio, seed, trial):
    """The tasks, with the training split of one of them enlarged for the STL analysis.

    Args:
        tasks: list of gen_data.Task, by index.
        task, ratio: see `enlarged_size`.
        seed, trial: with the task, they determine the images.
    """
    split, place = tasks[task].train, dict(seed=seed, trial=trial, task=task)
    more = enlarged_size([one.train.size for one in tasks], task, ratio) - split.size
    sources = random_state(purpose='stl analysis: sources', **place).randint(split.size, size=more)
    images = EnlargedImages(split, sources, lambda number: random_state(
        step=number, purpose='stl analysis', **place))
    channels = split.scale.shape
    whole = split._replace(labels=np.concatenate([split.labels, split.labels[sources]]),
                           scale=np.ones(channels, np.float32),
                          offset=np.zeros(channels, np.float32), pixels=images,
                           rows=np.arange(split.size + more), swap=None)
    return [one._replace(train=whole) if index == task else one for index, one in enumerate(tasks)]
