# SPDX-License-Identifier: BSD-3-Clause
"""Blur fields on disk: one safetensors file, whole or not at all.

A field file holds the tensors `kernels` (1, B, Kh, Kw) and `mixing` (1, B, H, W), and the metadata
`format` ("blurops-field"), `version` ("1"), `boundary`, `gamma`, `orientation` ("correlation") and
`extra`, a JSON object with whatever else the caller recorded.
"""

import json
import os
from typing import Any

from torch import Tensor

from blurops import _check
from blurops._atomic import replacing
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.fields.field import BlurField, check_field, field_meta

FORMAT, VERSION = "blurops-field", "1"
_OWN = ("boundary", "gamma", "orientation")


def save_field(
    path: str | os.PathLike[str],
    kernels: Tensor,
    mixing: Tensor,
    **meta: Any,
) -> None:
    """Writes a blur field to a safetensors file.

    The file appears whole or not at all: it is written under a temporary name in the same folder,
    flushed and renamed, so that an error (a full disk, say) leaves an older file as it was.

    Args:
        path: the file to be written.
        kernels: (1, B, Kh, Kw), odd sides, finite, in correlation orientation.
        mixing: (1, B, H, W), finite, of the same dtype.
        **meta: `boundary` ("reflect" if not given), `gamma` (1.0) and `orientation`, which can only
            be "correlation"; everything else must be strings or other JSON values. A field is
            saved whole by `save_field(path, field.kernels, field.mixing, **field.meta)`.

    Raises:
        TypeError, ValueError: the tensors or the meta are not as above.
        OSError: the file could not be written.

    Example:
        >>> import os, tempfile
        >>> import torch
        >>> path = os.path.join(tempfile.mkdtemp(), "field.safetensors")
        >>> save_field(path, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 4, 6), note="no blur")
        >>> load_field(path).meta["note"]
        'no blur'
    """
    check_field("save_field", kernels, mixing)
    _check.finite("save_field", "kernels", kernels)
    _check.finite("save_field", "mixing", mixing)
    meta = _checked_meta("save_field", field_meta() | meta)
    extra = {key: value for key, value in meta.items() if key not in _OWN}
    try:
        text = json.dumps(extra, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(message("save_field", "meta", "be JSON values", str(error))) from error
    # Imported where it is used, to keep `import blurops` light.
    from safetensors.torch import save

    tensors = {
        "kernels": kernels.detach().cpu().contiguous(),
        "mixing": mixing.detach().cpu().contiguous(),
    }
    content = save(
        tensors,
        metadata={
            "format": FORMAT,
            "version": VERSION,
            "boundary": meta["boundary"],
            "gamma": repr(meta["gamma"]),
            "orientation": meta["orientation"],
            "extra": text,
        },
    )
    with replacing(path) as file:
        file.write(content)


def load_field(path: str | os.PathLike[str]) -> BlurField:
    """Reads a blur field that `save_field` wrote.

    Args:
        path: the file.

    Returns:
        The BlurField, on the CPU, in the dtype it was saved in.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not a field file, is damaged or of another version, or its tensors have
            wrong shapes, NaN or infinity.
    """
    # Imported where it is used, to keep `import blurops` light.
    from safetensors import SafetensorError, safe_open

    # What safetensors says of a folder or a missing file depends on its version; this does not.
    with open(path, "rb"):
        pass
    try:
        with safe_open(os.fspath(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            _check_header(path, metadata, set(file.keys()))
            kernels, mixing = file.get_tensor("kernels"), file.get_tensor("mixing")
    except (SafetensorError, OSError) as error:
        # An empty file cannot be mapped, which safetensors reports as an OSError.
        raise _refused(path, "be a complete safetensors file", str(error)) from error
    try:
        check_field("load_field", kernels, mixing)
        _check.finite("load_field", "kernels", kernels)
        _check.finite("load_field", "mixing", mixing)
    except TypeError as error:
        raise ValueError(str(error)) from error
    return BlurField(kernels, mixing, _read_meta(path, metadata))


def _check_header(path: str | os.PathLike[str], metadata: dict[str, str], names: set[str]) -> None:
    if metadata.get("format") != FORMAT:
        got = repr(metadata["format"]) if "format" in metadata else "no format"
        raise _refused(path, f"have the metadata format '{FORMAT}'", got)
    if metadata.get("version") != VERSION:
        raise _refused(path, f"be of version {VERSION}", metadata.get("version", "none"))
    if names != {"kernels", "mixing"}:
        raise _refused(
            path, "hold the tensors kernels and mixing", ", ".join(sorted(names)) or "none"
        )


def _read_meta(path: str | os.PathLike[str], metadata: dict[str, str]) -> dict[str, Any]:
    """The `meta` of a field from the file's strings."""
    try:
        extra = json.loads(metadata.get("extra", "{}"))
        own = {"boundary": metadata["boundary"], "orientation": metadata["orientation"]}
        own["gamma"] = float(metadata["gamma"])
        if not isinstance(extra, dict):
            raise ValueError("extra is not an object")
    except (KeyError, ValueError, RecursionError) as error:
        raise _refused(
            path, "have readable metadata", f"{type(error).__name__}: {error}"
        ) from error
    meta = _checked_meta("load_field", {**extra, **own})
    return field_meta(meta.pop("boundary"), meta.pop("gamma")) | meta


def _checked_meta(function: str, meta: dict[str, Any]) -> dict[str, Any]:
    """`meta` with its three own entries checked."""
    _check.choice(function, "boundary", meta["boundary"], _check.BOUNDARIES)
    gamma = arguments.real(function, "gamma", meta["gamma"], above=0)
    if meta["orientation"] != "correlation":
        wanted = "be 'correlation' (turn point-spread functions with blurops.flip)"
        raise ValueError(message(function, "orientation", wanted, repr(meta["orientation"])))
    return meta | {"gamma": gamma}


def _refused(path: str | os.PathLike[str], requirement: str, got: str) -> ValueError:
    return ValueError(message("load_field", f"'{os.fspath(path)}'", requirement, got))
