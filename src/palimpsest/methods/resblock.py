"""`resblock6`, `resblock9`: residual blocks of each task in the middle of an auto-encoder that all share.

Idea: an auto-encoder knows pictures, and a task is what is done between its halves. Formula: x + f(x), N times
at the deepest place and N times behind the first step up (`palimpsest.networks.resblock`). Trained: the task's
blocks, from random weights, and its head; the auto-encoder learned to return the pictures of the base task, and
is frozen. Stored: the blocks, 22.5 MiB for a pair at the study's width. Forgets: nothing. Source: the study's
last two columns, after Johnson et al., ECCV 2016, pix2pix and CycleGAN.
Deliberately different: the auto-encoder starts as a wavelet transform, and blocks have a scale that starts at
zero, so that a task whose answer is a picture begins by returning its input; it has a 1×1 head behind the
auto-encoder, as in every method here.
"""

from palimpsest.methods.decoder import Decoder


class Resblock(Decoder):
    """Residual blocks are the task's own, as a decoder is elsewhere."""

    part = "blocks"
