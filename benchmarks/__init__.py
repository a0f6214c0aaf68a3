"""This package beside its peers and beside the machine's own limit, in one run: `make bench`, `make bench-quick`.

harness.py     Task, Case, Peer; `measure`: the same result first, then all in turn
report.py      the rows as JSON, as docs/benchmarks.md, as a figure
memory.py      what one call adds to a fresh process
frames.py      W, W^T, W^T S W                          (2.1), (4.5)
diffusion.py   Perona-Malik, edge-enhancing diffusion    (3.3)
rof.py         total variation denoising                 (3.2)
deblurring.py  total variation and analysis deblurring   (3.2), (2.5)
radon.py       a Radon transform and its adjoint         (1.1)
learning.py    neural ODE, `run`                         (5.1)
start.py       import, explorers
growth.py      time against pixels

python -m benchmarks [--quick] [--threads 1 2] [--device cuda] [a family, or part of a task's name ...]
"""
