"""The jobs file of the published system, translated: a list of tasks for real-time cine U-Nets.

The system is ``UNet-MRI-Reconstruction`` by W. Gu (2019),
https://github.com/g2archie/UNet-MRI-Reconstruction. Its tasks become jobs of the family
``reconstruction``; whatever a key no longer means is said, once for each key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from napari_mrgen.app.jobs.file import Entry, Job, JobFile, Paths, Prediction, anchored, parse_entry
from napari_mrgen.app.jobs.notify import PASSWORD, SERVICE, Notices
from napari_mrgen.errors import MrgenError, unknown
from napari_mrgen.io.naming import set_of
from napari_mrgen.io.raw_data.hdf5 import opened_hdf5

FAMILY, PRESET = "reconstruction", "published"
MAIL_FILE = "email_config.yaml"
SERIES = "imagesRecon"
"""Where a file keeps its undersampled series, ``(series, x, y, t)``."""

NETWORKS = {
    "UNet3D": "published",
    "UNet3D_old": "unet3d_old",
    "UNet2D1D": "unet2d1d",
    "UNet2D2D": "unet2d2d",
}
LOSSES = {
    "mse": "mse", "mean_squared_error": "mse",
    "mae": "mae", "mean_absolute_error": "mae",
    "binary_crossentropy": "bce", "bce": "bce",
    "ssim_loss": "ssim", "psnr_loss": "psnr",
}  # fmt: skip
"""Keras's names and the system's own, in lower case."""
OPTIMIZERS = {"Adam": "adam", "RMSprop": "rmsprop"}
FIGURES = {"ssim": "SSIM", "psnr": "PSNR"}
"""What early stopping can watch, of what the system calls metrics."""
REGULARIZERS = ("l1", "l2", "l1_l2", "batch_norm", "instance_norm", "dropout", "dropblock")


class PublishedData(Entry):
    """Where its data are."""

    x_train: Path | None = None
    y_train: Path | None = None
    x_val: Path | None = None
    y_val: Path | None = None
    x_test: Path | None = None
    y_test: Path | None = None
    saved_network_weights: Path | None = None


class PublishedOptimizer(Entry):
    type: str = "Adam"
    learning_rate: float = Field(1e-4, gt=0)


class PublishedRegularization(Entry):
    type: str | None = None
    parameters: tuple[float, ...] | None = None


class PublishedStopping(Entry):
    use: bool = False
    patience: int = Field(2, ge=0)
    min_delta: float = Field(0.0, ge=0)


class PublishedNetwork(Entry):
    network_type: str
    batch_size: int = Field(1, ge=1)
    epochs: int = Field(20, ge=1)
    loss: str = "MSE"
    metrics: tuple[str, ...] = ("ssim",)
    optimizer: PublishedOptimizer = PublishedOptimizer()
    regularization: PublishedRegularization = PublishedRegularization()
    early_stopping: PublishedStopping = PublishedStopping()


class PublishedTask(Entry):
    """One task of the list."""

    task_name: str
    task_type: Literal["train", "train_and_predict", "predict"]
    email_notification: bool = False
    input_data_path: PublishedData
    network_settings: PublishedNetwork
    output_data_dir: Path


class PublishedMail(Entry):
    """Its ``email_config.yaml``; the password is never kept."""

    smtp_server: str
    smtp_server_port: int = 587
    sender_email_address: str
    receiver_email_address: str
    sender_email_password: Any = None


def is_published_layout(values: Any) -> bool:
    return isinstance(values, list) and any(
        isinstance(v, dict) and "task_name" in v for v in values
    )


def translate(values: list[Any], folder: Path) -> JobFile:
    """Return the jobs of such a list of tasks.

    Parameters
    ----------
    folder
        Where the file is. Paths start from the folder above ``config``, where the system was
        started, or from this one.

    Raises
    ------
    MrgenError
        If a task cannot be, or has no counterpart here.
    """
    root = folder.parent if folder.name == "config" else folder
    said: dict[str, str] = {}
    jobs = []
    for number, entry in enumerate(values, 1):
        name = entry.get("task_name", number) if isinstance(entry, dict) else number
        task = parse_entry(PublishedTask, entry, f"Task {name!r}")
        try:
            jobs.append(anchored(_job(task, root, said), root))
        except MrgenError as error:
            msg = f"Task {task.task_name!r}: {error}"
            raise MrgenError(msg) from None
        wants_mail = task.email_notification
        if wants_mail and "email_notification" not in said:
            said["email_notification"] = (
                f"notices go by the server in {MAIL_FILE}, and of all tasks of the list or of none"
            )
    notices = _notices(folder, said) if "email_notification" in said else None
    lines = tuple(f"{key}: {line}." for key, line in said.items())
    return JobFile(jobs=tuple(jobs), notify=notices, translated=lines)


def _job(task: PublishedTask, root: Path, said: dict[str, str]) -> Job:
    data = task.input_data_path
    said["output_data_dir"] = (
        "a task's folder is OUTPUT/TASK without date and time, so that a task that was cut off "
        "goes on when the file is run again"
    )
    shared = {
        "name": task.task_name, "task": task.task_type,
        "out": task.output_data_dir / task.task_name,
    }  # fmt: skip
    if task.task_type == "predict":
        model = _weights(data, "the model to predict with")
        inputs = {"undersampled": _needed(data.x_test, "x_test")}
        return parse_entry(
            Job, {**shared, "model": model, "inputs": inputs, "truth": data.y_test}, ""
        )
    settings = _settings(task.network_settings, data, root, said)
    values = {
        **shared,
        "family": FAMILY,
        "preset": PRESET,
        "settings": settings,
        "inputs": _training(data, root, said),
        "weights": "all",
        "export": "onnx",
    }
    said["tf_serving"] = "the model is written as export/model.onnx; `napari-mrgen serve` serves it"
    if data.saved_network_weights is not None:
        values["start_from"] = _weights(data, "what the training starts from")
    if task.task_type == "train_and_predict" and data.x_test is not None:
        values["predict"] = Prediction(inputs={"undersampled": data.x_test})
        values["truth"] = data.y_test
    return parse_entry(Job, values, "")


def _training(data: PublishedData, root: Path, said: dict[str, str]) -> dict[str, Paths]:
    """Return what is trained on and, in the same roles, what it is judged by on the way."""
    x, y = _needed(data.x_train, "x_train"), _needed(data.y_train, "y_train")
    if data.x_val is None and data.y_val is None:
        return {"undersampled": (x,), "truth": (y,)}
    said["x_val"] = (
        "curves, early stopping and the scoreboard are of these series; x_test is only predicted"
    )
    x_val, y_val = _needed(data.x_val, "x_val"), _needed(data.y_val, "y_val")
    for path, wanted in ((x, "train"), (y, "train"), (x_val, "val"), (y_val, "val")):
        # Without it the series of all files would be split at random, and most of x_val trained on.
        if set_of(root / path / SERIES) != wanted:
            msg = (
                f"the name of {path.name} does not say that it is of the set {wanted!r}; rename "
                f"it, such as to {path.stem}_{wanted}{path.suffix}, or leave x_val and y_val empty."
            )
            raise MrgenError(msg)
    return {"undersampled": (x, x_val), "truth": (y, y_val)}


def _settings(
    network: PublishedNetwork, data: PublishedData, root: Path, said: dict[str, str]
) -> dict[str, Any]:
    """Return the settings of the family."""
    series = _count_series(root / _needed(data.x_train, "x_train"))
    epoch = math.ceil(series / network.batch_size)
    said["epochs"] = (
        f"a training is counted in steps: {epoch} of {network.batch_size} series are an epoch of "
        f"{series}, after each of which there is an evaluation and a checkpoint"
    )
    said["network_type"] = "the residual may take away as well as add"
    settings: dict[str, Any] = {
        "network": _chosen("network", network.network_type, NETWORKS),
        "loss": _chosen("loss", network.loss.lower(), LOSSES),
        "optimizer": _chosen("optimizer", network.optimizer.type, OPTIMIZERS),
        "learning_rate": network.optimizer.learning_rate,
        "batch_size": network.batch_size,
        "steps": network.epochs * epoch,
        "save_every": epoch,
        "preview_every": epoch,
    }
    settings |= _regularization(network.regularization, said)
    return settings | _stopping(network, said)


def _stopping(network: PublishedNetwork, said: dict[str, str]) -> dict[str, Any]:
    stopping = network.early_stopping
    if not stopping.use:
        return {"patience": 0}
    said["early_stopping"] = (
        "the best weights become the model, and the last are kept beside them; patience counts "
        "evaluations, of which each epoch has one"
    )
    watched = network.metrics[0].lower() if network.metrics else "ssim"
    if watched not in FIGURES:
        said["metrics"] = f"{watched} cannot be watched; early stopping goes by SSIM"
    monitor = FIGURES.get(watched, "SSIM")
    return {"patience": stopping.patience, "min_delta": stopping.min_delta, "monitor": monitor}


def _regularization(chosen: PublishedRegularization, said: dict[str, str]) -> dict[str, Any]:
    if chosen.type is None:
        return {}
    if chosen.type not in REGULARIZERS:
        raise unknown("regularization", chosen.type, REGULARIZERS)
    settings: dict[str, Any] = {"regularizer": chosen.type}
    values = chosen.parameters or ()
    if not values or chosen.type in ("batch_norm", "instance_norm"):
        return settings
    strength = values[0]
    if chosen.type == "dropblock":
        said["regularization"] = "the rate of dropblock is the share that is dropped, not kept"
        strength = 1 - strength
        settings |= {"block_size": int(values[1])} if len(values) > 1 else {}
    if chosen.type == "l1_l2" and len(set(values)) > 1:
        said["regularization"] = "l1_l2 has one weight for both; the first value is taken"
    name = "drop_rate" if chosen.type.startswith("drop") else "penalty"
    return {**settings, name: round(strength, 12)}


def _chosen(what: str, name: str, known: Mapping[str, str]) -> str:
    if name not in known:
        raise unknown(what, name, known)
    return known[name]


def _needed(path: Path | None, key: str) -> Path:
    if path is None:
        msg = f"{key} under input_data_path is empty; give the file."
        raise MrgenError(msg)
    return path


def _weights(data: PublishedData, what: str) -> Path:
    """Return a model of this program; weights of Keras are of other networks."""
    path = _needed(data.saved_network_weights, "saved_network_weights")
    if path.suffix in (".h5", ".hdf5", ".tf", ".ckpt", ".index"):
        msg = (
            f"saved_network_weights ({path.name}) are of Keras and cannot be read as {what}; "
            "train the network anew and name its run folder."
        )
        raise MrgenError(msg)
    return path


def _count_series(path: Path) -> int:
    """Return how many series a file holds, without reading them."""
    with opened_hdf5(path) as file:
        if SERIES not in file:
            msg = f"{path.name} holds no {SERIES}; expected the undersampled series in x_train."
            raise MrgenError(msg)
        return int(file[SERIES].shape[0])


def _notices(folder: Path, said: dict[str, str]) -> Notices | None:
    """Return the notices that the file beside that of the tasks asks for, if it is there."""
    path = folder / MAIL_FILE
    if not path.exists():
        said["email_notification"] = f"there is no {MAIL_FILE} beside the file, so none are sent"
        return None
    mail = parse_entry(PublishedMail, _read_mail(path), MAIL_FILE)
    if mail.sender_email_password:
        said["sender_email_password"] = (
            f"it is not read; put it into the environment variable {PASSWORD}, or into the keyring "
            f"under {SERVICE}, and take it out of the file"
        )
    return Notices.read(
        {
            "email": {
                "server": mail.smtp_server,
                "port": mail.smtp_server_port,
                "sender": mail.sender_email_address,
                "to": mail.receiver_email_address,
            }
        }
    )


def _read_mail(path: Path) -> Any:
    """Read the file; nothing of its lines is said, as one of them holds a password."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise MrgenError(f"{path.name} cannot be read; is it a text file?") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"; look at line {mark.line + 1}"
        raise MrgenError(f"{path.name} is not a YAML file{where}.") from None
