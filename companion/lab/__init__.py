"""The lesson machinery: signals, figures with their sentence, explorers, claims and exercises.

    from companion.lab import camera, claim, live, show

    images    camera, phantom, mr_slice, step_and_ramp, texture, fur, colour, volume, photographs
    credits   credits                                      where they come from
    quality   psnr, ssim, best_weight
    show      show, pictures, plots, style, sentence         a figure and its sentence
    figures   curves, stems, stacked, bars, loglog           plots in one line
    raster    pixels, beside                                 what an explorer returns
    live      live, film                                     an explorer with sliders, or as a strip
    check     claim, exercise                                what a lesson asserts, what a learner is told
    results   stored, store                                  what experiments/ has measured
    table     Table                                          a list of rows, shown as a table
    diagnose  same, adjoint_gap                              what the diagnoses of the exercises are made of
    datasets  digits, mnist1d, pendulum, lorenz              data to learn from; Split, Trajectories
    textures  shapes_and_textures                            ten classes of pictures, drawn from closed forms
    pdes      Burgers, Heat, ..., Upwind, Spectral, solve    the equations of the PDE-Nets, and two ways to solve them
    pde_data  frames                                         their data, with noise; cache: what is kept of them on disk
    train     train, History                                 the training loop; augment: flip, shift
    robust    robust_train                                   ... against attacks, with any method's gradients
    score     evaluate, Score                                error and loss of a net
    machine   device, facts, set_threads                     where it runs
    halo      over_blocks, OnDisk                            pictures larger than the memory, block by block

Nothing below this package imports it. Importing it gives torch the threads the process was granted, by
`set_threads()`, and does nothing else: matplotlib, ipywidgets and scikit-image are loaded by the functions that need
them.
"""

from companion.lab.check import claim, exercise
from companion.lab.credits import credits
from companion.lab.datasets import Split, Trajectories, digits, lorenz, mnist1d, pendulum
from companion.lab.diagnose import adjoint_gap, same
from companion.lab.figures import bars, curves, loglog, stacked, stems
from companion.lab.images import (
    camera,
    colour,
    ellipses,
    fur,
    mr_slice,
    phantom,
    photographs,
    step_and_ramp,
    texture,
    volume,
)
from companion.lab.live import film, live
from companion.lab.machine import device, facts, set_threads
from companion.lab.pde_data import Data, frames
from companion.lab.pdes import (
    Burgers,
    ConvectionDiffusion,
    Heat,
    ReactionDiffusionConvection,
    SinSource,
    Spectral,
    Upwind,
    cole_hopf,
    solve,
)
from companion.lab.quality import best_weight, psnr, ssim
from companion.lab.raster import beside, pixels
from companion.lab.results import store, stored
from companion.lab.robust import robust_train
from companion.lab.score import Score, evaluate
from companion.lab.show import pictures, plots, sentence, show, style
from companion.lab.table import Table
from companion.lab.textures import shapes_and_textures
from companion.lab.train import History, train

__all__ = [
    "camera",
    "phantom",
    "mr_slice",
    "step_and_ramp",
    "texture",
    "fur",
    "colour",
    "volume",
    "photographs",
    "credits",
    "ellipses",
    "psnr",
    "ssim",
    "best_weight",
    "show",
    "pictures",
    "plots",
    "style",
    "sentence",
    "curves",
    "stems",
    "stacked",
    "bars",
    "loglog",
    "pixels",
    "beside",
    "live",
    "film",
    "claim",
    "exercise",
    "stored",
    "store",
    "Table",
    "same",
    "adjoint_gap",
    "Split",
    "Trajectories",
    "digits",
    "mnist1d",
    "pendulum",
    "lorenz",
    "shapes_and_textures",
    "Burgers",
    "ConvectionDiffusion",
    "Heat",
    "ReactionDiffusionConvection",
    "SinSource",
    "Spectral",
    "Upwind",
    "cole_hopf",
    "solve",
    "frames",
    "Data",
    "train",
    "History",
    "robust_train",
    "evaluate",
    "Score",
    "device",
    "facts",
    "set_threads",
]

set_threads()
