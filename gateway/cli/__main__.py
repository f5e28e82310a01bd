"""The program `understudy` where it is not installed as a command: `python -m gateway.cli`, in the gateway's image."""

from __future__ import annotations

from gateway.cli.app import main

if __name__ == "__main__":
    main()
