"""Images are (height, width, channels), whatever Keras is set to."""

import contextlib

import keras


@contextlib.contextmanager
def channels_last():
    """A scope in which layers are made for channels that come last.

    Layers keep it: networks can be trained, saved and loaded outside.
    """
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)
