"""``serve``: a trained model as an HTTP service, on this machine or for others."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mrgen.cli.options import add_device, add_json, print_json
from napari_mrgen.errors import MrgenError, need

if TYPE_CHECKING:
    from napari_mrgen.service.server import Service

_LAST_PORT = 65535
_EXPOSED = (
    "Others can reach this service, and nothing is encrypted: put a TLS proxy or an SSH tunnel "
    "between."
)


def add_serve(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Serve a trained model over HTTP: NIfTI in, NIfTI out. Only this machine can "
        "reach it, unless --host says otherwise, and only with the token."
    )
    parser.epilog = (
        "`napari-mrgen generate RUN_OR_MODEL --device ADDRESS` uses it, and so does the "
        "Generate panel."
    )
    parser.add_argument("model", type=Path, metavar="RUN_OR_MODEL", help="run or .safetensors file")
    parser.add_argument("--host", default="127.0.0.1", help="(default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8501, help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--token",
        help="what clients must know; others on this machine can see it here, so rather put it in "
        "the environment as MRGEN_TOKEN (default: a new one)",
    )
    add_device(parser)
    parser.add_argument(
        "--at-once",
        type=int,
        default=2,
        metavar="N",
        help="requests worked on at once (%(default)s)",
    )
    parser.add_argument(
        "--waiting", type=int, default=64, metavar="N", help="requests that may wait (%(default)s)"
    )
    parser.add_argument(
        "--max-upload", type=int, default=512, metavar="MIB", help="of a request (%(default)s)"
    )
    parser.add_argument(
        "--max-voxels",
        type=int,
        default=1 << 28,
        metavar="N",
        help="of an uploaded file, frames counted (%(default)s)",
    )
    parser.add_argument(
        "--max-made",
        type=int,
        default=1 << 31,
        metavar="N",
        help="voxels of all results of a request (%(default)s)",
    )
    add_json(parser)
    parser.set_defaults(run=run_serve)


def run_serve(options: argparse.Namespace) -> int:
    from napari_mrgen.engine.run.model_header import read_header

    for module in ("uvicorn", "starlette", "python_multipart"):
        need(module, "serve", "The service")
    read_header(options.model)
    _check(options)

    from napari_mrgen.service.client import TOKEN
    from napari_mrgen.service.server import Settings, is_loopback, serve
    from napari_mrgen.service.upload import Limits

    token = options.token or os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    settings = Settings(
        options.model,
        token,
        options.host,
        options.port,
        options.device,
        Limits(options.max_upload << 20, options.max_voxels, options.max_made),
        options.at_once,
        options.waiting,
    )
    is_known = bool(options.token or os.environ.get(TOKEN))
    _set_up_log()

    def announce(service: Service, address: str) -> None:
        if not is_loopback(options.host):
            print(_EXPOSED, file=sys.stderr)
        _announce(service, address, is_known, as_json=options.json)

    serve(settings, announce)
    print("The service has ended.", file=sys.stderr, flush=True)
    sys.stdout.flush()
    # A network cannot be stopped within a step, and its thread must not keep the process.
    os._exit(0)


def _check(options: argparse.Namespace) -> None:
    limits = ("at_once", 1), ("waiting", 0), ("max_upload", 1), ("max_voxels", 1), ("max_made", 1)
    for name, least in limits:
        value = getattr(options, name)
        if value < least:
            msg = f"Expected --{name.replace('_', '-')} of {least} or more, got {value}."
            raise MrgenError(msg)
    if not 0 <= options.port <= _LAST_PORT:
        # The system would take the number modulo 65536, without a word.
        raise MrgenError(f"Expected --port from 0 to {_LAST_PORT}, got {options.port}.")


def _announce(service: Service, address: str, token_is_known: bool, *, as_json: bool) -> None:
    from napari_mrgen.service.client import TOKEN

    # A token that somebody chose is not shown again.
    with_token = address if token_is_known else f"{address}/?token={service.token}"
    if as_json:
        print_json({"address": with_token, "family": service.generator.family.name})
        return
    model = service.generator.path
    roles = [one.role for one in service.inputs]
    inputs = "".join(f" --input {role}=FILE" for role in roles[:1])
    print(f"{model} is served at {with_token}")
    # In the environment, as others on a machine see the command lines of its programs.
    shown = "…" if token_is_known else service.token
    print(
        f"Use it with: {TOKEN}={shown} napari-mrgen generate {model}{inputs} --out FILE.nii.gz "
        f"--device {address}"
    )
    print("Ctrl-C ends it.", flush=True)


def _set_up_log() -> None:
    """Write a line for each request, and the details of failures, to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("napari_mrgen", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)
