"""Makes the secrets of a deployment: `python3 deploy/make_secrets.py FILE`, with nothing but Python's own library.

FILE is `.env` for Compose, or `k8s/overlays/local/secrets.env` for a cluster: the same names serve both. A file that
is there is left as it is, apart from names that it lacks: run again after an upgrade, nothing known changes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from secrets import token_hex

SERVICES = ("downloader", "pose", "segmentation", "normalization", "trainer", "renderer", "gateway")
RANDOM = (
    "STORE_ADMIN_ACCESS_KEY",
    "STORE_ADMIN_SECRET_KEY",
    "POSTGRES_PASSWORD",
    "GRAFANA_ADMIN_PASSWORD",
    "UNDERSTUDY_ADMIN_KEY",
    *(f"UNDERSTUDY_{service.upper()}_STORE_SECRET_KEY" for service in SERVICES),
)
# In MinIO a service's user is called as the service is; other stores choose such names themselves.
KNOWN = {f"UNDERSTUDY_{service.upper()}_STORE_ACCESS_KEY": service for service in SERVICES}


def fill(path: Path) -> list[str]:
    """Adds what `path` lacks, readable by its owner alone. Returns the names that were added."""
    kept = path.read_text() if path.exists() else ""
    known = {line.partition("=")[0] for line in kept.splitlines()}
    values = KNOWN | {name: token_hex(20) for name in RANDOM}
    added = [name for name in values if name not in known]
    if added:
        text = kept + ("\n" if kept and not kept.endswith("\n") else "")
        text += "".join(f"{name}={values[name]}\n" for name in added)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    return added


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    added = fill(Path(sys.argv[1]))
    sys.stdout.write(f"{len(added)} values added to {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
