"""A data set made by code: classes are directions of stripes, under noise; a task tells two directions apart.

    python3 main.py --plugin examples/stripes.py --data_type Stripes --model_type LASEM_HPS --lifelong
"""
import numpy as np

from classification.plugin import Network, Option, Training, data_set, number, whole

SIZE, CLASSES = 12, 8


@data_set('Stripes', 'direction 2t or 2t + 1 of stripes, 12 x 12 pixels, made by code', (SIZE, SIZE, 1),
          tasks=[[which, which + 1] for which in range(0, CLASSES, 2)],
          network=Network(kernels=(3, 3), channels=(8, 16), pools=(2, 2), hidden=(32,),
                          df_knowledge=((2, 6), (2, 6)), df_tensor=((3, 6), (3, 8))),
          training=Training(lr=1e-3, lr_decay=1 / 250., patience=30, epochs=30),
          options=(Option('noise', 0.3, number(0, 1), 'Stripes: share of noise in an image'),
                   Option('images_per_class', 200, whole(3), 'Stripes: images of each class')))
def stripes(options):
    """uint8 [n, 12, 12, 1] for each class."""
    random, count = np.random.RandomState(0), options['images_per_class']
    rows, columns = np.mgrid[:SIZE, :SIZE]
    classes = []
    for which in range(CLASSES):
        angle = np.pi * which / CLASSES
        phase, wave = random.uniform(0, 2 * np.pi, (count, 1, 1)), random.uniform(0.8, 1.6, (count, 1, 1))
        pattern = 0.5 + 0.5 * np.sin(wave * (rows * np.sin(angle) + columns * np.cos(angle)) + phase)
        noise = random.uniform(0, 1, pattern.shape)
        image = (1 - options['noise']) * pattern + options['noise'] * noise
        classes.append(np.uint8(255 * image)[..., None])
    return classes
