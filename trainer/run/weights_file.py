"""The bytes of a `.weights.h5` file, made in memory.

HDF5 cannot close a file on a full disk: it tries again at the end of the process, which
ends in a segmentation fault. In memory there is room for the file, and Python reports
a disk that is full.
"""

import io

import h5py
import keras

# Keras has no public function that saves weights elsewhere than under a path. Versions
# 3.8 to 3.15 have both names.
from keras.src.saving.saving_lib import H5IOStore
from keras.src.saving.saving_lib import _save_state


def to_bytes(model: keras.Model) -> bytes:
    """Returns the bytes that `model.save_weights` would write to a file."""
    store = H5IOStore(io.BytesIO(), mode="w")
    store.h5_file.close()
    # The driver "core" lays a file out as it is on a disk; that of a BytesIO does not.
    # The name is that of no file.
    with h5py.File("weights", mode="w", driver="core", backing_store=False) as file:
        store.h5_file = file
        _save_state(
            model,
            weights_store=store,
            assets_store=None,
            inner_path="",
            visited_saveables=set(),
        )
        file.flush()
        return file.id.get_file_image()
