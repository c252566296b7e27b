"""The published system's own file of tasks, as it is shipped, becomes jobs."""

from __future__ import annotations

import copy
import traceback
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from napari_mrgen.app.jobs import published_layout
from napari_mrgen.app.jobs.file import JobFile, Prediction
from napari_mrgen.app.jobs.notify import PASSWORD
from napari_mrgen.app.jobs.published_layout import MAIL_FILE
from napari_mrgen.errors import MrgenError

SERIES, BATCH = 7, 2
TASK = yaml.safe_load(
    """
    task_name: 'UNet2D2D_MSE_loss_no_regularization'
    task_type: 'train_and_predict'
    email_notification: true
    input_data_path:
      x_train: './data/input_train.h5'
      y_train: './data/truth_train.h5'
      x_test: './data/input_test.h5'
      y_test: './data/truth_test.h5'
      x_val: './data/input_validation.h5'
      y_val: './data/truth_validation.h5'
      saved_network_weights:
    network_settings:
      network_type: 'UNet2D2D'
      batch_size: 2
      epochs: 20
      loss: 'MSE'
      metrics:
                - 'ssim'
      optimizer:
        type: 'Adam'
        learning_rate: 1.0e-04
      regularization:
        type:
        parameters:
      early_stopping:
        use: true
        patience: 2
        min_delta: 1.0e-02
    output_data_dir: './keras_training'
    """
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder in which the system was started, with its data."""
    (tmp_path / "config").mkdir()
    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "data" / "input_train.h5", "w") as file:
        file["imagesRecon"] = np.zeros((SERIES, 16, 16, 4), np.float32)
    return tmp_path


def translate(root: Path, *changes: tuple[str, Any]) -> JobFile:
    """Translate the task with some of its keys changed; ``a.b`` is a key within a key."""
    task = copy.deepcopy(TASK)
    for key, value in changes:
        *outer, last = key.split(".")
        place = task
        for name in outer:
            place = place[name]
        place[last] = value
    return published_layout.translate([task], root / "config")


def test_the_file_as_it_is_shipped(root: Path) -> None:
    (job,) = translate(root).jobs
    data = root / "data"
    assert (job.family, job.preset, job.task) == (
        "reconstruction",
        "published",
        "train_and_predict",
    )
    assert job.out == root / "keras_training" / TASK["task_name"]
    assert job.inputs == {
        "undersampled": (data / "input_train.h5", data / "input_validation.h5"),
        "truth": (data / "truth_train.h5", data / "truth_validation.h5"),
    }
    assert job.prediction == Prediction(inputs={"undersampled": data / "input_test.h5"})
    assert job.truth == data / "truth_test.h5"
    assert (job.weights, job.export) == ("all", "onnx")
    epoch = 4  # of 7 series in batches of 2
    assert job.settings == {
        "network": "unet2d2d", "loss": "mse", "optimizer": "adam", "learning_rate": 1e-4,
        "batch_size": BATCH, "steps": 20 * epoch, "save_every": epoch, "preview_every": epoch,
        "patience": 2, "min_delta": 0.01, "monitor": "SSIM",
    }  # fmt: skip


def test_each_key_that_has_changed_has_a_line(root: Path) -> None:
    lines = translate(root).translated
    assert [line.partition(":")[0] for line in lines] == [
        "output_data_dir", "epochs", "network_type", "early_stopping", "x_val", "tf_serving",
        "email_notification",
    ]  # fmt: skip
    assert all("\n" not in line and line.endswith(".") for line in lines)


def test_a_key_of_many_tasks_has_one_line(root: Path) -> None:
    second = {**copy.deepcopy(TASK), "task_name": "second"}
    both = published_layout.translate([TASK, second], root / "config")
    assert both.translated == translate(root).translated
    assert [job.name for job in both.jobs] == [TASK["task_name"], "second"]


@pytest.mark.parametrize(
    ("name", "loss"),
    [("MSE", "mse"), ("MAE", "mae"), ("binary_crossentropy", "bce"), ("ssim_loss", "ssim"),
     ("psnr_loss", "psnr"), ("mean_squared_error", "mse")],
)  # fmt: skip
def test_losses(name: str, loss: str, root: Path) -> None:
    (job,) = translate(root, ("network_settings.loss", name)).jobs
    assert job.train_config()
    assert job.settings["loss"] == loss


@pytest.mark.parametrize("network", ["UNet3D", "UNet3D_old", "UNet2D1D", "UNet2D2D"])
def test_networks(network: str, root: Path) -> None:
    (job,) = translate(root, ("network_settings.network_type", network)).jobs
    expected = "published" if network == "UNet3D" else network.lower()
    assert job.settings["network"] == expected


@pytest.mark.parametrize(
    ("kind", "values", "settings"),
    [
        ("l2", [1e-5], {"regularizer": "l2", "penalty": 1e-5}),
        ("l1_l2", [1e-5, 1e-4], {"regularizer": "l1_l2", "penalty": 1e-5}),
        ("dropout", [0.2], {"regularizer": "dropout", "drop_rate": 0.2}),
        ("dropblock", [0.9, 5],
         {"regularizer": "dropblock", "drop_rate": 0.1, "block_size": 5}),
        ("batch_norm", None, {"regularizer": "batch_norm"}),
        ("instance_norm", [], {"regularizer": "instance_norm"}),
    ],
)  # fmt: skip
def test_regularizers(
    kind: str, values: list[float] | None, settings: dict[str, Any], root: Path
) -> None:
    changes = {"type": kind, "parameters": values}
    (job,) = translate(root, ("network_settings.regularization", changes)).jobs
    names = ("regularizer", "penalty", "drop_rate", "block_size")
    assert {name: v for name, v in job.settings.items() if name in names} == settings
    assert job.train_config()  # The family takes them all.


def test_without_early_stopping_it_goes_on_to_its_end(root: Path) -> None:
    (job,) = translate(root, ("network_settings.early_stopping.use", False)).jobs
    assert job.settings["patience"] == 0


def test_a_task_that_only_predicts(root: Path) -> None:
    model = ("input_data_path.saved_network_weights", "keras_training/before")
    (job,) = translate(root, ("task_type", "predict"), model).jobs
    assert job.model == root / "keras_training" / "before"
    assert job.prediction.inputs == {"undersampled": root / "data" / "input_test.h5"}
    assert job.truth == root / "data" / "truth_test.h5"


def test_notices_go_by_its_mail_file_without_the_password(root: Path) -> None:
    (root / "config" / "email_config.yaml").write_text(
        "smtp_server: smtp.example.org\nsmtp_server_port: 587\n"
        "sender_email_address: me@example.org\nsender_email_password: never kept\n"
        "receiver_email_address: you@example.org\n"
    )
    file = translate(root)
    assert file.notify is not None
    assert file.notify.email is not None
    assert file.notify.email.server == "smtp.example.org"
    assert file.notify.email.to == ("you@example.org",)
    assert any(PASSWORD in line for line in file.translated)
    assert "never kept" not in repr(file)


def test_without_validation_nothing_is_said_of_it(root: Path) -> None:
    without = [(f"input_data_path.{key}", None) for key in ("x_val", "y_val")]
    file = translate(root, *without)
    assert len(file.jobs[0].inputs["undersampled"]) == 1
    assert any(line.startswith("x_val") for line in translate(root).translated)
    assert not any(line.startswith("x_val") for line in file.translated)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"smtp_server: a\nsender_email_password: 'never kept: \n", "YAML file; look at line 3"),
        (b"sender_email_password: never kept \xff\n", "cannot be read"),
        (b"sender_email_password: never kept \0\n", "is not a YAML file."),
        (b"never kept\n", MAIL_FILE),
    ],
)
def test_nothing_of_a_damaged_mail_file_is_said(content: bytes, said: str, root: Path) -> None:
    (root / "config" / MAIL_FILE).write_bytes(content)
    with pytest.raises(MrgenError, match=said) as raised:
        translate(root)
    assert "never kept" not in "".join(traceback.format_exception(raised.value))


def test_without_a_mail_file_nothing_is_sent(root: Path) -> None:
    file = translate(root)
    assert file.notify is None
    assert "there is no email_config.yaml" in file.translated[-1]
    assert translate(root, ("email_notification", False)).notify is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("network_settings.network_type", "UNet2D", "did you mean 'UNet2D2D'"),
        ("network_settings.loss", "hinge", "There is no loss 'hinge'"),
        ("network_settings.optimizer.type", "SGD", "There is no optimizer 'SGD'"),
        ("network_settings.regularization", {"type": "l3"}, "There is no regularization 'l3'"),
        ("network_settings.epoch", 3, "There is no key 'epoch'"),
        ("input_data_path.x_train", None, "x_train under input_data_path is empty"),
        ("input_data_path.x_train", "nowhere.h5", "nowhere.h5 cannot be opened"),
        ("input_data_path.x_val", "data/val_in.h5", "val_in.h5 does not say"),
        ("input_data_path.y_train", "data/y_trn.h5", "rename it, such as to y_trn_train.h5"),
        ("input_data_path.y_val", None, "y_val under input_data_path is empty"),
        ("task_type", "test", "task_type"),
        ("input_data_path.saved_network_weights", "weights.h5", "are of Keras"),
    ],
)
def test_what_has_no_counterpart_is_said(key: str, value: Any, said: str, root: Path) -> None:
    with pytest.raises(MrgenError, match=r"^[^\n]*$") as raised:
        translate(root, (key, value))
    assert said in str(raised.value)
    assert TASK["task_name"] in str(raised.value)


def test_the_layouts_are_told_apart() -> None:
    assert published_layout.is_published_layout([TASK])
    assert not published_layout.is_published_layout({"jobs": [TASK]})
    assert not published_layout.is_published_layout([])
