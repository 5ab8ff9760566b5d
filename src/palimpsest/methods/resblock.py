"""`resblock6`, `resblock9`: residual blocks per task in the middle of a shared auto-encoder.

Idea: an auto-encoder represents pictures, and the blocks between encoder and decoder translate them. Formula: x +
f(x), N times at the deepest level and N times after the first upsampling (`palimpsest.networks.resblock`). Trained:
the task's blocks, from random weights, and its head; the auto-encoder, trained to return the base task's pictures,
stays frozen. Stored: the blocks, 22.5 MiB for a pair at the study's width. Forgets: nothing. Source: the study's
last two columns, after Johnson et al., ECCV 2016, pix2pix and CycleGAN.
Deliberately different: the auto-encoder starts as a wavelet transform; blocks have a scale that starts at zero, so
that a task with pictures as output starts by returning its input; a 1×1 head follows the auto-encoder, as in every
method here.
"""

from palimpsest.methods.decoder import Decoder


class Resblock(Decoder):
    """Method that trains and stores residual blocks per task; the auto-encoder around them is frozen."""

    submodule = "blocks"
