"""The bytes of a `.weights.h5` file, made in memory, and how such a file is loaded.

HDF5 cannot close a file on a full disk: it tries again at the end of the process, which
ends in a segmentation fault. In memory there is room for the file, and Python reports
a disk that is full.
"""

import io
import pathlib

import h5py
import keras

# Keras has no public function that saves weights elsewhere than under a path. Versions
# 3.8 to 3.15 have both names.
from keras.src.saving.saving_lib import H5IOStore
from keras.src.saving.saving_lib import _save_state

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


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


def load(model: keras.Model, path: pathlib.Path, *, fix: str) -> None:
    """Sets the weights of a model from a file that `hdf5_check` has let through.

    Args:
      model: a network that is built.
      path: a local file.
      fix: what the user can do about a file of another network.

    Raises:
      CommandError: the file does not hold this network's weights.
    """
    try:
        model.load_weights(path)
    # What Keras raises depends on where the file differs.
    except (ValueError, KeyError, TypeError, OSError, RuntimeError) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path} does not hold the weights of {model.name} ({type(e).__name__})",
            fix=fix,
        ) from e
