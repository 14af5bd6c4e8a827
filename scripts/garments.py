"""Ten-class tasks of few images that have more or less in common, made of Fashion-MNIST: for study.sh.

An image, 16 x 16 with three colours, holds a garment that counts, in the task's colour, and one that
distracts, in the other two colours, both on noise and slightly shifted. A task says which colour counts and
whether everything is turned by 90 degrees. So the first layers of two tasks of the same colour have something
in common, the last ones of two tasks of the same turn. In the task "shuffled" the pixels change places, by
the same permutation in every image: no local feature of another task is of use.

The files are those of Fashion-MNIST in Data or where Debian's package dataset-fashion-mnist puts them.
"""
import numpy as np

from classification.gen_data import DATASETS
from classification.plugin import Network, Option, Training, data_set, number

SIZE, GARMENTS = 16, 10
COLOURS = {'red': 0, 'green': 1, 'blue': 2}
# (colour that counts, quarter turns, whether the pixels are shuffled), in the order they are learned
TASKS = (('red', 0, False), ('red', 1, False), ('green', 0, False), ('green', 1, False), ('red', 0, True),
         ('red', 0, False))


def few(index, label, request):
    """24 images of each class train, 6 validate, 60 test, drawn anew in each trial."""
    rows = request.shuffled(index.rows('all', label), 'split of class %s' % label, 'train')
    return {'train': rows[:24], 'valid': rows[24:30], 'test': rows[30:90]}


@data_set('Garments', 'garments in a colour that counts, turned or not, 24 training images of each',
          (SIZE, SIZE, 3),
          tasks=[[GARMENTS * task + garment for garment in range(GARMENTS)] for task in range(len(TASKS))],
          network=Network(kernels=(3,) * 4, channels=(16, 16, 32, 32), pools=(1, 2, 1, 2), hidden=(64,),
                          df_knowledge=((2, 8), (2, 8), (2, 12), (2, 12)),
                          df_tensor=((3, 12), (3, 12), (3, 16), (3, 16))),
          training=Training(lr=1e-3, lr_decay=1 / 250., patience=30, epochs=30), splits=few,
          options=(Option('noise', 0.25, number(0, 1), 'Garments: share of noise in an image'),
                   Option('distraction', 0.7, number(0, 1), 'Garments: brightness of what does not count')))
def garments(options):
    """uint8 [90, 16, 16, 3] for each class of each task."""
    source, random = DATASETS['FASHION10'].source, np.random.RandomState(0)
    labels = np.concatenate(list(source.labels('Data').values()))
    images = source.images('Data', lambda line: None)[..., 0]
    small = np.zeros((len(images), SIZE, SIZE), np.float32)
    small[:, 1:-1, 1:-1] = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)) / 255.
    order = [random.permutation(np.flatnonzero(labels == garment)) for garment in range(GARMENTS)]
    classes = []
    for place, (colour, turns, shuffled) in enumerate(TASKS):
        pixels = random.permutation(SIZE * SIZE)
        for garment in range(GARMENTS):
            counts = _shifted(small[order[garment][90 * place:90 * (place + 1)]], random)
            distracts = _shifted(small[random.randint(0, len(small), len(counts))], random)
            made = np.repeat(options['distraction'] * distracts[..., None], 3, axis=3)
            made[..., COLOURS[colour]] = counts
            made = (1 - options['noise']) * made + options['noise'] * random.uniform(0, 1, made.shape)
            made = np.rot90(made, turns, axes=(1, 2))
            if shuffled:
                made = made.reshape(len(made), -1, 3)[:, pixels].reshape(made.shape)
            classes.append(np.uint8(255 * np.ascontiguousarray(made)))
    return classes


def _shifted(images, random):
    """Each image moved by up to one pixel in each direction."""
    return np.stack([np.roll(image, random.randint(-1, 2, 2), axis=(0, 1)) for image in images])
