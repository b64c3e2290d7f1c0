"""The weather, fed with draws of NumPy's generator in the official order."""

import numpy as np

from ruggedize.corruptions import fog as fogging
from ruggedize.corruptions import frost as freezing
from ruggedize.corruptions import snow as snowing
from ruggedize.corruptions import spatter as spattering
from ruggedize.kernels.motion import motion_blur

Level = tuple[float, ...]


def snow(rng: np.random.RandomState, pixels: np.ndarray, out: np.ndarray, level: Level):
    height, width = pixels.shape[1:]
    noise, places, weights, mix, _ = snowing.with_flakes(level, height, width)
    flakes, blurred = np.empty((2, height, width), np.uint8)
    snowing.form_flakes(normals(rng, height * width), noise, places, flakes)
    rows = np.empty((height, width + 2 * len(weights)), np.float32)
    angle = rng.uniform(-135, -45)
    motion_blur(flakes, blurred, weights, angle, rows, np.empty(width, np.float32))
    snowing.snow(pixels, out, blurred, mix)


def frost(rng: np.random.RandomState, pixels: np.ndarray, out: np.ndarray, level: Level):
    height, width = pixels.shape[1:]
    weight, frost_weight, textures = freezing.with_textures(level, height, width)
    texture = textures[rng.randint(5)]
    top, left = (rng.randint(texture.shape[1] - height), rng.randint(texture.shape[2] - width))
    freezing.frost(pixels, out, texture, top, left, weight, frost_weight)


def fog(rng: np.random.RandomState, pixels: np.ndarray, out: np.ndarray, level: tuple):
    weight, decay, side = fogging.with_cloud(level, *pixels.shape[1:])
    uniforms = rng.uniform(size=side * side - 1).astype(np.float32)
    fogging.fog(pixels, out, uniforms, weight, decay, np.empty((side, side), np.float32))


def spatter(rng: np.random.RandomState, pixels: np.ndarray, out: np.ndarray, level: Level):
    height, width = pixels.shape[1:]
    liquid, is_mud, strength, fading, _ = spattering.with_liquid(level, height, width)
    draws = normals(rng, height * width)
    work = spattering.working_planes(height, width)
    if is_mud:
        spattering.mud(pixels, out, draws, liquid, fading, work[0])
    else:
        spattering.water(pixels, out, draws, liquid, strength, work)


def normals(rng: np.random.RandomState, n: int) -> np.ndarray:
    return rng.normal(size=n).astype(np.float32)


WEATHER = {function.__name__: function for function in (snow, frost, fog, spatter)}
