"""How fast each stage is through the services, and beside it a plain script that does the same without them.

python -m tests.bench [--clip FILE] [--frames N] [--runs N] [--iterations N] [--json FILE] [--picture FILE]
"""
