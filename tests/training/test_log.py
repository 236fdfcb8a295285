"""Log files: what a batch system has to read."""

import logging
import re
import types

import keras
import pytest

from minc_tf.training import LogLines, log_file


@pytest.fixture
def trained():
    """A model as the callback needs it: a step and a learning rate."""
    return types.SimpleNamespace(
        steps=8, optimizer=keras.optimizers.SGD(learning_rate=0.25)
    )


def test_a_line_an_epoch(tmp_path, trained, capsys):
    lines = LogLines(epochs=5, first_epoch=1)
    lines.set_model(trained)
    logs = {"loss": -1.23456, "knn_accuracy": 0.5, "other": 1.0}
    with log_file(tmp_path / "new/log.txt"):
        for epoch in (1, 2):
            clock = {"seconds": 30.0, "images_per_second": 1234.5}
            lines.on_epoch_end(epoch, logs | clock)
    first, second = (tmp_path / "new/log.txt").read_text().splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO epoch 2", first)
    assert first.endswith(
        "epoch 2/5, step 8, loss -1.235, knn_accuracy 0.5, learning rate "
        "0.25, 1,234 images/s, 0:01:30 left"
    )
    assert second.endswith("0:01:00 left")
    assert capsys.readouterr().err == ""  # the bar shows the same


def test_what_the_library_says_and_only_while_open(tmp_path):
    path = tmp_path / "log.txt"
    logger = logging.getLogger("minc_tf.somewhere")
    level = logging.getLogger("minc_tf").level
    logger.info("before")
    with log_file(path):
        logger.info("resuming")
        with log_file(tmp_path / "second.txt"):
            logger.warning("careful")
    logger.warning("after")
    lines = path.read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "INFO resuming",
        "WARNING careful",
    ]
    assert "careful" in (tmp_path / "second.txt").read_text()
    assert logging.getLogger("minc_tf").level == level
    with log_file(path):
        logger.warning("again")
    assert len(path.read_text().splitlines()) == 3


def test_unwritable(tmp_path):
    with pytest.raises(OSError), log_file(tmp_path):
        pass


def test_the_error_that_ended_it(tmp_path):
    with pytest.raises(ValueError), log_file(tmp_path / "log.txt"):
        raise ValueError("the loss\nis nan")
    with pytest.raises(KeyboardInterrupt), log_file(tmp_path / "log.txt"):
        raise KeyboardInterrupt
    first, second = (tmp_path / "log.txt").read_text().splitlines()
    assert first.endswith(" ERROR the loss is nan")
    assert second.endswith(" ERROR KeyboardInterrupt")
