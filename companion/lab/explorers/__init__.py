r"""The explorers of the lessons: plain functions explorer(**parameters) -> (picture, facts), a file for each lesson.

Each computes with the package, draws with `pixels` (an array is on the page in milliseconds), and answers within 100 ms
at 256 x 256 on one core. A notebook makes one live by `live(explorers.band, ...)` and prints it by `film(...)`; the
tests call it at its default, its corners and at random points.

Notebook: all.
"""

from companion.lab.explorers.lesson_00 import iterated
from companion.lab.explorers.lesson_01 import inversion
from companion.lab.explorers.lesson_02 import band, threshold
from companion.lab.explorers.lesson_03 import moments
from companion.lab.explorers.lesson_04 import restoration
from companion.lab.explorers.lesson_05 import variation
from companion.lab.explorers.lesson_06 import flow
from companion.lab.explorers.lesson_07 import edge, envelope
from companion.lab.explorers.lesson_08 import dictionary, diffusing
from companion.lab.explorers.lesson_09 import acceleration
from companion.lab.explorers.lesson_10 import depth, stability
from companion.lab.explorers.lesson_11 import gate, msa
from companion.lab.explorers.lesson_12 import fitted, stars
from companion.lab.explorers.lesson_13 import identified, rerun
from companion.lab.explorers.lesson_14 import endpoint
from companion.lab.explorers.lesson_15 import cut, sliced

__all__ = [
    "iterated",
    "inversion",
    "band",
    "threshold",
    "moments",
    "restoration",
    "variation",
    "flow",
    "envelope",
    "edge",
    "dictionary",
    "diffusing",
    "acceleration",
    "stability",
    "depth",
    "gate",
    "msa",
    "stars",
    "fitted",
    "identified",
    "rerun",
    "endpoint",
    "cut",
    "sliced",
]
