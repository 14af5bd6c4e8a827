"""Pictures at random as files in folders."""
import os

import cv2
import numpy as np

PER_CLASS = 12


def picture(seed, height=8, width=8, channels=1):
    """uint8 [height, width, channels] at random."""
    return np.random.RandomState(seed).randint(0, 256, (height, width, channels)).astype(np.uint8)


def write(path, image):
    """Writes an image, red first, in the format of the ending; nothing is lost except in .jpg."""
    os.makedirs(os.path.dirname(str(path)), exist_ok=True)
    image = image[..., ::-1] if image.shape[-1] == 3 else image
    ending = os.path.splitext(str(path))[1]
    with open(str(path), 'wb') as stream:
        stream.write(cv2.imencode(ending, image, [cv2.IMWRITE_WEBP_QUALITY, 101] if ending == '.webp'
                                  else [])[1].tobytes())
    return str(path)


def classes_in(folder, names, count=PER_CLASS, seed=0, **more):
    """A folder of class folders."""
    for place, name in enumerate(names):
        for number in range(count):
            write(os.path.join(str(folder), name, '%d.png' % number), picture((seed, place, number), **more))
    return str(folder)
