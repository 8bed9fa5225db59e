# SPDX-License-Identifier: BSD-3-Clause
"""Output files that appear whole or not at all."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def check_output(path: str | os.PathLike[str]) -> Path:
    """Returns where an output will be written, or raises before any work is spent on it.

    Args:
        path: the file to be written; a symbolic link is followed, so that the link itself stays.

    Returns:
        The resolved path.

    Raises:
        OSError: the folder is missing or not writable, or the path is not a regular file.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    # A pipe or a device has no content to replace, and renaming over it would remove it.
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    folder = target.parent
    if not folder.is_dir():
        code = errno.ENOTDIR if folder.exists() else errno.ENOENT
        raise OSError(code, f"the folder '{folder}' does not exist", os.fspath(path))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            errno.EACCES, f"the folder '{folder}' is not writable", os.fspath(path)
        )
    return target


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a temporary file that takes the place of `path` when the block ends without an error.

    The temporary file lies in the same folder, is flushed to the disk and then renamed, so a
    reader sees the old file or the new one, never a part. After an error (a full disk, say) the
    old file is as it was and the temporary one is gone.

    Args:
        path: the file to be written.

    Yields:
        A binary file, open for reading and writing at any position.

    Raises:
        OSError: the file could not be written; its `filename` is `path`.

    Example:
        >>> import tempfile
        >>> name = os.path.join(tempfile.mkdtemp(), "notes.txt")
        >>> with replacing(name) as file:
        ...     _ = file.write(b"whole")
        >>> Path(name).read_text(), os.listdir(os.path.dirname(name))
        ('whole', ['notes.txt'])
    """
    target = check_output(path)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "x+b") as file:
            if target.exists():
                with contextlib.suppress(OSError):  # not our file, or a file system without modes
                    os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, os.fspath(temporary)):
            # The user asked for `path`: say so, rather than naming a file that is gone.
            code = error.errno or errno.EIO
            raise OSError(code, error.strerror or str(error), os.fspath(path)) from error
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a power cut, where the system offers it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network file systems refuse to sync a folder; the file itself is already safe.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
