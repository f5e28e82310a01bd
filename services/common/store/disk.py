"""What the operating system says about a disk, in our errors."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from services.common.errors import Forbidden, StorageFull, StoreUnavailable


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Raises StorageFull, Forbidden or StoreUnavailable for an OSError under `folder`.

    FileNotFoundError and FileExistsError pass: what they mean depends on what was asked.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StorageFull(
                f"no room left under {folder}: free some space (`understudy clips delete`, `understudy transfers "
                "delete`) or choose another folder with --home, then run the same command again",
                path=folder,
            ) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise Forbidden(f"may not write under {folder}: {error.strerror}", path=folder) from error
        raise StoreUnavailable(f"the store under {folder} does not answer: {error}", path=folder) from error
