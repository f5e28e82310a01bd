"""How fast each stage is through the services, and beside it a plain script that does the same without them.

    python -m tests.bench [--clip FILE] [--frames N] [--runs N] [--iterations N] [--json FILE] [--picture FILE]

Run it on a quiet machine. On a busy one the plain script's OpenMP threads spin long while they wait, which the stack
tells its services not to do, and training by the plain script looks slower than it is; OMP_WAIT_POLICY=PASSIVE and
GOMP_SPINCOUNT=2000 in the environment hold for both.
"""
