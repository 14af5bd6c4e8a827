"""The reader of Office-Home: a folder of photographs for each domain and class, resized to 128 x 128."""
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from classification.data import photographs
from classification.data.source import Incomplete, Source, below
from classification.data.task_lists import OFFICEHOME_CLASSES
from utils.cores import cores
from utils.utils import UserError, plural, silent_libraries

ARCHIVES = ('OfficeHomeDataset_10072016', 'OfficeHomeDataset')
SPELLINGS = {'Product': ('Product',), 'RealWorld': ('Real World', 'RealWorld', 'Real_World')}
ENDINGS = photographs.ENDINGS
SIZE = 128


class OfficeHomeFolders(Source):
    """Class numbers run through the classes of the first domain, then of the second."""
    to_get = 'give that file with --archive'
    to_renew = 'delete the folder of its domain and give the archive with --archive'
    classes_of_domain = len(OFFICEHOME_CLASSES)

    def __init__(self, name, domains):
        super(OfficeHomeFolders, self).__init__(name, 'Office-Home', (SIZE, SIZE, 3),
                                                'OfficeHomeDataset_10072016.zip',
                                                'https://www.hemanthdv.org/officeHomeDataset.html',
                                                below(*(ARCHIVES
                                                        + tuple('%s/%s' % (name, name)
                                                                for name in ARCHIVES))))
        self.domains = domains

    def name_of(self, number):
        return OFFICEHOME_CLASSES[number % len(OFFICEHOME_CLASSES)]

    def place_of(self, parts):
        """Both domains, whichever this data set needs."""
        domain = next((spellings[0] for spellings in SPELLINGS.values() if parts[-3:-2]
                       and parts[-3] in spellings), None)
        name = parts[-1]
        if domain and parts[-2] in OFFICEHOME_CLASSES and name.lower().endswith(
                ENDINGS) and not name.startswith('.'):
            return os.path.join(domain, parts[-2], name)
        return None

    def labels(self, data_dir):
        numbers = {'%s/%s' % (domain, name): domain_folder * len(OFFICEHOME_CLASSES) + number
                   for domain_folder, domain in enumerate(self.domains) for number,
                   name in enumerate(OFFICEHOME_CLASSES)}
        return OrderedDict([('all', np.array([numbers[role.rsplit('/', 1)[0]]
                                              for role in self.files(data_dir)],
                                             np.int32))])

    def recipe(self):
        cv2, skimage = self._packages()
        return 'decoded by %s, resized by %s' % (cv2.__version__, skimage.__version__)

    def decode(self, data_dir, say):
        paths = list(self.files(data_dir).values())
        images = np.empty((len(paths),) + self.image_shape, np.uint8)
        self._packages()
        say('Office-Home: decoding %s, which can take some minutes' % plural(len(paths), 'image'))
        # Threads, as the packages release Python's lock. At an error all of them end here: a thread that is
        # still in OpenCV when the process ends makes it abort.
        with silent_libraries(), ThreadPoolExecutor(cores()) as workers:
            for row, image in enumerate(workers.map(self._decode_one, paths)):
                images[row] = image
        return images

    def find(self, data_dir):
        """The first folder that holds one of the domains must hold all of them, and all classes of each."""
        folders = self.folders(data_dir)
        for folder in folders:
            domain_folders = OrderedDict((domain, self._domain(folder, domain)) for domain in self.domains)
            absent = [SPELLINGS[domain][0] for domain, domain_folder in domain_folders.items()
                      if domain_folder is None]
            if len(absent) < len(domain_folders):
                if absent:
                    present = [os.path.basename(domain_folder) for domain_folder in domain_folders.values()
                               if domain_folder]
                    raise self.incomplete(folder, absent, present)
                return folder, OrderedDict(('%s/%s/%s' % (domain, name, os.path.basename(path)), path)
                                           for domain, domain_folder in domain_folders.items()
                                           for name, paths in self._classes(domain_folder) for path in paths)
        raise self.missing([os.path.join(folders[0], SPELLINGS[self.domains[0]][0])], folders[0])

    def _domain(self, folder, domain):
        """The folder of a domain in another one; None if there is none."""
        domain_folders = [os.path.join(folder, spelling) for spelling in SPELLINGS[domain]]
        domain_folders = [domain_folder for domain_folder in domain_folders if os.path.isdir(domain_folder)]
        for other in domain_folders[1:]:
            if not os.path.samefile(domain_folders[0], other):
                raise UserError('%s: %s and %s are both there; move the wrong one away'
                                % (self.title, domain_folders[0], other))
        return domain_folders[0] if domain_folders else None

    def _classes(self, domain_folder):
        """List of (class name, sorted paths of its images) in the folder of a domain."""
        absent = [name for name in OFFICEHOME_CLASSES if not os.path.isdir(os.path.join(domain_folder, name))]
        if absent:
            raise self.incomplete(domain_folder, absent, [name for name in OFFICEHOME_CLASSES
                                                          if name not in absent])
        found = []
        for name in OFFICEHOME_CLASSES:
            folder = os.path.join(domain_folder, name)
            paths = [os.path.join(folder, entry) for entry in sorted(os.listdir(folder))
                     if entry.lower().endswith(ENDINGS) and not entry.startswith('.')]
            if not paths:
                raise Incomplete('%s: no image in it (%s expected); get %s anew from %s'
                                 % (folder, ', '.join(ENDINGS), self.archive, self.home))
            found.append((name, paths))
        return found

    @staticmethod
    def _packages():
        """OpenCV and scikit-image, imported here because few data sets need them."""
        return photographs.packages('Office-Home')

    def _decode_one(self, path):
        """One file as uint8 [128, 128, 3], red first;
        grey images get three channels, an alpha channel is dropped."""
        content = self.read(path)
        image = self.picture(content, self.image_shape)
        if image is None:
            raise self.broken(path, 'is damaged or no image (%d bytes), expected a whole JPEG' % len(content))
        return image

    def picture(self, content, shape):
        cv2, _ = self._packages()
        image = photographs.decoded(content, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return None if image is None else photographs.resized(image[..., ::-1], shape)


OFFICEHOME = OfficeHomeFolders('officehome', ('Product', 'RealWorld'))
OFFICEHOME_PRODUCT = OfficeHomeFolders('officehome-product', ('Product',))
