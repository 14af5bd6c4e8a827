"""Image files as people have them: JPEG, PNG, WebP, BMP, TIFF of any size -> 8-bit pixels of the size of a
network."""
import contextlib

import numpy as np

from classification.data import jpeg
from utils.utils import UserError

ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
# photographs with sides of more than 8 times an image's are first shrunk to 4 times its size
SPARE = 4


def packages(title):
    """OpenCV and scikit-image, imported here because most data sets need neither; `title`: of the data set
    that does."""
    try:
        import cv2
    except ImportError as error:
        raise UserError('%s needs OpenCV, which cannot be imported (%s); on a server without a display '
                        'run: python3 -m pip install opencv-python-headless   or: apt-get install libgl1'
                        % (title, error)) from error
    try:
        import skimage.transform
    except ImportError as error:
        raise UserError('%s needs scikit-image, which cannot be imported (%s); '
                        'run: python3 -m pip install scikit-image' % (title, error)) from error
    return cv2, skimage


def decoded(content, mode):
    """The pixels in the bytes of an image file, blue first; None if it is damaged or no image.

    Args:
        mode: of cv2.imdecode.
    """
    import cv2

    def decode(part):
        return cv2.imdecode(np.frombuffer(part, np.uint8), mode)

    if content:
        with contextlib.suppress(cv2.error):      # a header that speaks of more than 2^30 pixels
            return jpeg.whole(content, decode) if content.startswith(jpeg.START) else decode(content)
    return None


def picture(content, shape):
    """uint8 image of this shape, red first, from the bytes of an image file, turned as its EXIF says; None if
    it is damaged or no image."""
    import cv2
    grey = shape[-1] == 1
    image = decoded(content, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    if image is None:
        return None
    image = shrunk(image, SPARE * shape[0])
    image = image[..., np.newaxis] if grey else image[..., ::-1]
    return image if image.shape == shape else resized(image, shape)


def shrunk(image, size):
    """A large image, its sides still at least `size`, by means over blocks:
    `resized` computes all its pixels in floats."""
    import cv2
    factor = min(image.shape[:2]) // size
    if factor < 2:
        return image
    return cv2.resize(image, tuple(side // factor for side in image.shape[1::-1]),
                      interpolation=cv2.INTER_AREA)


def resized(image, shape):
    """uint8 image of this shape, by anti-aliased linear interpolation."""
    import skimage.transform
    pixels = image.astype(np.float32) / 255
    small = skimage.transform.resize(pixels, shape, order=1, mode='reflect', anti_aliasing=True)
    return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
